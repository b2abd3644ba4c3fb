"""``make bench-accuracy``: compare heads on fp32, int8 and untrained embeddings of the same labelled photos.

BENCH_IMAGES names a folder of class folders (by default drawn pictures), BENCH_WEIGHTS a Keras weights file. The
figures are means over 5 stratified folds, with the default head.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

FOLDS = 5


def main() -> None:
    """Export three backbones, embed with each, and print a Markdown table."""
    from rich.console import Console

    from bench.speed.__main__ import make_task
    from headstart.export import export_backbone
    from headstart.extract import embed

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        task = make_task(folder, Console(stderr=True))
        models = {"fp32": task.fp32, "int8": task.int8, "untrained": str(folder / "untrained.onnx")}
        export_backbone(models["untrained"], weights="random")
        stores = {name: embed(task.images, model, folder / f"{name}.h5")[0] for name, model in models.items()}
        lines = [
            f"{os.path.basename(task.images)}: {len(stores['fp32'])} photos, {FOLDS} folds",
            "",
            "| backbone | accuracy | log loss | cosine to fp32: mean | least |",
            "|---|---:|---:|---:|---:|",
        ]
        for name, store in stores.items():
            accuracy, log_loss = _folds(store)
            cosine = _cosine(store, stores["fp32"])
            lines.append(f"| {name} | {accuracy:.4f} | {log_loss:.4f} | {cosine.mean():.4f} | {cosine.min():.4f} |")
    sys.stdout.write("\n".join(lines) + "\n")


def _folds(store: Any) -> tuple[float, float]:
    from sklearn.model_selection import StratifiedKFold

    from headstart.classify import HeadOptions, make_head
    from headstart.classify.heads.kinds import fit_head

    rows = np.flatnonzero(store.is_embedded & (store.labels >= 0))
    embeddings, labels = store.embeddings(rows), store.labels[rows]
    right, losses = [], []
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(embeddings, labels):
        head = fit_head(make_head("logreg", HeadOptions()), embeddings[train], labels[train], HeadOptions())
        probabilities = head.predict_proba(embeddings[test])
        right.append(np.mean(probabilities.argmax(axis=1) == labels[test]))
        losses.append(-np.log(probabilities[np.arange(len(test)), labels[test]]).mean())
    return float(np.mean(right)), float(np.mean(losses))


def _cosine(store: Any, reference: Any) -> Any:
    rows = np.flatnonzero(store.is_embedded & reference.is_embedded)
    found, expected = store.embeddings(rows), reference.embeddings(rows)
    return (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)


if __name__ == "__main__":
    main()
