"""What heads of one layer minimise: the cross-entropy of softmax, or the squared hinge of support vector machines."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.layers import Layer
from headstart.classify.heads.options import HeadOptions

Points = NDArray[Any]
"""Weights and, in the last row, biases: float32 or float64, (r + 1, a, k)."""


@dataclass(frozen=True)
class Loss:
    """A convex loss of the logits of a row.

    Attributes
    ----------
    residuals
        Gives the loss of each row, float64 (n, a), and its derivatives by the logits, (n, a, k), for logits (n, a, k),
        which it may overwrite, and labels (n,).
    curvature
        Turns derivatives by the logits into second ones, or an upper bound of their mean over the classes, in place,
        given k.
    """

    residuals: Callable[[Points, NDArray[np.integer]], tuple[NDArray[np.float64], Points]]
    curvature: Callable[[Points, int], Points]


def _softmax_residuals(logits: Points, labels: NDArray[np.integer]) -> tuple[NDArray[np.float64], Points]:
    """Return the cross-entropy of each row, and its residuals p - y.

    Nothing is subtracted from 1, so that both keep their relative precision however sure the model is.
    """
    logits -= logits.max(axis=2, keepdims=True)
    which = np.arange(len(labels))
    right = logits[which, :, labels].astype(np.float64)
    np.exp(logits, out=logits)
    own = logits[which, :, labels]
    logits[which, :, labels] = 0
    others = logits.sum(axis=2)
    total = others + own
    logits /= total[:, :, None]
    logits[which, :, labels] = -others / total
    with np.errstate(divide="ignore"):
        losses = np.logaddexp(0, np.log(others.astype(np.float64)) - right)
    return losses, logits


def _softmax_curvature(residuals: Points, classes: int) -> Points:
    np.abs(residuals, out=residuals)  # 1 - p of the label, p of the others
    residuals *= 1 - residuals
    residuals *= classes / (classes - 1)
    return residuals


def _hinge_residuals(logits: Points, labels: NDArray[np.integer]) -> tuple[NDArray[np.float64], Points]:
    """Return the sum over classes of max(0, 1 - s z)^2, where s is 1 for the label and -1 for the others."""
    which = np.arange(len(labels))
    logits[which, :, labels] *= -1
    logits += 1
    np.maximum(logits, 0, out=logits)
    losses = np.einsum("nak,nak->na", logits, logits).astype(np.float64)
    logits *= 2
    logits[which, :, labels] *= -1
    return losses, logits


def _hinge_curvature(residuals: Points, _classes: int) -> Points:
    np.not_equal(residuals, 0, out=residuals)
    residuals *= 2
    return residuals


SOFTMAX = Loss(_softmax_residuals, _softmax_curvature)
SQUARED_HINGE = Loss(_hinge_residuals, _hinge_curvature)


@dataclass(frozen=True)
class Objective:
    """A penalised head of one layer.

    Attributes
    ----------
    loss
        What is minimised besides the penalty.
    c
        The penalty where the search begins.
    make
        Gives the unfitted pipeline: a scaler, then the classifier.
    fitted
        Gives the fitted attributes of the classifier, for its layer on scaled embeddings and the factor.
    factor
        What multiplies the layer's outputs, before it is fitted out of fold; None if they are logits.
    """

    loss: Loss
    c: float
    make: Callable[[HeadOptions], Any]
    fitted: Callable[[Layer, float], Mapping[str, Any]]
    factor: float | None = None

    def penalties(self, grid: Sequence[float], ratio: float, classes: int) -> list[float]:
        """Translate scikit-learn's C: for a sample of 1 / `ratio` of the rows, and for two classes.

        With two classes scikit-learn fits one vector w. In logistic regression it is the difference of the two here:
        |w|^2 = 2 (|w_0|^2 + |w_1|^2).
        """
        return [c * ratio * (0.5 if classes == 2 and self.factor is None else 1.0) for c in grid]
