// Results of the tuned layers on held-out photos, epoch by epoch, beside the head on the frozen layers.
function showTuning() {
  if (!data.tuning) return;
  const kinds = [
    { title: "Log loss", of: (point) => point.log_loss, tick: String, say: (value) => value.toFixed(3), most: Infinity, label: 24 },
    { title: "Accuracy", of: (point) => point.accuracy, tick: (value) => percent(value, 0), say: (value) => percent(value), most: 1, label: -14 },
  ];
  find("tuning", "charts").append(...kinds.map((kind) => {
    const words = data.tuning.epochs.map((point) => `${point.epoch}: ${kind.say(kind.of(point))}`).join("; ");
    return figure({ label: `${kind.title} by epoch. ${words}; before tuning: ${kind.say(kind.of(data.tuning.frozen))}` },
      (width) => tuningChart(width, kind));
  }));
}

function tuningChart(width, { title, of, tick, say, most, label }) {
  const { epochs, kept, frozen } = data.tuning;
  const values = [...epochs, frozen].map(of);
  const [least, largest] = [Math.min(...values), Math.max(...values)];
  const room = 0.15 * (largest - least) || 0.05; // for the text above the highest and below the lowest point
  const { ticks, share } = scale([Math.max(least - room, 0), Math.min(largest + room, most)]);
  const [first, last] = [epochs[0].epoch, epochs[epochs.length - 1].epoch];
  const along = (epoch) => (last > first ? 0.05 + (0.9 * (epoch - first)) / (last - first) : 0.5);
  const { root, x, y } = axes(width, 300, epochs.map(({ epoch }) => [along(epoch), String(epoch)]),
    ticks.filter((value) => value <= most).map((value) => [share(value), tick(value)]), ["epoch", `${title.toLowerCase()}, held out`]);
  const position = (point) => [x(along(point.epoch)), y(share(of(point)))];
  const before = y(share(of(frozen)));
  const isAbove = position(epochs[epochs.length - 1])[1] > before || before + 20 > y(0);
  root.append(svg("line", { class: "ideal", x1: x(0), x2: x(1), y1: before, y2: before }),
    word([x(1), before + (isAbove ? -7 : 17)], `frozen head ${say(of(frozen))}`, "", "end"), line(epochs.map(position), ""));
  const isWithin = (height) => height > y(1) && height < y(0);
  for (const point of epochs) {
    const isKept = point.epoch === kept;
    const [px, py] = position(point);
    root.append(dot([px, py], isKept ? 7 : 4.5, isKept ? "chosen" : "hollow", `epoch ${point.epoch}${isKept ? ", kept" : ""}: ${title} ${say(of(point))}`));
    if (isKept) root.append(word([px, py + (isWithin(py + label) ? label : 10 - label)], say(of(point)), "strong", "middle"));
  }
  return root;
}
