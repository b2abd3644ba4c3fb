// Heads on other stores beside this one: dots with whiskers on one axis, and the cost of each.
function showBaselines() {
  if (!data.baselines) return;
  const { ticks, share } = scale(data.baselines.flatMap((one) => one.accuracy_interval));
  const along = (value) => `${(100 * share(value)).toFixed(2)}%`;
  const [own] = data.baselines;
  const plot = (one) => el("td", { class: "plot" }, svg("svg", { "aria-hidden": "true", height: 44 },
    ...ticks.map((tick) => svg("line", { class: "rule", x1: along(tick), x2: along(tick), y1: 0, y2: 44 })),
    svg("line", { class: "ideal", x1: along(own.accuracy), x2: along(own.accuracy), y1: 0, y2: 44 }),
    whisker(one.accuracy_interval.map(along)),
    svg("circle", { class: `dot ${one === own ? "chosen" : "other"}`, cx: along(one.accuracy), cy: 22, r: one === own ? 7 : 5.5 })));
  const rows = data.baselines.map((one) => el("tr", { class: one === own ? "chosen" : "" },
    el("th", { scope: "row" }, el("bdi", {}, one.what), one === own ? [" ", el("span", { class: "chip" }, "this one")] : null, one.store ? el("bdi", { class: "small" }, one.store) : null),
    plot(one),
    el("td", { class: "number" }, percent(one.accuracy), el("span", { class: "small" }, one.accuracy_interval.map((end) => percent(end)).join(" to "))),
    el("td", { class: "number" }, difference(one)),
    el("td", { class: "number" }, one.log_loss.toFixed(3)),
    el("td", { class: "number" }, one.row_bytes === null ? "–" : count(one.row_bytes)),
    el("td", { class: "number" }, one.seconds === null ? "–" : `${one.seconds.toFixed(1)} s`)));
  const made = table([["Features"], ["", "plot"], ["Accuracy", "number"], ["Difference", "number"], ["Log loss", "number"],
    ["Bytes per photo", "number"], ["Search and fit", "number"]], rows);
  const ends = [ticks[0], ticks[ticks.length - 1]].map((tick) => el("span", {}, percent(tick, 0)));
  made.append(el("tfoot", { "aria-hidden": "true" }, el("tr", {}, el("td"), el("td", { class: "plot" }, el("div", {}, ends)), el("td", { colspan: 5 }))));
  find("baselines", "table").append(made);
}

const whisker = ([low, high]) => [[low, high, 22, 22], [low, low, 17, 27], [high, high, 17, 27]].map(([x1, x2, y1, y2]) =>
  svg("line", { class: "whisker", x1, x2, y1, y2 }));

function difference({ difference: found }) {
  if (!found) return "";
  const points = (value) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(100 * value).toFixed(1)}`;
  const { accuracy_difference: middle, accuracy_interval: [low, high] } = found;
  return [el("span", { class: low > 0 || high < 0 ? "clear" : "" }, points(middle)),
    el("span", { class: "small" }, `${points(low)} to ${points(high)}`)];
}
