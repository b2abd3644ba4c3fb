"""The problems that the solver solves: sets of rows, each to fit a model to, and their loss."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.linear.axes import Axes, Floats
from headstart.classify.heads.linear.objective import SOFTMAX, Loss, Points
from headstart.classify.heads.threads import in_parallel

PART_ROWS = 1024
"""Rows whose logits for 100 classes stay in the cache of a core."""

Blocks = Callable[[], Iterator[tuple[slice, Floats]]]
"""Gives rows on their axes one block at a time, once per pass: which labels are theirs, and float32 (b, r)."""


@dataclass(frozen=True)
class Fits:
    """Fitted models of m sets of rows: weights float32, (r, m, k), on the axes; bias float32, (m, k)."""

    weights: Floats
    bias: Floats

    def repeated(self, number: int, times: int = 1) -> "Fits":
        """Return one of the models several times over."""
        return Fits(self.weights[:, [number] * times], self.bias[[number] * times])

    def translated(self, axes: Axes, other: Axes) -> "Fits":
        """Return the fits on axes as the nearest on other axes of the same rows."""
        _, m, k = self.weights.shape
        weights = axes.translated(self.weights.reshape(-1, m * k), other)
        return Fits(weights.reshape(-1, m, k), self.bias)

    def logits(self, projected: Floats) -> Floats:
        """Return float32, (n, m, k)."""
        r, m, k = self.weights.shape
        result: Floats = (projected @ self.weights.reshape(r, m * k)).reshape(-1, m, k) + self.bias
        return result


@dataclass(frozen=True)
class Problem:
    """The rows, and the sets of them to fit a model to.

    Attributes
    ----------
    rows
        float32, (n, r): rows on their axes; or, if they are too many for memory, a function that gives their blocks.
    labels
        (n,): codes 0..k-1.
    sets
        float32, (m, n): the weight of each row in each set; 0 leaves it out, 1 (or a class weight) includes it.
    covariance
        float32, (r, r), or (r,) if it is diagonal: of the rows.
    classes
        k.
    loss_of_rows
        What is minimised besides the penalty.
    """

    rows: Floats | Blocks
    labels: NDArray[np.integer]
    sets: Floats
    covariance: Floats
    classes: int
    loss_of_rows: Loss = SOFTMAX

    @cached_property
    def totals(self) -> NDArray[np.float64]:
        """The weight of each set, float64 (m,)."""
        totals: NDArray[np.float64] = self.sets.sum(axis=1, dtype=np.float64)
        return totals

    @cached_property
    def shares(self) -> Floats:
        """Each row's share of each set, float32 (n, m)."""
        shares: Floats = (self.sets / self.totals[:, None]).T.astype(np.float32)
        return shares

    def loss(self, point: Points, penalty: Points, which: NDArray[np.int64]) -> tuple[NDArray[np.float64], Points]:
        """Return the loss, float64 (a,), and the gradient, (r + 1, a, k), of the sets `which`."""

        def of_part(part: slice, rows: Points) -> tuple[NDArray[np.float64], Points, Points]:
            shares = self.shares[part][:, which]
            losses, residuals = self._residuals(rows, point, part)
            residuals *= shares[:, :, None]
            return (losses * shares).sum(axis=0), rows.T @ residuals.reshape(len(rows), -1), residuals.sum(axis=0)

        gradient = penalty * point
        loss = 0.5 * dot(gradient, point)
        for losses, weights, bias in self._each_part(of_part, point.dtype):
            loss += losses
            gradient[:-1] += weights.reshape(point[:-1].shape)
            gradient[-1] += bias
        return loss, gradient

    def curvature(self, point: Points, which: NDArray[np.int64], *, roughly: bool) -> tuple[Points, float]:
        """Return the mean Hessian of the sets `which` and all classes, of the weights and of the bias.

        Each row's second derivative weights its share of the covariance; `roughly`, their mean weights all of it. Then
        that of the weights is (r,) if the covariance is diagonal, otherwise (r, r).
        """

        def of_part(part: slice, rows: Points) -> tuple[Points | float, float]:
            second = self.loss_of_rows.curvature(self._residuals(rows, point, part)[1], self.classes)
            each = (second.mean(axis=2) * self.shares[part][:, which]).mean(axis=1).astype(point.dtype)
            if roughly:
                return 0.0, float(each.sum())
            scaled = rows * np.sqrt(each)[:, None]
            return scaled.T @ scaled, float(each.sum())

        hessian: Points | float = 0.0
        bias = 0.0
        for more, more_bias in self._each_part(of_part, point.dtype):
            hessian = hessian + more
            bias += more_bias
        return (bias * self.covariance).astype(point.dtype) if roughly else np.asarray(hessian), bias

    def _residuals(self, rows: Points, point: Points, part: slice) -> tuple[NDArray[np.float64], Points]:
        (n, r), (_, a, k) = rows.shape, point.shape
        logits = (rows @ point[:-1].reshape(r, a * k)).reshape(n, a, k) + point[-1]
        return self.loss_of_rows.residuals(logits, self.labels[part])

    def _each_part(self, function: Callable[[slice, Points], Any], dtype: np.dtype[Any]) -> Iterator[Any]:
        """Apply a function to all rows, in parts so small that what it computes on the way stays in the cache."""

        def apply(start: int, rows: Floats) -> Any:
            return function(slice(start, start + len(rows)), rows.astype(dtype, copy=False))

        for part, block in self.rows() if callable(self.rows) else [(slice(0, None), self.rows)]:
            starts = range(0, len(block), PART_ROWS)
            parts = [partial(apply, part.start + start, block[start : start + PART_ROWS]) for start in starts]
            yield from in_parallel(parts)


def dot(a: Points, b: Points) -> NDArray[np.float64]:
    """Return the inner product per set, float64 (m,), of two points (r, m, k)."""
    result: NDArray[np.float64] = np.einsum("rmk,rmk->m", a, b).astype(np.float64)
    return result
