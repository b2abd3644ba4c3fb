"""Multinomial logistic regression for many sets of rows at once, along a path of penalties.

Folds, subsets and the final fit differ only in the weights of the rows. Rotated to the principal axes of the
embeddings (exact: the L2 penalty does not see a rotation, and with n < d rows only n axes are left) their Hessians are
nearly diagonal and nearly known, so that a preconditioned L-BFGS (Nocedal and Wright 2006, algorithm 7.4) needs a dozen
passes over the data, and each pass serves all sets in one matrix product.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MEMORY = 8
MOST_PASSES = 100
TOLERANCE = 1e-4

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Axes:
    """Standardised embeddings on their principal axes.

    Attributes
    ----------
    mean, scale
        float32, (d,): subtracted, then divided by; as scikit-learn's ``StandardScaler`` has them.
    rotation
        float32, (d, r): orthonormal columns, r <= min(n, d).
    variance
        float32, (r,): of the rows along each axis.
    """

    mean: Floats
    scale: Floats
    rotation: Floats
    variance: Floats

    @classmethod
    def of(cls, embeddings: Floats) -> "Axes":
        """Find the axes of rows, float32 (n, d)."""
        # A sum of many float32 is so far off that a constant column would seem to vary.
        mean: Floats = embeddings.mean(axis=0, dtype=np.float64).astype(np.float32)
        rows: Floats = embeddings - mean
        scale: Floats = np.sqrt(np.einsum("nd,nd->d", rows, rows) / np.float32(len(rows)))
        scale[scale < 10 * np.finfo(np.float32).eps * np.maximum(1, np.abs(mean))] = 1
        rows /= scale
        n, d = rows.shape
        if n >= d:
            variance, rotation = np.linalg.eigh(rows.T @ rows / n)
        else:
            variance, sides = np.linalg.eigh(rows @ rows.T / n)
            kept = variance > 1e-6 * variance[-1]
            variance, sides = variance[kept], sides[:, kept]
            rotation = rows.T @ (sides / np.sqrt(n * variance))
        return cls(mean, scale, rotation.astype(np.float32, copy=False), np.maximum(variance, 0).astype(np.float32))

    def project(self, embeddings: Floats) -> Floats:
        """Give float32, (n, r): rows on the axes."""
        rows: Floats = (embeddings - self.mean) / self.scale
        result: Floats = rows @ self.rotation
        return result


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
    projected: Floats,
    labels: NDArray[np.integer],
    sets: Floats,
    variance: Floats,
    grid: Sequence[float],
    classes: int,
    start: Fits | None = None,
    tolerance: float = TOLERANCE,
) -> Iterator[Fits]:
    """Fit all sets for each C of a grid in turn, each started from the one before.

    Parameters
    ----------
    projected
        float32, (n, r): rows on their principal axes.
    labels
        (n,): codes 0..k-1.
    sets
        float32, (m, n): the weight of each row in each set; 0 leaves it out, 1 (or a class weight) takes it in.
    variance
        float32, (r,): of the rows along each axis.
    grid
        Values of C, as in scikit-learn: the loss is the sum over rows + ||W||^2 / (2 C).
    classes
        k.
    start
        Fits of the same sets to begin with; zeros by default.
    tolerance
        A set is left alone once a further pass is expected to gain no more than this, in nats a row.
    """
    m, r, k = len(sets), projected.shape[1], classes
    totals = sets.sum(axis=1)
    problem = _Problem(projected, labels, (sets / totals[:, None]).T.copy(), k)
    point = np.zeros((r + 1, m, k), np.float32)  # the last row is the bias, which has no penalty
    if start is not None:
        point[:-1], point[-1] = start.weights, start.bias
    for c in grid:
        penalty = np.zeros((r + 1, m, 1), np.float32)
        penalty[:-1] = (1 / (c * totals))[:, None]
        # p (1 - p) of k equal probabilities: for the preconditioner a guess of the right order will do.
        curvature = np.float32((k - 1) / k**2) * np.append(variance, np.float32(1))[:, None, None] + penalty
        inverse: Floats = (1 / curvature).astype(np.float32)
        point = _minimise(problem, point, penalty, inverse, tolerance)
        yield Fits(point[:-1], point[-1])


@dataclass(frozen=True)
class _Problem:
    rows: Floats
    labels: NDArray[np.integer]
    shares: Floats  # (n, m)
    k: int

    def loss(self, point: Floats, penalty: Floats, which: NDArray[np.int64]) -> tuple[NDArray[np.float64], Floats]:
        """Give loss, float64 (a,), and gradient, float32 (r + 1, a, k), of the sets `which`."""
        n, (r, a) = len(self.rows), (self.rows.shape[1], len(which))
        logits = (self.rows @ point[:-1].reshape(r, a * self.k)).reshape(n, a, self.k) + point[-1]
        shares = self.shares[:, which]
        logits -= logits.max(axis=2, keepdims=True)
        right = logits[np.arange(n), :, self.labels]
        np.exp(logits, out=logits)
        total = logits.sum(axis=2)
        loss = ((np.log(total) - right) * shares).sum(axis=0, dtype=np.float64)
        logits *= (shares / total)[:, :, None]
        logits[np.arange(n), :, self.labels] -= shares
        gradient = np.empty_like(point)
        gradient[:-1] = (self.rows.T @ logits.reshape(n, a * self.k)).reshape(r, a, self.k)
        gradient[-1] = logits.sum(axis=0)
        gradient += penalty * point
        return loss + 0.5 * _dot(penalty * point, point), gradient


def _minimise(problem: _Problem, start: Floats, penalty: Floats, inverse: Floats, tolerance: float) -> Floats:
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
            penalty, inverse = penalty[:, going], inverse[:, going]
            history = [(s[:, going], y[:, going], rho[going]) for s, y, rho in history]
        moved, loss, next_gradient = _step(problem, point, penalty, active, loss, direction, slope)
        s, y = moved - point, next_gradient - gradient
        curved = _dot(s, y)
        rho = np.where(curved > 1e-12, 1 / np.maximum(curved, 1e-12), 0).astype(np.float32)
        history = [*history[-(MEMORY - 1) :], (s, y, rho)]
        point, gradient = moved, next_gradient
    return result


def _direction(gradient: Floats, history: list[tuple[Floats, Floats, Floats]], inverse: Floats) -> Floats:
    """Give minus the inverse Hessian times the gradient: the two loops of L-BFGS, for every set."""
    direction, factors = -gradient, []
    for s, y, rho in reversed(history):
        factor = (rho * _dot(s, direction)).astype(np.float32)
        direction = direction - factor[:, None] * y
        factors.append(factor)
    direction = direction * inverse
    if history:
        s, y, rho = history[-1]
        scale = np.where(rho > 0, 1 / np.maximum(rho * _dot(y, inverse * y), 1e-12), 1)
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
