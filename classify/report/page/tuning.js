// How a tuned tail did on held-out photos, epoch by epoch, beside the head on the tail as it was.
function showTuning() {
  if (!data.tuning) return;
  const kinds = [
    { title: "Log loss", of: (point) => point[1], tick: String, say: (value) => value.toFixed(3), most: Infinity, label: 24 },
    { title: "Accuracy", of: (point) => point[2], tick: (value) => percent(value, 0), say: (value) => percent(value), most: 1, label: -14 },
  ];
  find("tuning", "charts").append(...kinds.map((kind) => {
    const words = data.tuning.epochs.map((point) => `${point[0]}: ${kind.say(kind.of(point))}`).join("; ");
    return figure({ label: `${kind.title} by epoch. ${words}; before tuning: ${kind.say(kind.of(data.tuning.frozen))}` },
      (width) => tuningChart(width, kind));
  }));
}

function tuningChart(width, { title, of, tick, say, most, label }) {
  const { epochs, kept, frozen } = data.tuning;
  const values = [...epochs, frozen].map(of);
  const [least, largest] = [Math.min(...values), Math.max(...values)];
  const room = 0.15 * (largest - least) || 0.05; // for what is written above the highest and below the lowest point
  const { ticks, share } = scale([Math.max(least - room, 0), Math.min(largest + room, most)]);
  const [first, last] = [epochs[0][0], epochs[epochs.length - 1][0]];
  const along = (epoch) => (last > first ? 0.05 + (0.9 * (epoch - first)) / (last - first) : 0.5);
  const { root, x, y } = axes(width, 300, epochs.map(([epoch]) => [along(epoch), String(epoch)]),
    ticks.filter((value) => value <= most).map((value) => [share(value), tick(value)]), ["epoch", `${title.toLowerCase()}, held out`]);
  const place = (point) => [x(along(point[0])), y(share(of(point)))];
  const before = y(share(of(frozen)));
  const isAbove = place(epochs[epochs.length - 1])[1] > before || before + 20 > y(0);
  root.append(svg("line", { class: "ideal", x1: x(0), x2: x(1), y1: before, y2: before }),
    word([x(1), before + (isAbove ? -7 : 17)], `frozen head ${say(of(frozen))}`, "", "end"), line(epochs.map(place), ""));
  const isWithin = (height) => height > y(1) && height < y(0);
  for (const point of epochs) {
    const isKept = point[0] === kept;
    const [px, py] = place(point);
    root.append(dot([px, py], isKept ? 7 : 4.5, isKept ? "chosen" : "hollow", `epoch ${point[0]}${isKept ? ", kept" : ""}: ${title} ${say(of(point))}`));
    if (isKept) root.append(word([px, py + (isWithin(py + label) ? label : 10 - label)], say(of(point)), "strong", "middle"));
  }
  return root;
}
