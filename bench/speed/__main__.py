"""``make bench``: compare Headstart with Keras, onnxruntime and decoding alone, in interleaved rounds.

Settings come from the environment: BENCH_IMAGES (a folder; by default pictures drawn at 500 x 375), BENCH_WEIGHTS (a
Keras weights file; by default random weights, which cost the same time), BENCH_ROUNDS (5), BENCH_OUTPUT (build/bench).
"""

import os
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from bench.speed.contenders import Task
from bench.speed.race import race, shares
from bench.speed.table import to_json, to_markdown
from headstart.demo.pictures import draw_pictures
from headstart.export import export_backbone
from headstart.extract.sample import decode_sample
from headstart.files.resize import ResizeRule

DRAWN_A_CLASS = 200
CALIBRATION_IMAGES = 300


def main() -> None:
    """Run the benchmark, and write build/bench/bench.md and bench.json."""
    console = Console(stderr=True)
    output = Path(os.environ.get("BENCH_OUTPUT", "build/bench"))
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        task = make_task(Path(folder), console)
        rounds = int(os.environ.get("BENCH_ROUNDS", "5"))
        results = race(task, rounds, console)
    table = to_markdown(results, shares(results), task, rounds)
    (output / "bench.md").write_text(table)
    (output / "bench.json").write_text(to_json(results, shares(results), task, rounds))
    sys.stdout.write(table)


def make_task(folder: Path, console: Console) -> Task:
    """Draw pictures (unless BENCH_IMAGES names a folder), and export a backbone in fp32 and int8."""
    images = os.environ.get("BENCH_IMAGES")
    if not images:
        console.print("drawing 1,000 pictures")
        images = str(draw_pictures(folder / "photos", per_class=DRAWN_A_CLASS, broken=False).folder)
    weights = os.environ.get("BENCH_WEIGHTS") or None
    console.print("exporting fp32 and int8")
    pixels = decode_sample(images, ResizeRule(224, 224), CALIBRATION_IMAGES)
    for name, calibration in (("fp32", None), ("int8", pixels)):
        export_backbone(folder / f"{name}.onnx", weights=weights or "random", calibration=calibration)
    return Task(images, str(folder / "fp32.onnx"), str(folder / "int8.onnx"), weights)


if __name__ == "__main__":
    main()
