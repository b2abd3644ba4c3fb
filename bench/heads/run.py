"""``make bench-heads``: compare the speed and quality of heads with plain scikit-learn and with fine-tuning.

Settings come from the environment: BENCH_ONLY (names of tables, with commas between them; by default all), BENCH_IMAGES
(class folders; by default drawn pictures), BENCH_OTHERS (a folder of other things that a classifier should flag as
unknown, with class folders also a second set to train on; by default none), BENCH_WEIGHTS (a Keras weights file; by
default ImageNet's), BENCH_FINETUNE (number of folds to fine-tune in Keras, minutes each; 0), BENCH_ROWS (rows of the
synthetic large fit; 50000).
"""

import os
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from bench.heads.data import Photos, say

TABLES = sorted({path.stem for path in Path(__file__).parent.glob("*.py")} - {"__init__", "data", "run"})
"""Each file beside this one holds a table, as its function `lines`."""


def main() -> None:
    """Print the tables as Markdown, each as soon as it is measured."""
    names = os.environ.get("BENCH_ONLY") or ",".join(TABLES)
    chosen = [name.strip() for name in names.split(",")]
    if wrong := [name for name in chosen if name not in TABLES]:
        sys.exit(f"error: BENCH_ONLY: no table {', '.join(wrong)}; expected some of {', '.join(TABLES)}")
    with tempfile.TemporaryDirectory() as folder:
        photos = Photos(Path(folder))
        for name in chosen:
            say(f"measuring {name}")
            if lines := import_module(f"bench.heads.{name}").lines(photos):
                sys.stdout.write("\n".join([*lines, "", ""]))
                sys.stdout.flush()


if __name__ == "__main__":
    main()
