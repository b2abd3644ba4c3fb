// The map: dots on a canvas, reached by pointer, finger or arrow keys.
const PAD = 22;
const NEAR = 24;

function showMap() {
  if (!data.map) return;
  const { points, total, method } = data.map;
  tell("map", `${sample(points.length, total, points.length < total ? "including the misclassified ones" : "")} Laid out by ${method}.`);
  const box = find("map", "map");
  const canvas = el("canvas", { tabindex: 0, role: "application", "aria-roledescription": "map", "aria-describedby": "map-tip",
    "aria-label": `Map of ${photosOf(points.length)}; use the arrow keys to move from dot to dot` });
  const tip = el("div", { class: "tip", id: "map-tip", role: "status", hidden: true });
  box.append(canvas, tip);
  const dots = points.map(([x, y, photo, isWrong]) => ({ x, y, photo, isWrong, code: data.photos[photo].label }));
  const state = { canvas, tip, dots, hidden: new Set(), wrongOnly: false, at: null };
  find("map", "legend").append(...legend(state));
  canvas.addEventListener("pointermove", (event) => event.pointerType === "mouse" && choose(state, nearest(state, event)));
  canvas.addEventListener("pointerdown", (event) => choose(state, nearest(state, event)));
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && choose(state, null));
  canvas.addEventListener("keydown", (event) => walk(state, event));
  canvas.addEventListener("blur", () => choose(state, null));
  canvas.addEventListener("click", () => state.at && look(data.photos[state.at.photo]));
  new ResizeObserver(() => draw(state)).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(state));
  window.addEventListener("beforeprint", () => draw(state, "#1d2024", "#ffffff"));
  window.addEventListener("afterprint", () => draw(state));
}

const isShown = (state, one) => !state.hidden.has(one.code) && (!state.wrongOnly || one.isWrong);

function legend(state) {
  const present = [...new Set(state.dots.map((one) => one.code))].sort((a, b) => a - b);
  const toggles = present.map((code) => toggle(true, (isOn) => {
    if (isOn) state.hidden.delete(code);
    else state.hidden.add(code);
    draw(state);
  }, swatch(code), nameOf(code)));
  if (!state.dots.some((one) => one.isWrong)) return toggles;
  const only = toggle(false, (isOn) => { state.wrongOnly = isOn; draw(state); },
    el("span", { class: "swatch ring", "aria-hidden": "true" }), "misclassified only");
  only.classList.add("only");
  return [...toggles, only];
}

function toggle(isOn, act, ...inside) {
  const button = el("button", { type: "button", "aria-pressed": String(isOn) }, inside);
  button.addEventListener("click", () => {
    const next = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(next));
    act(next);
  });
  return button;
}

function draw(state, ink, ground) {
  const { canvas } = state;
  const style = getComputedStyle(document.documentElement);
  const wide = canvas.parentElement.clientWidth;
  const high = Math.round(Math.min(Math.max(wide * 0.62, 320), 640));
  const ratio = window.devicePixelRatio || 1;
  canvas.style.height = `${high}px`;
  canvas.width = Math.round(wide * ratio);
  canvas.height = Math.round(high * ratio);
  Object.assign(state, { wide, high });
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const radius = Math.min(Math.max(0.16 * Math.sqrt((wide * high) / state.dots.length), 2.2), 5.5);
  const shown = state.dots.filter((one) => isShown(state, one)).sort((a, b) => a.isWrong - b.isWrong);
  const ringed = [ink || style.getPropertyValue("--ink"), ground || style.getPropertyValue("--card")];
  for (const one of shown) mark(pen, state, one, radius, ...ringed);
  if (state.at) mark(pen, state, state.at, radius * 1.7, ...ringed);
}

function mark(pen, state, one, radius, ink, ground) {
  const [x, y] = position(state, one);
  const isRinged = one.isWrong || one === state.at;
  const disc = (size, colour) => {
    pen.beginPath();
    pen.arc(x, y, size, 0, 2 * Math.PI);
    pen.fillStyle = colour;
    pen.fill();
  };
  if (isRinged) {
    disc(radius + 3.6, ink);
    disc(radius + 2, ground);
  }
  pen.globalAlpha = isRinged ? 1 : 0.72;
  disc(radius, colourOf(one.code));
  pen.globalAlpha = 1;
}

const position = (state, one) => [PAD + one.x * (state.wide - 2 * PAD), PAD + (1 - one.y) * (state.high - 2 * PAD)];

function nearest(state, event) {
  const box = state.canvas.getBoundingClientRect();
  return closest(state, event.clientX - box.left, event.clientY - box.top, () => true, NEAR);
}

function closest(state, x, y, counts, within) {
  let best = null;
  let least = within * within;
  for (const one of state.dots) {
    if (!isShown(state, one)) continue;
    const [px, py] = position(state, one);
    const far = (px - x) ** 2 + (py - y) ** 2;
    if (far < least && counts(px - x, py - y)) [best, least] = [one, far];
  }
  return best;
}

// An arrow goes to the closest dot within 45 degrees of its direction.
function walk(state, event) {
  const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };
  if (event.key === "Escape") choose(state, null);
  if (event.key === "Enter" && state.at) {
    event.preventDefault(); // otherwise the same key presses the button that the larger view puts under it
    look(data.photos[state.at.photo]);
  }
  if (!(event.key in ways)) return;
  event.preventDefault();
  const [right, down] = ways[event.key];
  const [x, y] = state.at ? position(state, state.at) : [state.wide / 2, state.high / 2];
  const ahead = (dx, dy) => {
    const along = dx * right + dy * down;
    return along > 0.5 && along >= Math.abs(dx * down + dy * right);
  };
  choose(state, closest(state, x, y, state.at ? ahead : () => true, Infinity) || state.at);
}

function choose(state, one) {
  if (one === state.at) return;
  state.at = one;
  state.tip.hidden = !one;
  draw(state);
  if (!one) return;
  const photo = data.photos[one.photo];
  const [x, y] = position(state, one);
  state.tip.replaceChildren(...[picture(photo), el("div", {}, lines(photo), el("bdi", { class: "path" }, photo.path))].filter(Boolean));
  const [left, top] = beside(x, y, state.tip.offsetWidth, state.tip.offsetHeight, state);
  state.tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
}

// To the right of the dot, else to the left, else below or above: never over it.
function beside(x, y, width, height, { wide, high }) {
  const gap = 16;
  const within = (value, most) => Math.min(Math.max(0, value), Math.max(0, most));
  if (x + gap + width <= wide) return [x + gap, within(y - height / 2, high - height)];
  if (x - gap - width >= 0) return [x - gap - width, within(y - height / 2, high - height)];
  return [within(x - width / 2, wide - width), y + gap + height <= high ? y + gap : y - gap - height];
}
