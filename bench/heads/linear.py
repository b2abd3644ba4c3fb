"""Logistic regression on small sets: with the scaling in the search against standardised embeddings alone."""

from typing import Any

import numpy as np

from bench.heads.data import Photos

SIZES = (50, 100, 250)
DRAWS = 20


def lines(photos: Photos) -> list[str]:
    """Return the table: photos drawn from all classes and from the first two, tested on the rest."""
    store = photos.store
    rows = np.flatnonzero(store.is_embedded & (store.labels >= 0))
    embeddings, labels = store.embeddings(rows), store.labels[rows]
    table = [
        f"Scaling in the search: log loss (nats) on the photos that were not drawn, means of {DRAWS} draws",
        "",
        "| classes | photos | standardised | searched | change | worse in | at worst |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for k in sorted({2, len(store.classes)}):
        of_these = labels < k
        for n in SIZES:
            if of_these.sum() >= 2 * n:
                table.append(_line(embeddings[of_these], labels[of_these], k, n))
    return table


def _line(embeddings: Any, labels: Any, k: int, n: int) -> str:
    found = np.array([_losses(embeddings, labels, k, n, seed) for seed in range(DRAWS)])
    changes = found[:, 1] / found[:, 0] - 1
    before, after = found.mean(axis=0)
    return (
        f"| {k} | {n} | {before:.4f} | {after:.4f} | {changes.mean():+.1%} | {(changes > 0).sum()} of {DRAWS} | "
        f"{changes.max():+.1%} |"
    )


def _losses(embeddings: Any, labels: Any, k: int, n: int, seed: int) -> tuple[float, float]:
    """Return the log loss of a draw with standardised embeddings, and with the scaling searched for."""
    from headstart.classify.heads.fitting import fit_rows
    from headstart.classify.heads.loss import log_loss, softmax
    from headstart.classify.heads.options import STANDARDISED, HeadOptions
    from headstart.classify.heads.rows import TrainingRows
    from headstart.classify.heads.threads import blas_threads
    from headstart.classify.split.folds import draw_folds

    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    train, test = order[:n], order[n:]
    rows = TrainingRows(embeddings[train], labels[train], draw_folds(labels[train], rng.random(n)), k)
    with blas_threads(n):
        heads = [fit_rows(rows, "logreg", HeadOptions(scaling=scaling))[1] for scaling in (STANDARDISED, None)]
    before, after = (log_loss(softmax(head.logits(embeddings[test])), labels[test]) for head in heads)
    return before, after
