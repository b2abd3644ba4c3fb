"""``make bench-latency``: a single photo through a `Classifier` on one core, against decoding and inference alone.

BENCH_IMAGES names a folder of class folders (by default drawn pictures), BENCH_WEIGHTS a Keras weights file. A call
reads the file, has it decoded in another process, and runs the classifier's whole graph. It is compared with decoding
bytes and running the same graph, with the decoder in another process too, and with the decoder in this one. All take
turns with every photo; a ratio is the median over photos, each at its best of all rounds.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PHOTOS, ROUNDS = 100, 10


def main() -> None:
    """Train a classifier on each backbone, and print a Markdown table."""
    if hasattr(os, "sched_setaffinity"):  # child processes inherit it
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    from rich.console import Console

    from bench.speed.__main__ import make_task
    from headstart.classify import load, train
    from headstart.extract import embed

    lines = [
        "| classifier | first call, ms | a photo, ms | 99th percentile | decode apart + inference, ms | ratio "
        "| decode here + inference, ms | ratio |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        task = make_task(folder, Console(stderr=True))
        for name, backbone in (("fp32", task.fp32), ("int8", task.int8)):
            store, _ = embed(task.images, backbone, folder / f"{name}.h5")
            path = train(store, folder / f"{name}-classifier.onnx").path
            chosen = np.flatnonzero(store.is_embedded)[:: max(1, int(store.is_embedded.sum()) // PHOTOS)]
            photos = [Path(store.header.root, store.paths[row]) for row in chosen]
            with load(path) as classifier:
                lines.append(f"| {name} | {' | '.join(_measured(classifier, photos))} |")
    sys.stdout.write("\n".join(lines) + "\n")


def _measured(classifier: Any, photos: list[Path]) -> list[str]:
    from headstart.extract.decoding.decode import decode
    from headstart.extract.decoding.isolated import IsolatedDecoder
    from headstart.extract.inference.providers import open_session

    model = classifier.file.model
    session, decoder = open_session(model, "cpu", classifier.file.prediction), IsolatedDecoder(model.rule)
    data = {photo: photo.read_bytes() for photo in photos}

    def whole(photo: Path) -> None:
        classifier.predict_proba([photo])

    def apart(photo: Path) -> None:
        session.run(decoder.decode(data[photo])[None])

    def here(photo: Path) -> None:
        session.run(decode(data[photo], model.rule)[None])

    first = _milliseconds(whole, photos[0])
    apart(photos[0])
    calls = whole, apart, here
    times = np.array([[[_milliseconds(call, photo) for call in calls] for photo in photos] for _ in range(ROUNDS)])
    decoder.close()
    best = times.min(axis=0)
    ours, *others = np.median(best, axis=0)
    ratios = np.median(best[:, :1] / best[:, 1:], axis=0)
    figures = [first, ours, float(np.quantile(times[..., 0], 0.99))]
    compared = [f"{value:.1f} | {ratio:.3f}" for value, ratio in zip(others, ratios, strict=True)]
    return [*(f"{figure:.1f}" for figure in figures), *compared]


def _milliseconds(call: Callable[[Path], None], photo: Path) -> float:
    started = time.perf_counter()
    call(photo)
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
