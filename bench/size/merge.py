"""``make bench-merge``: open a folder of ten thousand shards, and merge it into one file.

BENCH_SHARDS (10,000) shards hold 1,000 drawn rows each, with interleaved paths. Vectors have only 8 numbers, so that
rows and files are measured rather than the disk. Each step runs twice, in its own process.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROWS, DIM, CLASSES = 1000, 8, 5


def main() -> None:
    """Write the shards, open and merge them, and print a Markdown table."""
    shards = int(os.environ.get("BENCH_SHARDS", "10000"))
    lines = ["| what | rows | seconds | peak memory, MB |", "|---|---:|---:|---:|"]
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as folder:
        store, merged = Path(folder) / "shards.emb", Path(folder) / "merged.h5"
        draw_shards(store, shards)
        for what in ("open", "merge") * 2:
            merged.unlink(missing_ok=True)
            command = [sys.executable, "-m", "bench.size.merge", what, str(store), str(merged)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows, seconds, peak = json.loads(done.stdout)
            lines.append(f"| {what} {shards:,} shards | {rows:,} | {seconds:.0f} | {peak:.0f} |")
            sys.stderr.write(lines[-1] + "\n")
    sys.stdout.write("\n".join(lines) + "\n")


def draw_shards(folder: Path, count: int) -> None:
    """Write shards of drawn rows with interleaved paths."""
    from headstart.extract.inference.model import parse_model
    from headstart.extract.store.rows import write_shard
    from headstart.extract.store.schema import EMBEDDED, Header, Rows
    from headstart.extract.store.shards import MODEL_FILE
    from torture.scene import tiny_backbone

    model = parse_model(tiny_backbone(DIM), "drawn")
    classes = tuple(f"class {number}" for number in range(CLASSES))
    header = Header(
        model.metadata, model.sha256, "embedding", (DIM,), "float16", classes, "/drawn", ("CPUExecutionProvider",)
    )
    folder.mkdir()
    (folder / MODEL_FILE).write_bytes(model.data)
    rng = np.random.default_rng(0)
    for number in range(count):
        rows = Rows(
            path=np.array([b"%d/%012d.jpg" % (row % CLASSES, row * count + number) for row in range(ROWS)], np.bytes_),
            sha256=rng.integers(1, 256, (ROWS, 32), np.uint8),
            size=np.full(ROWS, 100_000),
            mtime_ns=np.ones(ROWS, np.int64),
            label=(np.arange(ROWS) % CLASSES).astype(np.int32),
            split=np.zeros(ROWS, np.int8),
            status=np.full(ROWS, EMBEDDED, np.int8),
            reason=np.zeros(ROWS, "S1"),
        )
        write_shard(folder, header, number + 1, rows, rng.standard_normal((ROWS, DIM)))


def measure(what: str, store: str, merged: str) -> tuple[int, float, float]:
    """Open or merge in this process; print the rows, the seconds and the peak memory in MB."""
    from bench.speed.contenders import peak_mb
    from headstart.extract import merge
    from headstart.extract.store.store import open_store

    started = time.perf_counter()
    found = open_store(store) if what == "open" else merge([store], merged)
    return len(found), time.perf_counter() - started, peak_mb()


if __name__ == "__main__":
    if len(sys.argv) == 4:
        sys.stdout.write(json.dumps(measure(*sys.argv[1:])))
    else:
        main()
