"""``make bench-passes``: train in passes over a store larger than memory.

`headstart train` runs on BENCH_FITS (50,000) rows, in memory and in passes, and on BENCH_ROWS (1,000,000) in passes.
The table shows seconds, peak memory (without the system's file cache) and held-out log loss. Rows are drawn from ten
classes with 8 random anchors each, plus noise: 1,280 numbers as float16.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

DIM, CLASSES, PIECE = 1280, 10, 4096
LAUNCH = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], capture_output=True, text=True)
sys.stderr.write(done.stderr)
print(done.stdout.strip())
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
sys.exit(done.returncode)
"""


def main() -> None:
    """Write the stores, train on them, and print a Markdown table."""
    fits, rows = int(os.environ.get("BENCH_FITS", "50000")), int(os.environ.get("BENCH_ROWS", "1000000"))
    lines = [
        "| rows | how | seconds | peak memory, MB | held-out log loss | accuracy |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        for n, allowed in ((fits, 100.0), (fits, 0.0), (rows, 0.0)):
            store = Path(folder) / f"{n}.h5"
            if not store.exists():
                draw_store(store, n)
            found, memory = train(store, allowed, Path(folder) / "classifier.onnx")
            how = "in memory" if allowed else "by passes"
            judged = found["evaluation"]
            figures = f"{found['seconds']:.0f} | {memory} | {judged['log_loss']:.4f} | {judged['accuracy']:.4f}"
            lines.append(f"| {n:,} | {how} | {figures} |")
            sys.stderr.write(lines[-1] + "\n")
    sys.stdout.write("\n".join(lines) + "\n")


def draw_store(path: Path, n: int) -> None:
    """Write a store of n drawn rows in pieces."""
    from headstart.extract.inference.model import parse_model
    from headstart.extract.store.hdf5 import Column, write_hdf5
    from headstart.extract.store.rows import columns_of
    from headstart.extract.store.schema import EMBEDDED, Header, Rows
    from torture.scene import tiny_backbone

    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, n).astype(np.int32)
    rows = Rows(
        path=np.array([b"%09d.jpg" % number for number in range(n)], np.bytes_),
        sha256=rng.integers(0, 256, (n, 32), np.uint8),
        size=np.full(n, 100_000),
        mtime_ns=np.ones(n, np.int64),
        label=labels,
        split=np.zeros(n, np.int8),
        status=np.full(n, EMBEDDED, np.int8),
        reason=np.zeros(n, "S1"),
    )
    model = parse_model(tiny_backbone(DIM), "drawn")
    names = tuple(f"class {number}" for number in range(CLASSES))
    header = Header(
        model.metadata, model.sha256, "embedding", (DIM,), "float16", names, "/drawn", ("CPUExecutionProvider",)
    )
    columns = {
        **columns_of(rows),
        "model": Column.of(np.frombuffer(model.data, np.uint8)),
        "embedding": Column(np.dtype("<f2"), (n, DIM), _pieces(labels)),
    }
    write_hdf5(path, header.to_attributes(), columns)


def _pieces(labels: Any) -> Iterator[Any]:
    """Draw non-negative rows around one of the 8 anchors of their class."""
    rng = np.random.default_rng(1)
    anchors = rng.normal(0, 1, (CLASSES, 8, DIM)).astype(np.float32)
    for start in range(0, len(labels), PIECE):
        mine = labels[start : start + PIECE]
        noise = rng.standard_normal((len(mine), DIM), np.float32)
        yield np.maximum(0.2 * anchors[mine, rng.integers(0, 8, len(mine))] + noise, 0).astype(np.float16)


def train(store: Path, memory: float, output: Path) -> tuple[dict[str, Any], int]:
    """Run `headstart train`; return its JSON and its peak memory in MB."""
    command = [sys.executable, "-m", "headstart", "train", store, "--memory-gb", memory, "-o", output, "--json"]
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, *map(str, command)], check=True, capture_output=True, text=True
    )
    said, peak = done.stdout.strip().splitlines()
    return json.loads(said), int(peak)


if __name__ == "__main__":
    main()
