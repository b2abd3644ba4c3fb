"""Multinomial logistic regression for many sets of rows at once, along a path of penalties.

Folds, subsets and the final fit differ only in the weights of the rows, so their Hessians are nearly alike and nearly
known: the covariance of the embeddings, times a constant, plus the penalty. With that as its preconditioner, L-BFGS
(Nocedal and Wright 2006, algorithm 7.4) needs a dozen passes over the data, and each pass serves all sets in one matrix
product.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.axes import Floats

MEMORY = 8
MOST_PASSES = 100
GAIN = 1e-4

Blocks = Callable[[], Iterator[tuple[slice, Floats]]]
"""Gives rows on their axes one block at a time, once per pass: which labels are theirs, and float32 (b, r)."""

Product = Callable[[Floats], Floats]
"""Multiplies a point, float32 (r + 1, a, k), with the inverse of an approximate Hessian."""


@dataclass(frozen=True)
class Fits:
    """Fitted models of m sets of rows: weights float32, (r, m, k), on the axes; bias float32, (m, k)."""

    weights: Floats
    bias: Floats

    def repeated(self, number: int, times: int = 1) -> "Fits":
        """Return one of the models several times over."""
        return Fits(self.weights[:, [number] * times], self.bias[[number] * times])

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
    """

    rows: Floats | Blocks
    labels: NDArray[np.integer]
    sets: Floats
    covariance: Floats
    classes: int

    @cached_property
    def totals(self) -> Floats:
        """The weight of each set, float32 (m,)."""
        totals: Floats = self.sets.sum(axis=1)
        return totals

    @cached_property
    def shares(self) -> Floats:
        """Each row's share of each set, float32 (n, m)."""
        shares: Floats = (self.sets / self.totals[:, None]).T.copy()
        return shares

    def loss(self, point: Floats, penalty: Floats, which: NDArray[np.int64]) -> tuple[NDArray[np.float64], Floats]:
        """Return the loss, float64 (a,), and the gradient, float32 (r + 1, a, k), of the sets `which`."""
        gradient = penalty * point
        loss = 0.5 * _dot(gradient, point)
        for part, rows in self.rows() if callable(self.rows) else [(slice(None), self.rows)]:
            loss += self._add_block(rows, self.labels[part], self.shares[part][:, which], point, gradient)
        return loss, gradient

    def _add_block(
        self, rows: Floats, labels: NDArray[np.integer], shares: Floats, point: Floats, gradient: Floats
    ) -> NDArray[np.float64]:
        """Return the loss of some rows, (a,), and add their part of the gradient."""
        n, r, a, k = len(rows), rows.shape[1], shares.shape[1], self.classes
        logits = (rows @ point[:-1].reshape(r, a * k)).reshape(n, a, k) + point[-1]
        logits -= logits.max(axis=2, keepdims=True)
        right = logits[np.arange(n), :, labels]
        np.exp(logits, out=logits)
        total = logits.sum(axis=2)
        loss: NDArray[np.float64] = ((np.log(total) - right) * shares).sum(axis=0, dtype=np.float64)
        logits *= (shares / total)[:, :, None]
        logits[np.arange(n), :, labels] -= shares
        gradient[:-1] += (rows.T @ logits.reshape(n, a * k)).reshape(r, a, k)
        gradient[-1] += logits.sum(axis=0)
        return loss


def solve_path(
    problem: Problem, grid: Sequence[float], start: Fits | None = None, *, gain: float = GAIN, gradient: float = np.inf
) -> Iterator[Fits]:
    """Fit all sets for each C of a grid in turn, each started from the one before.

    Parameters
    ----------
    grid
        Values of C, as in scikit-learn: the loss is the sum over rows + ||W||^2 / (2 C).
    start
        Fits of the same sets to begin with; zeros by default.
    gain, gradient
        A set is finished once another pass is expected to gain at most `gain` and no class has a gradient of a larger
        norm than `gradient`, both in nats per row.
    """
    m, r, k = len(problem.sets), len(problem.covariance), problem.classes
    point = np.zeros((r + 1, m, k), np.float32)  # the last row is the bias, which has no penalty
    if start is not None:
        point[:-1], point[-1] = start.weights, start.bias
    for c in grid:
        penalty = np.zeros((r + 1, m, 1), np.float32)
        penalty[:-1] = (1 / (c * problem.totals))[:, None]
        # p (1 - p) of k equal probabilities: for the preconditioner a guess of the right order will do.
        inverse = _preconditioner(problem.covariance, np.float32((k - 1) / k**2), float(penalty[:-1].mean()))
        point = _minimise(problem, point, penalty, inverse, (gain, gradient))
        yield Fits(point[:-1], point[-1])


def _preconditioner(covariance: Floats, share: np.float32, penalty: float) -> Product:
    """Invert an approximate Hessian, which is the same for every set and class."""
    if covariance.ndim == 1:
        diagonal = (share * covariance + np.float32(penalty))[:, None, None]
        return lambda point: np.concatenate([point[:-1] / diagonal, point[-1:] / share])
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

    def times(point: Floats) -> Floats:
        weights = cho_solve(factor, point[:-1].reshape(len(point) - 1, -1), check_finite=False)
        return np.concatenate([weights.reshape(point[:-1].shape), point[-1:] / share])

    return times


def _minimise(problem: Problem, start: Floats, penalty: Floats, inverse: Product, until: tuple[float, float]) -> Floats:
    """Run L-BFGS on all sets side by side; those that are finished drop out."""
    result, (gain, most_gradient) = start.copy(), until
    active = np.arange(start.shape[1])
    point, history = start, list[tuple[Floats, Floats, Floats]]()
    loss, gradient = problem.loss(point, penalty, active)
    for _ in range(MOST_PASSES):
        direction = _direction(gradient, history, inverse)
        slope = _dot(gradient, direction)
        steepest = np.linalg.norm(gradient, axis=0).max(axis=1)
        going = (-slope > 2 * gain) | (steepest > most_gradient)
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


def _direction(gradient: Floats, history: list[tuple[Floats, Floats, Floats]], inverse: Product) -> Floats:
    """Return minus the inverse Hessian times the gradient for every set: the two loops of L-BFGS."""
    direction, factors = -gradient, []
    for s, y, rho in reversed(history):
        factor = (rho * _dot(s, direction)).astype(np.float32)
        direction = direction - factor[:, None] * y
        factors.append(factor)
    direction = inverse(direction)
    if history:
        s, y, rho = history[-1]
        scale = np.where(rho > 0, 1 / np.maximum(rho * _dot(y, inverse(y)), 1e-12), 1)
        direction = direction * scale.astype(np.float32)[:, None]
    for (s, y, rho), factor in zip(history, reversed(factors), strict=True):
        direction = direction + (factor - rho * _dot(y, direction)).astype(np.float32)[:, None] * s
    return direction


def _step(
    problem: Problem,
    point: Floats,
    penalty: Floats,
    active: NDArray[np.int64],
    loss: NDArray[np.float64],
    direction: Floats,
    slope: NDArray[np.float64],
) -> tuple[Floats, NDArray[np.float64], Floats]:
    """Step along the directions, half as far in the sets whose loss does not fall enough (Armijo)."""
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
    """Return the inner product per set, float64 (m,), of two points (r, m, k)."""
    result: NDArray[np.float64] = np.einsum("rmk,rmk->m", a, b).astype(np.float64)
    return result
