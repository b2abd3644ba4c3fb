"""Multinomial logistic regression for many sets of rows at once, along a path of penalties.

Folds, subsets and the final fit differ only in the weights of the rows, so that their Hessians are nearly alike and
nearly known: the covariance of the embeddings, times a constant, plus the penalty. With that as its preconditioner,
L-BFGS (Nocedal and Wright 2006, algorithm 7.4) needs a dozen passes over the data, and each pass serves all sets in one
matrix product.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.axes import Floats

MEMORY = 8
MOST_PASSES = 100
TOLERANCE = 1e-4

Blocks = Callable[[], Iterator[tuple[slice, Floats]]]
"""Rows on their axes, a block at a time: which of the labels they belong to, and float32 (b, r). Asked once a pass."""


@dataclass(frozen=True)
class Fits:
    """Fitted models of m sets of rows: weights float32, (r, m, k), on the axes; bias float32, (m, k)."""

    weights: Floats
    bias: Floats

    def repeated(self, number: int, times: int = 1) -> "Fits":
        """Give one of them some times over."""
        return Fits(self.weights[:, [number] * times], self.bias[[number] * times])

    def logits(self, projected: Floats) -> Floats:
        """Give float32, (n, m, k)."""
        r, m, k = self.weights.shape
        result: Floats = (projected @ self.weights.reshape(r, m * k)).reshape(-1, m, k) + self.bias
        return result


def solve_path(
    projected: Floats | Blocks,
    labels: NDArray[np.integer],
    sets: Floats,
    covariance: Floats,
    grid: Sequence[float],
    classes: int,
    start: Fits | None = None,
    tolerance: float = TOLERANCE,
) -> Iterator[Fits]:
    """Fit all sets for each C of a grid in turn, each started from the one before.

    Parameters
    ----------
    projected
        float32, (n, r): rows on their axes; or what gives them a block at a time, where they are too many for memory.
    labels
        (n,): codes 0..k-1.
    sets
        float32, (m, n): the weight of each row in each set; 0 leaves it out, 1 (or a class weight) takes it in.
    covariance
        float32, (r, r), or (r,) where it is diagonal: of the rows.
    grid
        Values of C, as in scikit-learn: the loss is the sum over rows + ||W||^2 / (2 C).
    classes
        k.
    start
        Fits of the same sets to begin with; zeros by default.
    tolerance
        A set is left alone once a further pass is expected to gain no more than this, in nats a row.
    """
    m, r, k = len(sets), len(covariance), classes
    totals = sets.sum(axis=1)
    blocks = projected if callable(projected) else lambda: iter([(slice(None), projected)])
    problem = _Problem(blocks, labels, (sets / totals[:, None]).T.copy(), k)
    point = np.zeros((r + 1, m, k), np.float32)  # the last row is the bias, which has no penalty
    if start is not None:
        point[:-1], point[-1] = start.weights, start.bias
    for c in grid:
        penalty = np.zeros((r + 1, m, 1), np.float32)
        penalty[:-1] = (1 / (c * totals))[:, None]
        # p (1 - p) of k equal probabilities: for the preconditioner a guess of the right order will do.
        inverse = _Inverse.of(covariance, np.float32((k - 1) / k**2), float(penalty[:-1].mean()))
        point = _minimise(problem, point, penalty, inverse, tolerance)
        yield Fits(point[:-1], point[-1])


@dataclass(frozen=True)
class _Problem:
    blocks: Blocks
    labels: NDArray[np.integer]
    shares: Floats  # (n, m)
    k: int

    def loss(self, point: Floats, penalty: Floats, which: NDArray[np.int64]) -> tuple[NDArray[np.float64], Floats]:
        """Give loss, float64 (a,), and gradient, float32 (r + 1, a, k), of the sets `which`."""
        gradient = penalty * point
        loss = 0.5 * _dot(gradient, point)
        for part, rows in self.blocks():
            loss += self._add_block(rows, self.labels[part], self.shares[part][:, which], point, gradient)
        return loss, gradient

    def _add_block(
        self, rows: Floats, labels: NDArray[np.integer], shares: Floats, point: Floats, gradient: Floats
    ) -> NDArray[np.float64]:
        """Give the loss of some rows, (a,), and add their part of the gradient."""
        n, (r, a) = len(rows), (rows.shape[1], shares.shape[1])
        logits = (rows @ point[:-1].reshape(r, a * self.k)).reshape(n, a, self.k) + point[-1]
        logits -= logits.max(axis=2, keepdims=True)
        right = logits[np.arange(n), :, labels]
        np.exp(logits, out=logits)
        total = logits.sum(axis=2)
        loss: NDArray[np.float64] = ((np.log(total) - right) * shares).sum(axis=0, dtype=np.float64)
        logits *= (shares / total)[:, :, None]
        logits[np.arange(n), :, labels] -= shares
        gradient[:-1] += (rows.T @ logits.reshape(n, a * self.k)).reshape(r, a, self.k)
        gradient[-1] += logits.sum(axis=0)
        return loss


@dataclass(frozen=True)
class _Inverse:
    """The inverse of what the Hessian is nearly, in every set and class alike."""

    solve: Callable[[Floats], Floats]
    bias: np.float32

    @classmethod
    def of(cls, covariance: Floats, share: np.float32, penalty: float) -> "_Inverse":
        if covariance.ndim == 1:
            diagonal = (share * covariance + np.float32(penalty))[:, None]
            return cls(lambda weights: weights / diagonal, 1 / share)
        from scipy.linalg import LinAlgError, cho_factor, cho_solve

        hessian: Floats = share * covariance
        entries = np.einsum("ii->i", hessian)
        more = float(np.finfo(np.float32).eps) * float(entries.sum())  # or rounding might make it indefinite
        entries += np.float32(penalty + more)
        while True:
            try:
                factor = cho_factor(hessian, lower=True, check_finite=False)
                break
            except LinAlgError:
                more *= 10
                entries += np.float32(more)
        return cls(lambda weights: cho_solve(factor, weights, check_finite=False), 1 / share)

    def times(self, point: Floats) -> Floats:
        """Give float32, (r + 1, a, k), for the like."""
        result = np.empty_like(point)
        weights = point[:-1].reshape(len(point) - 1, -1)
        result[:-1] = self.solve(weights).reshape(point[:-1].shape)
        result[-1] = self.bias * point[-1]
        return result


def _minimise(problem: _Problem, start: Floats, penalty: Floats, inverse: _Inverse, tolerance: float) -> Floats:
    """Run L-BFGS on all sets side by side; those that are done drop out."""
    result = start.copy()
    active = np.arange(start.shape[1])
    point, history = start, list[tuple[Floats, Floats, Floats]]()
    loss, gradient = problem.loss(point, penalty, active)
    for _ in range(MOST_PASSES):
        direction = _direction(gradient, history, inverse)
        slope = _dot(gradient, direction)
        going = -slope > 2 * tolerance
        result[:, active] = point
        if not going.any():
            break
        if not going.all():
            active, loss, slope = active[going], loss[going], slope[going]
            point, gradient, direction = point[:, going], gradient[:, going], direction[:, going]
            penalty = penalty[:, going]
            history = [(s[:, going], y[:, going], rho[going]) for s, y, rho in history]
        moved, loss, next_gradient = _step(problem, point, penalty, active, loss, direction, slope)
        s, y = moved - point, next_gradient - gradient
        curved = _dot(s, y)
        rho = np.where(curved > 1e-12, 1 / np.maximum(curved, 1e-12), 0).astype(np.float32)
        history = [*history[-(MEMORY - 1) :], (s, y, rho)]
        point, gradient = moved, next_gradient
    return result


def _direction(gradient: Floats, history: list[tuple[Floats, Floats, Floats]], inverse: _Inverse) -> Floats:
    """Give minus the inverse Hessian times the gradient: the two loops of L-BFGS, for every set."""
    direction, factors = -gradient, []
    for s, y, rho in reversed(history):
        factor = (rho * _dot(s, direction)).astype(np.float32)
        direction = direction - factor[:, None] * y
        factors.append(factor)
    direction = inverse.times(direction)
    if history:
        s, y, rho = history[-1]
        scale = np.where(rho > 0, 1 / np.maximum(rho * _dot(y, inverse.times(y)), 1e-12), 1)
        direction = direction * scale.astype(np.float32)[:, None]
    for (s, y, rho), factor in zip(history, reversed(factors), strict=True):
        direction = direction + (factor - rho * _dot(y, direction)).astype(np.float32)[:, None] * s
    return direction


def _step(
    problem: _Problem,
    point: Floats,
    penalty: Floats,
    active: NDArray[np.int64],
    loss: NDArray[np.float64],
    direction: Floats,
    slope: NDArray[np.float64],
) -> tuple[Floats, NDArray[np.float64], Floats]:
    """Go along the directions, half as far where the loss does not fall enough (Armijo)."""
    length = np.ones(len(active), np.float32)
    for _ in range(20):
        moved = point + length[:, None] * direction
        new, gradient = problem.loss(moved, penalty, active)
        short = new > loss + 1e-4 * length * slope + 1e-6 * np.abs(loss)
        if not short.any():
            break
        length = np.where(short, length / 2, length).astype(np.float32)
    return moved, new, gradient


def _dot(a: Floats, b: Floats) -> NDArray[np.float64]:
    """Give the inner product of each set, float64 (m,), of two (r, m, k)."""
    result: NDArray[np.float64] = np.einsum("rmk,rmk->m", a, b).astype(np.float64)
    return result
