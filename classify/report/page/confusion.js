// The grid of labels and predictions. One cell at a time is in the tab order; the arrow keys move between them.
const [ROOMY, DENSE] = [8, 16];

function showConfusion() {
  if (!find("confusion", "grid")) return; // nothing was evaluated
  const { shown, total, counts, images, pairs } = data.confusion;
  tell("confusion", shown.length < total ? `Showing the ${shown.length} of ${count(total)} classes that are confused most.` : "");
  const grid = el("table", { class: `grid ${shown.length <= ROOMY ? "roomy" : shown.length > DENSE ? "dense" : ""}`, role: "grid", "aria-label": "Confusion matrix" },
    el("thead", {},
      el("tr", {}, el("td"), el("th", { class: "axis", colspan: shown.length }, "predicted →")),
      el("tr", {}, el("td"), shown.map((code) => el("th", { scope: "col" }, nameOf(code, { class: "name", title: className(code) }))))),
    el("tbody", {}, shown.map((label, row) => el("tr", {},
      el("th", { scope: "row" }, nameOf(label, { class: "name", title: className(label) })),
      shown.map((prediction, column) => cell(label, prediction, counts[row][column], images[row]))))));
  const cells = [...grid.querySelectorAll(".cell")];
  cells[0].tabIndex = 0;
  grid.addEventListener("keydown", (event) => step(event, cells, shown.length));
  grid.addEventListener("click", (event) => open(event.target.closest(".cell"), cells));
  find("confusion", "grid").append(grid);
  if (pairs.length) {
    find("confusion", "pairs").append(el("h3", {}, "Most frequent confusions"), ...pairs.map((one) => pair(one, cells)));
  }
}

function cell(label, prediction, number, ofLabel) {
  const share = ofLabel ? number / ofLabel : 0;
  const isWrong = label !== prediction;
  // A square root keeps a few mistakes among hundreds visible.
  const depth = isWrong ? Math.sqrt(share) : share;
  const made = el("td", {
    class: `cell ${isWrong ? "wrong" : ""} ${number ? "some" : ""} ${depth > 0.7 ? "full" : depth > 0.5 ? "half" : ""}`,
    role: "gridcell", tabindex: -1, "data-label": label, "data-prediction": prediction, "data-count": number,
    "aria-label": `${className(label)} taken for ${className(prediction)}: ${photosOf(number)}`,
  }, number ? count(number) : "·");
  made.style.setProperty("--share", number ? Math.max(depth, 0.12) : 0);
  return made;
}

function step(event, cells, width) {
  const at = cells.indexOf(event.target);
  const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: width, ArrowUp: -width };
  if (at < 0) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    open(cells[at], cells);
  } else if (event.key in moves) {
    event.preventDefault();
    const next = at + moves[event.key];
    const staysInRow = Math.abs(moves[event.key]) !== 1 || Math.floor(next / width) === Math.floor(at / width);
    if (cells[next] && staysInRow) {
      cells[at].tabIndex = -1;
      cells[next].tabIndex = 0;
      cells[next].focus();
    }
  }
}

function pair([label, prediction, number], cells) {
  const target = cells.find((one) => Number(one.dataset.label) === label && Number(one.dataset.prediction) === prediction);
  return el("button", { type: "button", onclick: () => open(target, cells) },
    el("span", {}, nameOf(label), el("i", {}, " taken for "), nameOf(prediction)), el("span", { class: "count" }, count(number)));
}

function open(chosen, cells) {
  if (!chosen || !Number(chosen.dataset.count)) return;
  cells.forEach((one) => one.removeAttribute("aria-selected"));
  chosen.setAttribute("aria-selected", "true");
  const { label, prediction } = chosen.dataset;
  const numbers = data.confusion.cells[`${label},${prediction}`];
  const total = Number(chosen.dataset.count);
  const isRight = label === prediction;
  const order = isRight ? "the least confident first" : "the most confident first";
  const panel = find("confusion", "panel");
  const close = el("button", { class: "plain", type: "button" }, "Close");
  close.addEventListener("click", () => {
    panel.hidden = true;
    chosen.removeAttribute("aria-selected");
    chosen.focus();
  });
  panel.replaceChildren(
    el("header", {}, el("div", {},
      el("h3", {}, nameOf(Number(label)), isRight ? ", classified correctly" : [" taken for ", nameOf(Number(prediction))]),
      el("p", {}, sample(numbers.length, total, order))), close),
    ...gallery(numbers.map((number) => card(number))));
  panel.hidden = false;
  if (panel.getBoundingClientRect().top > window.innerHeight - 160) panel.scrollIntoView({ block: "nearest" });
}
