"""One, two and five photos per class: our default head against the best of scikit-learn, chosen with hindsight."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.heads.data import Photos, say

SIZES, DRAWS = (1, 2, 5), 20
PENALTIES = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 10.0)

Predict = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], NDArray[Any]]
"""From training rows, their labels and test rows to the probabilities of the latter."""


@dataclass(frozen=True)
class Figures:
    """Accuracy and log loss, mean over the draws; calibration error of all draws together, and its mean over them."""

    accuracy: float
    log_loss: float
    pooled: float
    each: float


def lines(photos: Photos) -> list[str]:
    """Return a row per number of photos; each draw is tested on all other photos."""
    store = photos.store
    rows = np.flatnonzero(store.is_embedded & (store.labels >= 0))
    embeddings, labels = store.embeddings(rows), store.labels[rows]
    table = [
        f"Few photos, {DRAWS} draws each, tested on all others; of scikit-learn the best per column, with hindsight",
        "",
        "| photos per class | accuracy | scikit-learn | log loss | scikit-learn | calibration error | per draw |",
        "|---:|---:|---|---:|---|---:|---:|",
    ]
    for size in SIZES:
        plain = {
            name: found for name, predict in _contenders() if (found := _figures(predict, embeddings, labels, size))
        }
        accurate = max(plain, key=lambda name: plain[name].accuracy)
        likely = min(plain, key=lambda name: plain[name].log_loss)
        ours = _figures(_headstart, embeddings, labels, size)
        if ours is None:
            continue
        table.append(
            f"| {size} | {ours.accuracy:.3f} | {plain[accurate].accuracy:.3f} ({accurate}) | {ours.log_loss:.3f} | "
            f"{plain[likely].log_loss:.3f} ({likely}) | {ours.pooled:.3f} | {ours.each:.3f} |"
        )
        say(table[-1])
    return table


def _figures(predict: Predict, embeddings: NDArray[np.float32], labels: NDArray[np.int32], size: int) -> Figures | None:
    """Measure a classifier; None if it cannot be fitted to so few photos."""
    from headstart.classify.confidence.calibration import reliability
    from headstart.classify.heads.loss import log_loss

    found, right = [], []
    for train, test in _draws(labels, size):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(predict(embeddings[train], labels[train], embeddings[test]))
        except ValueError:  # of scikit-learn: too few photos per class, or features without variance
            return None
        right.append(labels[test])
    if not np.isfinite(np.concatenate(found)).all():
        return None
    pairs = list(zip(found, right, strict=True))
    return Figures(
        float(np.mean([(p.argmax(axis=1) == y).mean() for p, y in pairs])),
        float(np.mean([log_loss(p, y) for p, y in pairs])),
        reliability(np.concatenate(found), np.concatenate(right)).error,
        float(np.mean([reliability(p, y).error for p, y in pairs])),
    )


def _draws(labels: NDArray[np.int32], size: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        of_classes = [np.flatnonzero(labels == code) for code in np.unique(labels)]
        train = np.concatenate([rng.permutation(members)[:size] for members in of_classes])
        yield train, np.setdiff1d(np.arange(len(labels)), train)


def _headstart(train: NDArray[Any], labels: NDArray[Any], test: NDArray[Any]) -> NDArray[Any]:
    from headstart.classify.heads.fitting import fit_rows
    from headstart.classify.heads.loss import softmax
    from headstart.classify.heads.options import HeadOptions
    from headstart.classify.heads.rows import TrainingRows
    from headstart.classify.split.folds import draw_folds

    folds = draw_folds(labels, np.random.default_rng(0).random(len(labels)))
    _, head, _ = fit_rows(TrainingRows(train, labels, folds, int(labels.max()) + 1), "logreg", HeadOptions())
    return softmax(head.logits(test))


def _contenders() -> Iterator[tuple[str, Predict]]:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    def of(model: Any) -> Predict:
        return lambda train, labels, test: model.fit(train, labels).predict_proba(test)

    for c in PENALTIES:
        yield f"logistic regression, C = {c:g}", of(LogisticRegression(C=c, max_iter=1000))
        standardised = make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=1000))
        yield f"logistic regression, standardised, C = {c:g}", of(standardised)
    yield "LDA, shrinkage auto", of(LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"))
    yield "LinearSVC, calibrated", of(CalibratedClassifierCV(LinearSVC(), cv=2))
    yield "nearest centroid", of(NearestCentroid())
    for neighbours in (1, 3, 5):
        yield f"{neighbours} nearest neighbours", of(KNeighborsClassifier(neighbours))
