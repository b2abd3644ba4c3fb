"""The search of ``headstart train`` against scikit-learn's grid search, and one fit of many rows."""

import os
import subprocess
import sys
from typing import Any

import numpy as np

from bench.heads.data import Photos, loss_of, mixture, timed

FOLDS = 5
GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)


def lines(photos: Photos) -> list[str]:
    """Return both tables."""
    return [*_speed(photos), "", *_large(photos.store)]


def _speed(photos: Photos) -> list[str]:
    """Time `headstart train` in its own process, and the grid search that it replaces."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    store = photos.store
    command = [sys.executable, "-m", "headstart", "train", str(store.location), "-o", str(photos.folder / "c.onnx")]
    ours = min(timed(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(3))
    rows = np.flatnonzero(store.is_embedded & (store.labels >= 0))
    embeddings, labels = store.embeddings(rows), store.labels[rows]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    grid = GridSearchCV(pipeline, {"logisticregression__C": GRID}, scoring="neg_log_loss", cv=folds)
    plain = timed(lambda: grid.fit(embeddings, labels))
    return [
        f"Search: {embeddings.shape}, {len(store.classes)} classes, {len(GRID)} values of C, {FOLDS} folds",
        "",
        "| what | seconds | ratio |",
        "|---|---:|---:|",
        f"| scikit-learn's GridSearchCV alone | {plain:.1f} | 1 |",
        f"| `headstart train` with all its steps, from process start to file | {ours:.1f} | {plain / ours:.1f} |",
    ]


def _large(store: Any) -> list[str]:
    """Fit many rows once: mixtures of real embeddings in 100 classes."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from headstart.classify.heads.options import HeadOptions
    from headstart.classify.heads.registry import HEADS
    from headstart.classify.heads.rows import TrainingRows
    from headstart.classify.heads.search import search_head

    n, options = int(os.environ.get("BENCH_ROWS", "50000")), HeadOptions(c=0.01)
    embeddings, labels = mixture(store, n, 1)
    unseen, right = mixture(store, 5000, 2)
    folds = np.random.default_rng(0).integers(0, FOLDS, n)
    rows = TrainingRows(embeddings, labels, folds, 100)
    search = search_head("logreg", rows, options)
    kind, fitted = HEADS["logreg"], []
    ours = timed(lambda: fitted.append(kind.fit(kind, search, rows, options).pipeline))
    scaler = StandardScaler().fit(embeddings)
    plain = LogisticRegression(C=0.01, max_iter=1000)
    theirs = timed(lambda: plain.fit(scaler.transform(embeddings), labels))
    losses = [
        loss_of(fitted[0].predict_proba(unseen), right),
        loss_of(plain.predict_proba(scaler.transform(unseen)), right),
    ]
    return [
        f"One fit, {n} x {embeddings.shape[1]}, 100 classes (mixtures of real embeddings)",
        "",
        "| what | seconds | ratio | held-out log loss |",
        "|---|---:|---:|---:|",
        f"| scikit-learn's LogisticRegression | {theirs:.1f} | 1 | {losses[1]:.4f} |",
        f"| Headstart, started from the search's solution | {ours:.1f} | {theirs / ours:.1f} | {losses[0]:.4f} |",
    ]
