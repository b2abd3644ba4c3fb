"""Accuracy, log loss and calibration error of several kinds of features, in folds, and of fine-tuning in Keras."""

import os
import time
from typing import Any

import numpy as np

from bench.heads.data import Photos, say

FOLDS = 5
IMAGE_SIZE = 256
ALL_BLOCKS = f"all blocks, {IMAGE_SIZE} pixels"


def lines(photos: Photos) -> list[str]:
    """Return one row per kind of features; each fold is searched and calibrated on its training rows."""
    table = [
        f"Quality, {FOLDS}-fold, each fold searched and calibrated on its own training photos",
        "",
        "| features | accuracy | log loss | calibration error, pooled | embedding, s | search and fit per fold, s |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, model in _models(photos).items():
        store, seconds = photos.embedded(photos.images, model)
        accuracy, loss, error, spent = _folds(store)
        table.append(f"| {name} | {accuracy:.4f} | {loss:.4f} | {error:.4f} | {seconds:.1f} | {spent:.1f} |")
        say(table[-1])
    count = int(os.environ.get("BENCH_FINETUNE", "0"))
    if count:
        from bench.quality.finetune import fine_tune

        splits = list(_split(photos.store))[:count]
        accuracy, loss, spent = fine_tune(photos.store, splits, os.environ.get("BENCH_WEIGHTS") or None)
        table.append(f"| Keras, fine-tuned ({count} of the folds) | {accuracy:.4f} | {loss:.4f} | | | {spent:.1f} |")
    return table


def _models(photos: Photos) -> dict[str, Any]:
    from headstart.export import export_backbone

    blocks, views = photos.folder / "blocks.onnx", photos.folder / "views.onnx"
    export_backbone(blocks, weights=photos.weights, image_size=IMAGE_SIZE, features="all-blocks")
    export_backbone(views, weights=blocks, views=2)
    return {"top, 224 pixels": photos.backbone, ALL_BLOCKS: blocks, f"{ALL_BLOCKS}, 2 views": views}


def _folds(store: Any) -> tuple[float, float, float, float]:
    from headstart.classify.confidence.calibration import fit_temperature, reliability
    from headstart.classify.heads.fitting import fit_rows
    from headstart.classify.heads.loss import log_loss, softmax
    from headstart.classify.heads.options import HeadOptions
    from headstart.classify.heads.registry import logits_of
    from headstart.classify.heads.rows import TrainingRows
    from headstart.classify.split.folds import draw_folds

    found, answers, spent = [], [], []
    for train, test in _split(store):
        started = time.perf_counter()
        labels = store.labels[train]
        draws = np.random.default_rng(0).random(len(train))
        rows = TrainingRows(store.embeddings(train), labels, draw_folds(labels, draws), len(store.classes))
        search, head, _ = fit_rows(rows, "logreg", HeadOptions())
        temperature = fit_temperature(search.logits, rows.labels).temperature
        spent.append(time.perf_counter() - started)
        found.append(softmax(logits_of(head, store.embeddings(test)) / temperature))
        answers.append(store.labels[test])
    right = [float((p.argmax(axis=1) == y).mean()) for p, y in zip(found, answers, strict=True)]
    losses = [log_loss(p, y) for p, y in zip(found, answers, strict=True)]
    error = reliability(np.concatenate(found), np.concatenate(answers)).error
    return float(np.mean(right)), float(np.mean(losses)), error, float(np.mean(spent))


def _split(store: Any) -> Any:
    from sklearn.model_selection import StratifiedKFold

    rows = np.flatnonzero(store.is_embedded & (store.labels >= 0))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return ((rows[train], rows[test]) for train, test in folds.split(rows, store.labels[rows]))
