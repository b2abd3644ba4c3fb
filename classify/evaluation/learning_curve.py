"""The learning curve: metrics on the same images for heads trained on more and more of the others."""

from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.candidate import Search
from headstart.classify.heads.loss import log_loss, softmax
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import find_kind
from headstart.classify.split.folds import rank_within_class

SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)
LEAST_PER_CLASS = 2
DAMPING = 2 / 3
"""Share of the fitted slope by which a forecast goes on. Curves flatten towards what no more images can improve; with
the whole slope, forecasts for twice as many flowers were 0.4 to 1.6 points too high (`make bench-forecast`)."""


@dataclass(frozen=True)
class CurvePoint:
    """Accuracy (0..1) and log loss (nats) on unseen images of a head trained on this many images."""

    images: int
    accuracy: float
    log_loss: float


@dataclass(frozen=True)
class LearningCurve:
    """Metrics of a head by number of training images.

    Attributes
    ----------
    points
        The smallest first; the last is for all images of the search.
    forecast
        For twice the images, from damped power laws fitted to errors and log losses (Hestness et al. 2017); None if
        there are too few points or no errors.
    """

    points: list[CurvePoint]
    forecast: CurvePoint | None = None


def learning_curve(
    search: Search,
    options: HeadOptions,
    test: NDArray[np.float32],
    labels: NDArray[np.int32],
    trained: int | None = None,
) -> LearningCurve:
    """Train the chosen head on equal shares of every class' images, and evaluate all on the same test images.

    Parameters
    ----------
    test
        float32, (m, d).
    labels
        (m,): class codes.
    trained
        How many images the head was trained on, if the search used a sample of them; the forecast is for twice these.
    """
    rows = search.rows
    rank = rank_within_class(rows.labels, np.random.default_rng(options.seed).permutation(len(rows)))
    sizes = np.bincount(rows.labels, minlength=rows.classes)[rows.labels]
    chosen = [rank < np.maximum(np.round(share * sizes), LEAST_PER_CLASS) for share in SHARES]
    # Small shares may hold the same images; ~ keeps the last, which has none after it.
    different = [which for which, after in pairwise([*chosen, ~chosen[-1]]) if (which != after).any()]
    kind = search.kind or find_kind(search.chosen.head)
    heads = kind.fit_sets(kind, search, different, options)
    points = [
        _point(int(which.sum()), head.logits(test), labels)
        for which, head in zip(different, heads, strict=True)
        if head is not None
    ]
    return LearningCurve(points, _forecast(points, trained or points[-1].images) if points else None)


def mean_curve(curves: list[LearningCurve]) -> LearningCurve:
    """Return the mean of the curves of several folds; its forecast is for twice the images of a fold.

    Curves may lack their first points, or have none; all end with all images.
    """
    curves = [curve for curve in curves if curve.points]
    points = [
        CurvePoint(
            round(fmean(point.images for point in same)),
            fmean(point.accuracy for point in same),
            fmean(point.log_loss for point in same),
        )
        for same in zip(*(curve.points[::-1] for curve in curves), strict=False)
    ][::-1]
    forecasts = [curve.forecast for curve in curves if curve.forecast]
    if len(curves) == 1 or not forecasts:
        return curves[0] if len(curves) == 1 else LearningCurve(points)
    return LearningCurve(points, _forecast(points, round(fmean(one.images for one in forecasts) / 2)))


def _point(images: int, logits: NDArray[np.float64], labels: NDArray[np.int32]) -> CurvePoint:
    return CurvePoint(images, float((logits.argmax(axis=1) == labels).mean()), log_loss(softmax(logits), labels))


def _forecast(points: list[CurvePoint], trained: int) -> CurvePoint | None:
    images = 2 * trained
    error = _power_law([(p.images, 1 - p.accuracy) for p in points], images)
    loss = _power_law([(p.images, p.log_loss) for p in points], images)
    return None if error is None or loss is None else CurvePoint(images, 1 - error, loss)


def _power_law(values: list[tuple[int, float]], images: int) -> float | None:
    """Extrapolate from the last value along a line fitted to the logarithms, less steep by `DAMPING`; never upwards."""
    if len(values) < 3 or min(value for _, value in values) <= 0:
        return None
    sizes, errors = np.log(np.array(values)).T
    # Few images give other heads each time: the spread of a logarithm is about as 1 / sqrt(images).
    slope = min(float(np.polyfit(sizes, errors, 1, w=np.exp(sizes / 2))[0]), 0.0) * DAMPING
    return float(values[-1][1] * (images / values[-1][0]) ** slope)
