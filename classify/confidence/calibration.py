"""Whether probabilities mean what they say, and one temperature that makes them do so."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.loss import log_loss, softmax

BINS = 15
TEMPERATURES = (0.05, 20.0)
"""Between these; a tail that was tuned with label smoothing is far less sure than it may be."""
SPREAD = 1.0
"""By how much ln(temperature) is expected to differ from 0 before any row is seen (a standard deviation). On a few rows
that are all right, the least log loss would be that of infinite certainty; with many rows it counts for nothing."""


@dataclass(frozen=True)
class Reliability:
    """How often answers of a given confidence are right, in bins of equal width over 0..1.

    Attributes
    ----------
    error
        Expected calibration error, 0..1: how far accuracy and confidence of a bin are apart, averaged over all answers
        (Naeini et al. 2015; Guo et al. 2017).
    confidence, accuracy
        float64, (b,): means within each bin; NaN where it is empty.
    count
        int64, (b,): answers in each bin.
    """

    error: float
    confidence: NDArray[np.float64] = field(repr=False)
    accuracy: NDArray[np.float64] = field(repr=False)
    count: NDArray[np.int64] = field(repr=False)


@dataclass(frozen=True)
class Calibration:
    """A temperature, and the reliability on the rows that it was fitted on (out of fold) without and with it.

    Attributes
    ----------
    temperature
        Above 0; logits are divided by it.
    before, after
        With temperature 1, and with this one.
    """

    temperature: float
    before: Reliability
    after: Reliability


def reliability(probabilities: NDArray[np.floating], labels: NDArray[np.integer], bins: int = BINS) -> Reliability:
    """Compare confidence with accuracy.

    Parameters
    ----------
    probabilities
        (n, k), rows summing to 1.
    labels
        (n,): codes into the columns.
    """
    surest = probabilities.max(axis=1).astype(np.float64)
    right = (probabilities.argmax(axis=1) == labels).astype(np.float64)
    which = np.minimum((surest * bins).astype(np.int64), bins - 1)
    count = np.bincount(which, minlength=bins)
    with np.errstate(invalid="ignore"):
        confidence = np.bincount(which, surest, bins) / count
        accuracy = np.bincount(which, right, bins) / count
    error = float(np.nansum(np.abs(confidence - accuracy) * count) / max(len(labels), 1))
    return Reliability(error, confidence, accuracy, count)


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> Calibration:
    """Find the temperature with the least log loss (Guo et al. 2017) on logits that were given to rows not fitted on.

    More exactly the likeliest one, where ln(temperature) is normal about 0 with the deviation `SPREAD` beforehand: to
    the log loss of all n rows together, ln(temperature)^2 / (2 SPREAD^2) is added.

    Parameters
    ----------
    logits
        (n, k), out of fold.
    labels
        (n,): codes into the columns.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_t: float) -> float:
        return log_loss(softmax(logits / np.exp(log_t)), labels) + (log_t / SPREAD) ** 2 / (2 * len(labels))

    found = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    temperature = float(np.exp(found.x))
    before, after = softmax(logits), softmax(logits / temperature)
    return Calibration(temperature, reliability(before, labels), reliability(after, labels))
