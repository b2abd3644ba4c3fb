// Photos: small cards, and a larger view of one of them.
const STEP = 18;

function picture(photo) {
  if (photo.thumb === null) return null;
  return el("img", { src: `data:image/jpeg;base64,${data.thumbs[photo.thumb]}`, alt: "", decoding: "async" });
}

function predicted(photo) {
  return photo.predictions ? { code: photo.predictions[0][0], share: photo.predictions[0][1] } : null;
}

// A photo's prediction, its probability and its label; the first line is the one that matters.
function lines(photo) {
  const answer = predicted(photo);
  if (!answer) return [el("span", { class: "says" }, nameOf(photo.label)), el("span", { class: "was" }, "not evaluated")];
  if (answer.code === photo.label) {
    return [el("span", { class: "says" }, nameOf(photo.label), ` ${percent(answer.share)}`)];
  }
  return [el("span", { class: "says wrong-text" }, nameOf(answer.code), ` ${percent(answer.share)}`),
    el("span", { class: "was" }, "labelled ", nameOf(photo.label))];
}

function card(number, inside) {
  const photo = data.photos[number];
  return el("button", { class: "card", type: "button", title: photo.path, onclick: () => look(photo) },
    el("span", { class: "frame" }, picture(photo) || "no preview"),
    inside || [lines(photo), confidence(photo)],
    el("bdi", { class: "path" }, photo.path));
}

function confidence(photo) {
  const answer = predicted(photo);
  return answer && meter(answer.share, answer.code === photo.label ? "" : "wrong");
}

// Cards, a page of them at a time.
function gallery(cards, kind = "photos") {
  const grid = el("div", { class: kind }, cards.slice(0, STEP));
  if (cards.length <= STEP) return [grid];
  const more = el("button", { class: "plain more", type: "button" }, `Show all ${count(cards.length)}`);
  more.addEventListener("click", () => {
    grid.append(...cards.slice(STEP));
    more.remove();
    (cards[STEP].querySelector("button") || cards[STEP]).focus();
  });
  return [grid, more];
}

function look(photo) {
  const dialog = document.querySelector("dialog.photo");
  const rows = (photo.predictions || []).map(([code, share]) =>
    el("div", {}, el("dt", {}, nameOf(code)), el("dd", {}, meter(share, code === photo.label ? "" : "wrong", 6)),
      el("dd", { class: "value" }, percent(share))));
  dialog.replaceChildren(...[
    picture(photo),
    el("h3", { id: "photo-title" }, el("bdi", {}, photo.path)),
    el("p", { class: "label" }, "labelled ", nameOf(photo.label), photo.predictions ? "" : "; not evaluated"),
    el("dl", {}, rows),
    el("button", { class: "plain", type: "button", onclick: () => dialog.close() }, "Close"),
  ].filter(Boolean));
  dialog.showModal();
}

function showMistakes() {
  if (!data.mistakes) return;
  const { photos, total } = data.mistakes;
  tell("mistakes", sample(photos.length, total, "the most confident first"));
  find("mistakes", "photos").append(...gallery(photos.map((number) => card(number))));
}

function showLabelIssues() {
  if (!data.label_issues) return;
  const { items, total } = data.label_issues;
  tell("label-issues", sample(items.length, total, "the likeliest first"));
  find("label-issues", "photos").append(...gallery(items.map(({ photo, likely, quality }) => card(photo, [
    el("span", { class: "says wrong-text" }, "looks like ", nameOf(likely)),
    el("span", { class: "was" }, "labelled ", nameOf(data.photos[photo].label)),
    el("span", { class: "was" }, `label quality ${quality.toFixed(2)}`),
  ]))));
}

function showDuplicates() {
  if (!data.duplicates) return;
  const { groups, total } = data.duplicates;
  tell("duplicates", sample(groups.length, total, "those under two labels first", ["group", "groups"]));
  find("duplicates", "groups").append(...gallery(groups.map(duplicateGroup), "groups"));
}

function duplicateGroup({ kind, labels, splits, photos, total }) {
  const label = (number) => el("span", { class: "says" }, nameOf(data.photos[number].label));
  return el("div", { class: "group" },
    el("p", { class: "chips" },
      el("span", { class: "chip" }, kind === "exact" ? "identical files" : "near-duplicates"),
      labels ? el("span", { class: "chip bad" }, "two labels") : null,
      splits ? el("span", { class: "chip bad" }, "in two splits") : null,
      photos.length < total ? sample(photos.length, total) : null),
    el("div", { class: "photos" }, photos.map((number) => card(number, label(number)))));
}
