"""Reliability of probabilities, and the temperature that calibrates them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.loss import log_loss, softmax

BINS = 15
TEMPERATURES = (0.05, 20.0)
"""The range searched; a tail that was tuned with label smoothing is far less confident than it could be."""
SPREAD = 1.0
"""Standard deviation of the prior of ln(temperature). If a few rows are all right, infinite confidence would have the
least log loss; with many rows the prior has no effect."""


@dataclass(frozen=True)
class Reliability:
    """How often predictions of a given confidence are right, in bins of equal width over 0..1.

    Attributes
    ----------
    error
        Expected calibration error, 0..1: the gap between accuracy and confidence in a bin, averaged over predictions
        (Naeini et al. 2015; Guo et al. 2017).
    confidence, accuracy
        float64, (b,): means within each bin; NaN if it is empty.
    count
        int64, (b,): predictions in each bin.
    """

    error: float
    confidence: NDArray[np.float64] = field(repr=False)
    accuracy: NDArray[np.float64] = field(repr=False)
    count: NDArray[np.int64] = field(repr=False)


@dataclass(frozen=True)
class Calibration:
    """A temperature, and the reliability out of fold without and with it.

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
    """Find the likeliest temperature for out-of-fold logits (Guo et al. 2017), with a prior on its logarithm.

    It minimises the summed log loss plus ln(temperature)^2 / (2 SPREAD^2).

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
