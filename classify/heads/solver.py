"""Multinomial logistic regression for many sets of rows at once, along a path of penalties.

Folds, subsets and the final fit differ only in the weights of the rows, so one approximate Hessian serves them all: the
covariance of the embeddings times a constant, or, where that is too coarse, of the rows weighted by their p (1 - p).
With that as its preconditioner, L-BFGS (Nocedal and Wright 2006, algorithm 7.4) needs a dozen passes over the data, and
each pass serves all sets in one matrix product.

A set is finished once its gradient is at most `TOLERANCE` times the gradient of its penalty. The objective is strongly
convex with the penalty's constant, so the weights then are within that share of the optimum's, however small the loss.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.axes import Floats

MEMORY = 8
TOLERANCE = 0.01
PASSES, ROUNDS = 30, 10
"""Passes until the Hessian is approximated anew, and how often at most."""
EXACT_C = 1.0
"""Under a weaker penalty the residuals of separable rows get too small for float32 sums; float64 is used instead."""

Blocks = Callable[[], Iterator[tuple[slice, Floats]]]
"""Gives rows on their axes one block at a time, once per pass: which labels are theirs, and float32 (b, r)."""

Points = NDArray[Any]
"""Weights and, in the last row, biases: float32 or float64, (r + 1, a, k)."""

Product = Callable[[Points], Points]
"""Multiplies a point with the inverse of an approximate Hessian."""


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
    def totals(self) -> NDArray[np.float64]:
        """The weight of each set, float64 (m,)."""
        totals: NDArray[np.float64] = self.sets.sum(axis=1, dtype=np.float64)
        return totals

    @cached_property
    def shares(self) -> Floats:
        """Each row's share of each set, float32 (n, m)."""
        shares: Floats = (self.sets / self.totals[:, None]).T.astype(np.float32)
        return shares

    def blocks(self) -> Iterator[tuple[slice, Floats]]:
        """Give the rows, once."""
        return self.rows() if callable(self.rows) else iter([(slice(None), self.rows)])

    def loss(self, point: Points, penalty: Points, which: NDArray[np.int64]) -> tuple[NDArray[np.float64], Points]:
        """Return the loss, float64 (a,), and the gradient, (r + 1, a, k), of the sets `which`."""
        gradient = penalty * point
        loss = 0.5 * _dot(gradient, point)
        for part, block in self.blocks():
            rows, shares = block.astype(point.dtype, copy=False), self.shares[part][:, which]
            losses, residuals = _residuals(rows, point, self.labels[part])
            loss += (losses * shares).sum(axis=0)
            residuals *= shares[:, :, None]
            gradient[:-1] += (rows.T @ residuals.reshape(len(rows), -1)).reshape(point[:-1].shape)
            gradient[-1] += residuals.sum(axis=0)
        return loss, gradient

    def curvature(self, point: Points) -> tuple[Points, float]:
        """Return the mean Hessian of sets and classes: of the weights, (r, r), and of the bias."""
        r, k = len(self.covariance), self.classes
        hessian, bias = np.zeros((r, r), point.dtype), 0.0
        for part, block in self.blocks():
            rows = block.astype(point.dtype, copy=False)
            residuals = np.abs(_residuals(rows, point, self.labels[part])[1])  # 1 - p of the label, p of the others
            each = (residuals * (1 - residuals)).mean(axis=2) * self.shares[part]
            weights = each.mean(axis=1).astype(point.dtype) * (k / (k - 1))
            scaled = rows * np.sqrt(weights)[:, None]
            hessian += scaled.T @ scaled
            bias += float(weights.sum())
        return hessian, bias


def _residuals(rows: Points, point: Points, labels: NDArray[np.integer]) -> tuple[NDArray[np.float64], Points]:
    """Return the loss of each row, float64 (n, a), and its residuals p - y, (n, a, k).

    Nothing is subtracted from 1, so that both keep their relative precision however sure the model is.
    """
    (n, r), (_, a, k) = rows.shape, point.shape
    logits = (rows @ point[:-1].reshape(r, a * k)).reshape(n, a, k) + point[-1]
    logits -= logits.max(axis=2, keepdims=True)
    which = np.arange(n)
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


def solve_path(
    problem: Problem, grid: Sequence[float], start: Fits | None = None, *, tolerance: float = TOLERANCE
) -> Iterator[Fits]:
    """Fit all sets for each C of a grid in turn, each started from the one before.

    Parameters
    ----------
    grid
        Values of C, as in scikit-learn: the loss is the sum over rows + ||W||^2 / (2 C).
    start
        Fits of the same sets to begin with; zeros by default.
    tolerance
        A set is finished once the norm of its gradient is at most this share of that of its penalty's gradient.
    """
    m, r, k = len(problem.sets), len(problem.covariance), problem.classes
    point = np.zeros((r + 1, m, k))  # the last row is the bias, which has no penalty
    if start is not None:
        point[:-1], point[-1] = start.weights, start.bias
    for c in grid:
        dtype = np.float32 if c <= EXACT_C else np.float64
        penalty = np.zeros((r + 1, m, 1), dtype)
        penalty[:-1] = (1 / (c * problem.totals))[:, None]
        point = _solve(problem, point.astype(dtype), penalty, tolerance)
        yield Fits(point[:-1].astype(np.float32), point[-1].astype(np.float32))


