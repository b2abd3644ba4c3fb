// Only these two make elements: text goes in as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

const find = (id, part) => document.querySelector(`#${id} [data-${part}]`);
const tell = (id, text) => { find(id, "note").textContent = text; };
const percent = (share, places = 1) => (share === null ? "–" : `${(100 * share).toFixed(places)}%`);
const count = (number) => number.toLocaleString("en");
const photosOf = (number) => `${count(number)} ${number === 1 ? "photo" : "photos"}`;
const className = (code) => (code < 0 ? "no label" : data.classes[code]);
const nameOf = (code, attributes) => el("bdi", attributes, className(code));

// Ten hues that most colour-blind people can tell apart; further classes take the golden angle round the colour wheel.
const HUES = ["#3b7dd8", "#e08a1e", "#3a9d6a", "#c94f7c", "#8a63d2", "#a8713f", "#2aa5b5", "#c9a227", "#d0523f", "#7d8796"];
const colourOf = (code) =>
  code < 0 ? "#9aa0a8" : HUES[code] || `hsl(${Math.round((code * 137.508) % 360)} 52% ${code % 2 ? 48 : 58}%)`;

function swatch(code) {
  const dot = el("span", { class: "swatch", "aria-hidden": "true" });
  dot.style.backgroundColor = colourOf(code);
  return dot;
}

function meter(share, kind, height = 4) {
  const width = `${Math.max(0, Math.min(1, share || 0)) * 100}%`;
  return svg("svg", { class: `meter ${kind || ""}`, "aria-hidden": "true", height },
    svg("rect", { class: "track", width: "100%", height, rx: height / 2 }),
    svg("rect", { class: "bar", width, height, rx: height / 2 }));
}

// "Showing 40 of 312 photos, the most confident first."
function sample(shown, total, order, nouns = ["photo", "photos"]) {
  const noun = nouns[total === 1 ? 0 : 1];
  const all = shown < total ? `Showing ${count(shown)} of ${count(total)} ${noun}` : `${count(total)} ${noun}`;
  return total > 1 && order ? `${all}, ${order}.` : `${all}.`;
}

function table(headings, rows) {
  return el("table", { class: "table" },
    el("thead", {}, el("tr", {}, headings.map(([text, kind]) => el("th", { scope: "col", class: kind }, text)))),
    el("tbody", {}, rows));
}
