"""How classes with a threshold do: the precision of what is still answered, and how much that is."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.classify.confidence.precision import ClassThreshold, are_answered
from headstart.classify.evaluation.intervals import share_interval


@dataclass(frozen=True)
class ThresholdFigures:
    """What becomes of the predictions of one class on evaluated images; the distance marks none of them here.

    Attributes
    ----------
    name, target, probability
        The class, the precision asked for, and the threshold: predictions with a lower probability are unknown.
    predictions, answers
        Images predicted as this class, and how many of them reach the threshold.
    precision, precision_interval
        Share of the answers that are right, 0..1, and its 95 % interval; None without answers.
    coverage
        Share of the images of the class that are answered with it, 0..1; None if it has no images.
    """

    name: str
    target: float
    probability: float
    predictions: int
    answers: int
    precision: float | None
    precision_interval: tuple[float, float] | None
    coverage: float | None


def threshold_figures(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.int32],
    classes: list[str],
    thresholds: Mapping[str, ClassThreshold],
    groups: NDArray[np.int64] | None = None,
    answered: NDArray[np.bool_] | None = None,
) -> list[ThresholdFigures]:
    """Return the figures of each class that has a threshold.

    Parameters
    ----------
    probabilities
        (n, k).
    labels
        int32, (n,): codes into `classes`.
    groups
        int64, (n,): the same number for images that are not independent.
    answered
        bool, (n,): which images reach the threshold that their class had in their fold; by default, these thresholds.
    """
    answered = are_answered(probabilities, thresholds, classes) if answered is None else answered
    predicted, found = probabilities.argmax(axis=1), []
    for name, one in thresholds.items():
        code = classes.index(name)
        is_predicted, is_class = predicted == code, labels == code
        is_answered = is_predicted & answered
        right, precision, interval = is_class[is_answered], None, None
        if len(right):
            precision = float(right.mean())
            interval = share_interval(right, None if groups is None else groups[is_answered])
        coverage = float(is_answered[is_class].mean()) if is_class.any() else None
        counts = int(is_predicted.sum()), len(right)
        found.append(ThresholdFigures(name, one.target, one.probability, *counts, precision, interval, coverage))
    return found
