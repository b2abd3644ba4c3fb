"""``make bench-cluster``: compare the Ray engine with the local one on this machine, without start-up.

Settings come from the environment: BENCH_IMAGES (a folder; by default drawn pictures), BENCH_WEIGHTS (a Keras weights
file; by default random weights, which cost the same time), BENCH_ROUNDS (3).
"""

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Embed the same images with each engine in turn, and print a table."""
    from headstart.demo.pictures import draw_pictures
    from headstart.export import export_backbone

    rounds = int(os.environ.get("BENCH_ROUNDS", "3"))
    rates: dict[str, list[float]] = {"local": [], "ray": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        images = os.environ.get("BENCH_IMAGES") or str(draw_pictures(folder / "photos", per_class=1000).folder)
        model = folder / "backbone.onnx"
        export_backbone(model, weights=os.environ.get("BENCH_WEIGHTS") or "random")
        for number in range(rounds):
            for engine, found in rates.items():
                found.append(rate(images, model, folder / f"{engine}{number}.h5", engine))
                sys.stderr.write(f"round {number + 1}: {engine}: {found[-1]:.1f} images/s\n")
    local = statistics.median(rates["local"])
    lines = ["| engine | images/s, without start-up | relative to local |", "|---|---:|---:|"]
    for engine, found in rates.items():
        lines.append(f"| {engine} | {statistics.median(found):.1f} | {statistics.median(found) / local:.2f} |")
    sys.stdout.write("\n".join(lines) + "\n")


def rate(images: str, model: Path, output: Path, engine: str) -> float:
    """Return images per second, measured from the first fifth of the rows to the last row."""
    from headstart.extract import EngineOptions, embed
    from headstart.files.progress import Progress

    seen: list[tuple[float, int]] = []

    def callback(progress: Progress) -> None:
        seen.append((time.perf_counter(), progress.done))

    embed(images, model, output, options=EngineOptions(engine=engine), progress=callback)
    start = next(i for i, (_, done) in enumerate(seen) if done >= seen[-1][1] / 5)
    return (seen[-1][1] - seen[start][1]) / (seen[-1][0] - seen[start][0])


if __name__ == "__main__":
    main()