def _solve(problem: Problem, point: Points, penalty: Points, tolerance: float) -> Points:
    """Minimise the loss of all sets, with a better approximation of the Hessian each time the last is used up."""
    mean = float(penalty[:-1].mean())
    # p (1 - p) of k equal probabilities: at first a guess of the right order will do.
    share = (problem.classes - 1) / problem.classes**2
    inverse = _inverse((share * problem.covariance).astype(point.dtype), share, mean)
    for number in range(ROUNDS):
        if number:
            inverse = _inverse(*problem.curvature(point), mean)
        point, going = _minimise(problem, point, penalty, inverse, tolerance)
        if not going.any():
            break
    return point


def _inverse(hessian: Points, bias: float, penalty: float) -> Product:
    """Invert an approximate Hessian of the weights, (r, r) or its diagonal, and of the bias."""
    if hessian.ndim == 1:
        diagonal = (hessian + hessian.dtype.type(penalty))[:, None, None]
        return lambda point: np.concatenate([point[:-1] / diagonal, point[-1:] / bias])
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    entries = np.einsum("ii->i", hessian)
    more = float(np.finfo(hessian.dtype).eps) * float(entries.sum())  # or rounding might make it indefinite
    entries += penalty + more
    while True:
        try:
            factor = cho_factor(hessian, lower=True, check_finite=False)
            break
        except LinAlgError:
            more *= 10
            entries += more

    def times(point: Points) -> Points:
        weights = cho_solve(factor, point[:-1].reshape(len(point) - 1, -1), check_finite=False)
        return np.concatenate([weights.reshape(point[:-1].shape), point[-1:] / point.dtype.type(bias)])

    return times


def _minimise(
    problem: Problem, start: Points, penalty: Points, inverse: Product, tolerance: float
) -> tuple[Points, NDArray[np.bool_]]:
    """Run L-BFGS on all sets side by side for `PASSES`; those that are finished drop out. Also tell which are not."""
    result, point, history = start.copy(), start, list[tuple[Points, Points, Points]]()
    active = np.arange(start.shape[1])
    loss, gradient = problem.loss(point, penalty, active)
    for _ in range(PASSES):
        shrunk = penalty * point
        going = _dot(gradient, gradient) > tolerance**2 * _dot(shrunk, shrunk)
        result[:, active] = point
        if not going.all():
            active, loss, penalty = active[going], loss[going], penalty[:, going]
            point, gradient = point[:, going], gradient[:, going]
            history = [(s[:, going], y[:, going], rho[going]) for s, y, rho in history]
        if not len(active):
            break
        direction = _direction(gradient, history, inverse)
        objective = partial(problem.loss, penalty=penalty, which=active)
        moved, loss, following = _step(objective, point, direction, loss, _dot(gradient, direction))
        s, y = moved - point, following - gradient
        curved = _dot(s, y)
        rho = np.where(curved > 0, 1 / np.where(curved > 0, curved, 1), 0).astype(point.dtype)
        history = [*history[-(MEMORY - 1) :], (s, y, rho)]
        point, gradient = moved, following
    result[:, active] = point
    return result, np.isin(np.arange(start.shape[1]), active)


def _direction(gradient: Points, history: list[tuple[Points, Points, Points]], inverse: Product) -> Points:
    """Return minus the inverse Hessian times the gradient for every set: the two loops of L-BFGS."""
    direction, factors, dtype = -gradient, [], gradient.dtype
    for s, y, rho in reversed(history):
        factor = (rho * _dot(s, direction)).astype(dtype)
        direction = direction - factor[:, None] * y
        factors.append(factor)
    direction = inverse(direction)
    if history:
        s, y, rho = history[-1]
        scale = np.where(rho > 0, 1 / np.where(rho > 0, rho * _dot(y, inverse(y)), 1), 1)
        direction = direction * scale.astype(dtype)[:, None]
    for (s, y, rho), factor in zip(history, reversed(factors), strict=True):
        direction = direction + (factor - rho * _dot(y, direction)).astype(dtype)[:, None] * s
    return direction


def _step(
    objective: Callable[[Points], tuple[NDArray[np.float64], Points]],
    point: Points,
    direction: Points,
    loss: NDArray[np.float64],
    slope: NDArray[np.float64],
) -> tuple[Points, NDArray[np.float64], Points]:
    """Step along the directions, half as far in the sets whose loss does not fall enough (Armijo)."""
    length = np.ones(len(loss), point.dtype)
    noise = 10 * np.finfo(point.dtype).eps * np.abs(loss)
    for _ in range(20):
        moved = point + length[:, None] * direction
        new, gradient = objective(moved)
        short = new > loss + 1e-4 * length * slope + noise
        if not short.any():
            break
        length = np.where(short, length / 2, length).astype(point.dtype)
    return moved, new, gradient


def _dot(a: Points, b: Points) -> NDArray[np.float64]:
    """Return the inner product per set, float64 (m,), of two points (r, m, k)."""
    result: NDArray[np.float64] = np.einsum("rmk,rmk->m", a, b).astype(np.float64)
    return result
