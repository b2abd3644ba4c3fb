"""``make bench-scale``: measure the cost per image and the memory for few and for many images.

A folder of 1,000 and one of 50,000 hard links to the same pictures (BENCH_SCALE changes the second number) are embedded
with the int8 backbone, each in its own process, and then again without changes. To measure Headstart's own work alone,
2,000, 20,000 and 200,000 links to small pictures are then embedded with one small convolution in place of the backbone
(BENCH_OWN changes the last number).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

FEW = 1_000
MANY = int(os.environ.get("BENCH_SCALE", "50000"))
OWN = (2_000, 20_000, int(os.environ.get("BENCH_OWN", "200000")))


def main() -> None:
    """Run the benchmark, and print a Markdown table."""
    from rich.console import Console

    from bench.speed.__main__ import make_task
    from torture.scene import Scene, link_photos

    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        task = make_task(folder, console)
        pictures = sorted(path for path in Path(task.images).rglob("*") if path.is_file())
        rows = []
        for count in (FEW, MANY):
            linked = _link(pictures, folder / f"linked-{count}", count)
            for what in ("first run", "again"):
                rows.append({"images": count, "run": what, **_measure(linked, task.int8, folder / f"{count}.h5")})
                console.print(rows[-1])
        own = folder / "own"
        own.mkdir()
        scene = Scene.make(own)
        for count in OWN:
            linked = link_photos(scene.photos, own / f"linked-{count}", count)
            found = _measure(linked, str(scene.backbone), own / f"{count}.h5")
            rows.append({"images": count, "run": "our own work alone", **found})
            console.print(rows[-1])
    sys.stdout.write(_table(rows))


def embed_once(images: str, model: str, store: str) -> dict[str, Any]:
    """Embed in this process, and return the cost."""
    from bench.speed.contenders import peak_mb
    from headstart.extract import embed, find_images

    started = time.perf_counter()
    find_images(images)
    walk = time.perf_counter() - started
    started, cpu = time.perf_counter(), time.process_time()
    _, summary = embed(images, model, store)
    return {
        "computed": summary.computed,
        "walk_seconds": walk,
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "decode_seconds": summary.stages["decode"],
        "peak_mb": peak_mb(),
    }


def _link(pictures: list[Path], folder: Path, count: int) -> Path:
    for number in range(count):
        path = folder / f"class{number % 5}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(pictures[number % len(pictures)], path)
    return folder


def _measure(images: Path, model: str, store: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.size.scale", str(images), model, str(store)]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return found


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| images | run | computed | seconds | listing, s | ms per image | CPU ms per image | peak memory, MB |",
        "|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['images']} | {row['run']} | {row['computed']} | {row['seconds']:.1f} | {row['walk_seconds']:.2f} | "
        f"{1000 * row['seconds'] / row['images']:.3f} | {1000 * row['cpu_seconds'] / row['images']:.2f} | "
        f"{row['peak_mb']:.0f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if len(sys.argv) == 4:
        sys.stdout.write(json.dumps(embed_once(*sys.argv[1:])))
    else:
        main()
