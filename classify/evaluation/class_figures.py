"""Figures of each class: precision, recall, F1, and how well its probability ranks the images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.classify.evaluation.intervals import share_interval

Interval = tuple[float, float]


@dataclass(frozen=True)
class ClassFigures:
    """Figures of one class, all in 0..1, and NaN where undefined.

    Attributes
    ----------
    precision, recall
        Share of the images predicted as this class that belong to it, and of its images that are predicted as it.
    images
        Number of its evaluated images.
    f1
        Harmonic mean of precision and recall; 0 if no prediction is right (van Rijsbergen 1979).
    roc_auc, pr_auc
        Areas under the ROC and the precision-recall curve of its probability (see `ranking_areas`).
    precision_interval, recall_interval
        95 % intervals (see `headstart.classify.evaluation.intervals`); None where the share is undefined.
    """

    name: str
    precision: float
    recall: float
    images: int
    f1: float
    roc_auc: float
    pr_auc: float
    precision_interval: Interval | None
    recall_interval: Interval | None


def class_figures(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.int32],
    classes: list[str],
    groups: NDArray[np.int64] | None = None,
) -> list[ClassFigures]:
    """Return the figures of each class: probabilities (n, k), labels int32 (n,), codes into `classes`.

    `groups`, (n,), has the same number for images that are not independent.
    """
    predicted, found = probabilities.argmax(axis=1), []
    for code, name in enumerate(classes):
        is_class, is_predicted = labels == code, predicted == code
        right, images, answers = ((is_class & is_predicted).sum(), is_class.sum(), is_predicted.sum())
        with np.errstate(invalid="ignore"):
            shares = [float(right / count) for count in (answers, images, (images + answers) / 2)]
        precision, recall, f1 = shares
        intervals = [_interval(is_class, is_predicted, groups), _interval(is_predicted, is_class, groups)]
        areas = ranking_areas(probabilities[:, code], is_class)
        found.append(ClassFigures(name, precision, recall, int(images), f1, *areas, *intervals))
    return found


def ranking_areas(scores: NDArray[np.floating], is_class: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the areas under the ROC curve and the precision-recall curve of scores, (n,), for one class, bool (n,).

    The first is the chance that an image of the class has a higher score than another one, where equal scores count
    half (Hanley and McNeil 1982, "The meaning and use of the area under a ROC curve"). The second is the average
    precision, the mean over the recall's steps of the precision there, without interpolation (Davis and Goadrich 2006,
    "The relationship between precision-recall and ROC curves"). Both are as scikit-learn's ``roc_auc_score`` and
    ``average_precision_score``, but NaN where they are undefined: without images of the class, and the first also
    without others.
    """
    order = np.argsort(-scores)
    last = np.flatnonzero(np.diff(scores[order], append=np.nan) != 0)  # images of equal score count together
    hits, seen = np.append(0, np.cumsum(is_class[order])[last]), np.append(0, last + 1)
    positives, negatives = hits[-1], seen[-1] - hits[-1]
    if not positives:
        return float("nan"), float("nan")
    steps = np.diff(hits)
    average_precision = float((steps * (hits[1:] / seen[1:])).sum() / positives)
    area = float((np.diff(seen - hits) * (hits[1:] + hits[:-1]) / 2).sum())
    return area / float(positives * negatives) if negatives else float("nan"), average_precision


def _interval(
    is_right: NDArray[np.bool_], among: NDArray[np.bool_], groups: NDArray[np.int64] | None
) -> Interval | None:
    if not among.any():
        return None
    return share_interval(is_right[among], None if groups is None else groups[among])
