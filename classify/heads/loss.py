"""Softmax, log loss, and the scale of logits, in float64."""

import numpy as np
from numpy.typing import NDArray

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
    from scipy.optimize import minimize_scalar

    def loss(log_factor: float) -> float:
        prior = (log_factor / spread) ** 2 / (2 * max(len(labels), 1))
        return log_loss(softmax(np.exp(log_factor) * scores + offsets), labels) + prior

    return float(np.exp(minimize_scalar(loss, bounds=np.log(FACTORS), method="bounded").x))
