// Small charts in SVG, redrawn when their container changes its width, so that text keeps its size.
function figure({ title, key, label, kind }, render) {
  const holder = el("div", {}, render(480));
  let width = 480;
  new ResizeObserver(() => {
    const found = Math.round(holder.clientWidth);
    if (!found || found === width) return;
    width = found;
    holder.replaceChildren(render(width));
  }).observe(holder);
  holder.setAttribute("role", "img");
  holder.setAttribute("aria-label", label);
  return el("figure", { class: `chart ${kind || ""}` }, title ? el("h3", {}, title) : null, key ? el("p", { class: "key" }, key) : null, holder);
}

// A chart turns shares of its two axes into positions; `across` and `up` are its labels as [share, text].
function axes(width, height, across, up, titles) {
  const [left, right, top, bottom] = [46, 12, 28, 44];
  const x = (share) => left + share * (width - left - right);
  const y = (share) => height - bottom - share * (height - top - bottom);
  const root = svg("svg", { viewBox: `0 0 ${width} ${height}` });
  for (const [share, text] of up) {
    root.append(svg("line", { class: share === 0 ? "axis-line" : "rule", x1: x(0), x2: x(1), y1: y(share), y2: y(share) }),
      svg("text", { x: x(0) - 8, y: y(share) + 4, "text-anchor": "end" }, text));
  }
  for (const [share, text] of apart(across, x)) root.append(svg("text", { x: x(share), y: y(0) + 18, "text-anchor": "middle" }, text));
  root.append(svg("text", { x: x(1), y: y(0) + 37, "text-anchor": "end" }, titles[0]), svg("text", { x: 0, y: 12 }, titles[1]));
  return { root, x, y };
}

// Leaves out labels that would touch the one to their right; the last stays.
function apart(labels, x) {
  let free = Infinity;
  return [...labels].reverse().filter(([share, text]) => {
    const half = 3.8 * text.length + 4;
    if (x(share) + half > free) return false;
    free = x(share) - half;
    return true;
  });
}

const path = (points) => points.map(([px, py], at) => `${at ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`).join(" ");
const line = (points, kind) => svg("path", { class: `curve-line ${kind}`, d: path(points) });
const dot = ([px, py], r, kind, title) => svg("circle", { class: `dot ${kind}`, cx: px, cy: py, r }, svg("title", {}, title));
const word = ([px, py], text, kind, anchor) => svg("text", { class: kind, x: px, y: py, "text-anchor": anchor }, text);

// Round tick values, about four steps, that span the values; and a function from a value to its share of that span.
function scale(values) {
  const [least, largest] = [Math.min(...values), Math.max(...values)];
  const rough = (largest - least || Math.abs(largest) || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough * 0.999);
  const [low, high] = [Math.floor(least / step), Math.max(Math.ceil(largest / step), Math.floor(least / step) + 1)];
  const ticks = Array.from({ length: high - low + 1 }, (_, at) => Number(((low + at) * step).toPrecision(12)));
  return { ticks, share: (value) => (value - ticks[0]) / (ticks[ticks.length - 1] - ticks[0]) };
}

// The same for a logarithmic axis with some room at both ends.
function logScale(values) {
  const logs = values.map(Math.log);
  const [least, largest] = [Math.min(...logs), Math.max(...logs)];
  return (value) => (largest > least ? 0.05 + (0.9 * (Math.log(value) - least)) / (largest - least) : 0.5);
}

function showReliability() {
  if (!data.reliability.length) return;
  find("reliability", "charts").append(...data.reliability.map(({ title, series }) => {
    const key = series.map(({ kind, name, error }) =>
      el("span", {}, el("i", { class: kind }), `${name}: `, el("b", {}, percent(error)), " error"));
    const words = series.map(({ name, error }) => `${name}: calibration error ${percent(error)}`).join("; ");
    return figure({ title, key, label: `Reliability diagram. ${words}`, kind: "square" }, (width) => reliabilityChart(width, series));
  }));
}

function reliabilityChart(width, series) {
  const marks = [0, 0.25, 0.5, 0.75, 1].map((share) => [share, percent(share, 0)]);
  const { root, x, y } = axes(width, width, marks, marks, ["confidence", "accuracy"]);
  root.append(svg("line", { class: "ideal", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }));
  for (const { kind, name, points } of series) {
    const most = Math.max(...points.map((point) => point[2]));
    root.append(line(points.map(([confidence, accuracy]) => [x(confidence), y(accuracy)]), `${kind} noisy`));
    root.append(...points.map(([confidence, accuracy, number]) => dot([x(confidence), y(accuracy)], 2.5 + 7.5 * Math.sqrt(number / most), kind,
      `${name}: ${photosOf(number)} predicted at ${percent(confidence)} confidence, ${percent(accuracy)} of them correct`)));
  }
  return root;
}

