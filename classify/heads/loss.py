"""Softmax, log loss, and the scale of logits, in float64."""

import numpy as np
from numpy.typing import NDArray

from headstart.classify.bisection import find_root

FACTORS = (0.05, 20.0)
"""The range searched; a tail that was tuned with label smoothing is far less confident than it could be."""


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return probabilities, float64 (n, k), of logits."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = shifted / shifted.sum(axis=1, keepdims=True)
    return result


def log_loss(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """Return the mean of -ln(probability of the right class), in nats."""
    of_label = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.clip(of_label, np.finfo(np.float64).tiny, 1)).mean())


def likeliest_factor(
    scores: NDArray[np.floating], labels: NDArray[np.integer], offsets: NDArray[np.floating] | float, spread: float
) -> float:
    """Return the factor f, within `FACTORS`, of the scores under which softmax(f scores + offsets) is likeliest.

    It minimises the summed log loss plus ln(f)^2 / (2 spread^2): if a few rows are all right, an infinite factor would
    have the least log loss; with many rows the prior has no effect.

    Parameters
    ----------
    scores, offsets
        (n, k), out of fold.
    labels
        (n,): codes into the columns.
    spread
        Standard deviation of the prior of ln(f).
    """
    of_label = scores[np.arange(len(labels)), labels]

    def slope(log_factor: float) -> float:
        """Return the derivative of what is minimised by ln(f)."""
        factor = np.exp(log_factor)
        expected = (softmax(factor * scores + offsets) * scores).sum(axis=1)
        return float(factor * (expected - of_label).sum()) + log_factor / spread**2

    low, high = np.log(FACTORS)
    return float(np.exp(find_root(slope, low, high, precision=1e-4)))
