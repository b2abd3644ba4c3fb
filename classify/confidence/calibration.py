"""Reliability of probabilities, and the temperature that calibrates them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.loss import likeliest_factor, softmax

BINS = 15
CHANCES, PARTS = 200, 5
"""Simulations of what chance alone gives; parts of the images, each evaluated with the temperature of the others."""
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
        (Naeini et al. 2015; Guo et al. 2017). NaN without predictions.
    chance
        The same error of perfectly calibrated probabilities of these confidences: their 95th percentile. A bin of few
        predictions never has just the accuracy of its confidence (Broecker and Smith 2007; Vaicenavicius et al. 2019).
    confidence, accuracy
        float64, (b,): means within each bin; NaN if it is empty.
    count
        int64, (b,): predictions in each bin.
    """

    error: float
    chance: float
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
        With temperature 1, and with one fitted to other images: the temperature is not measured on those it was
        fitted to.
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
    n, rng = len(labels), np.random.default_rng(0)
    if not n:
        return Reliability(np.nan, np.nan, confidence, accuracy, count)
    error = float(np.nansum(np.abs(confidence - accuracy) * count) / n)
    drawn = [np.bincount(which, (rng.random(len(surest)) < surest) - surest, bins) for _ in range(CHANCES)]
    chance = float(np.quantile(np.abs(drawn).sum(axis=1) / n, 0.95))
    return Reliability(error, chance, confidence, accuracy, count)


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
    temperature = 1 / likeliest_factor(logits, labels, 0.0, SPREAD)
    part, own = np.arange(len(labels)) % PARTS, np.full(len(labels), temperature)
    for number in range(PARTS):
        others = part != number
        own[part == number] = 1 / likeliest_factor(logits[others], labels[others], 0.0, SPREAD)
    before, after = softmax(logits), softmax(logits / own[:, None])
    return Calibration(temperature, reliability(before, labels), reliability(after, labels))