function showLearningCurve() {
  if (!data.learning_curve) return;
  const { points, forecast } = data.learning_curve;
  const last = points[points.length - 1];
  find("learning-curve", "lead").textContent = forecast
    ? `With twice as many training photos (${count(forecast.images)}), expect an accuracy of about ${percent(forecast.accuracy)} instead of ${percent(last.accuracy)}: ${gain(forecast.accuracy - last.accuracy)} This is a forecast from the points below, not a promise.`
    : `Results on the same unseen photos for heads trained on more and more photos.${data.tuning ? " Only the head changes: the tuned layers stay as they are." : ""}`;
  const kinds = [
    { title: "Accuracy", of: (point) => point.accuracy, tick: (value) => percent(value, 0), say: (value) => percent(value), most: 1 },
    { title: "Log loss", of: (point) => point.log_loss, tick: String, say: (value) => value.toFixed(3), most: Infinity },
  ];
  find("learning-curve", "charts").append(...kinds.map((kind) => {
    const words = points.map((point) => `${count(point.images)}: ${kind.of(point)}`).join("; ");
    return figure({ label: `${kind.title} by number of training photos. ${words}` }, (width) => curveChart(width, kind));
  }));
}

function gain(difference) {
  const points = `${(100 * difference).toFixed(1)} points`;
  if (difference > 0.02) return `${points} more, so collecting more photos pays off.`;
  if (difference > 0.005) return `${points} more.`;
  return "hardly any gain, so better labels or another backbone will help more.";
}

function curveChart(width, { title, of, tick, say, most }) {
  const { points, forecast } = data.learning_curve;
  const all = forecast ? [...points, forecast] : points;
  const { ticks, share } = scale(all.map(of));
  const along = logScale(all.map((point) => point.images));
  const { root, x, y } = axes(width, 300, all.map((point) => [along(point.images), count(point.images)]),
    ticks.filter((value) => value <= most).map((value) => [share(value), tick(value)]), ["training photos", title.toLowerCase()]);
  const position = (point) => [x(along(point.images)), y(share(of(point)))];
  root.append(line(points.map(position), ""), line(all.slice(points.length - 1).map(position), "forecast"));
  for (const point of all) {
    const isForecast = point === forecast;
    const [px, py] = position(point);
    root.append(dot([px, py], 5, isForecast ? "hollow" : "", `${photosOf(point.images)}: ${title} ${say(of(point))}${isForecast ? " (forecast)" : ""}`));
    if (isForecast || point === points[points.length - 1]) root.append(word([px, py - 12], say(of(point)), "strong", "middle"));
  }
  return root;
}

function showSearch() {
  const { candidates } = data.search;
  const tried = candidates.filter((one) => one.log_loss !== null).sort((a, b) => a.log_loss - b.log_loss);
  const best = tried.filter((one, at) => tried.findIndex((other) => other.series === one.series) === at);
  const drawn = tried.find((one) => one.c !== null)?.series;
  const curve = tried.filter((one) => one.series === drawn && one.c !== null).sort((a, b) => a.c - b.c);
  const words = curve.map((one) => `C ${one.c}: ${one.log_loss}`).join("; ");
  if (curve.length > 1) {
    find("search", "charts").append(figure({ label: `Log loss by C. ${words}` },
      (width) => searchChart(width, curve, best.filter((one) => one.series !== drawn))));
  } else find("search", "charts").remove();
  const { heads } = data.search;
  if (heads.length > 1) {
    find("search", "heads").append(table([["Head, calibrated"], ["Log loss", "number"], ["Difference (95% interval)", "number"],
      ["Accuracy", "number"]], heads.map(([name, loss, difference, accuracy]) => el("tr", {},
      el("th", { scope: "row" }, name), el("td", { class: "number" }, loss.toFixed(4)),
      el("td", { class: "number" }, difference || "–"), el("td", { class: "number" }, percent(accuracy))))));
  } else find("search", "heads").remove();
  find("search", "table").append(table([["Head"], ["C", "number"], ["Log loss", "number"], ["Accuracy", "number"]],
    candidates.map((one) => el("tr", { class: one.chosen ? "chosen" : "" },
      el("th", { scope: "row" }, one.series, one.chosen ? el("span", { class: "chip" }, "chosen") : null),
      el("td", { class: "number" }, one.c === null ? "–" : String(one.c)),
      el("td", { class: "number" }, one.log_loss === null ? "–" : one.log_loss.toFixed(4)),
      el("td", { class: "number" }, percent(one.accuracy))))));
}

function searchChart(width, curve, others) {
  const { ticks, share } = scale([...curve, ...others].map((one) => one.log_loss));
  const along = logScale(curve.map((one) => one.c));
  const { root, x, y } = axes(width, 320, curve.map((one) => [along(one.c), String(one.c)]),
    ticks.map((value) => [share(value), String(value)]), ["C (larger: weaker regularisation)", "log loss"]);
  for (const { series, log_loss: loss } of others) {
    const at = y(share(loss));
    root.append(svg("line", { class: "ideal", x1: x(0), x2: x(1), y1: at, y2: at }),
      word([x(1), at + 16], `${series} ${loss.toFixed(3)}`, "", "end"));
  }
  const position = (one) => [x(along(one.c)), y(share(one.log_loss))];
  root.append(line(curve.map(position), "before"));
  for (const one of curve) {
    const [px, py] = position(one);
    root.append(dot([px, py], one.chosen ? 7 : 4.5, one.chosen ? "chosen" : "other",
      `C = ${one.c}: log loss ${one.log_loss.toFixed(4)}, accuracy ${percent(one.accuracy)}`));
    if (one.chosen) root.append(word([px, py - 14], one.log_loss.toFixed(3), "strong", "middle"));
  }
  return root;
}
