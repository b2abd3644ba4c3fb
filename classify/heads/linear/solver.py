"""Penalised linear heads for many sets of rows at once, along a path of penalties.

Folds, subsets and the final fit differ only in the weights of the rows, so one approximate Hessian serves them all: the
covariance of the embeddings times a constant, or, where that is too coarse, of the rows weighted by their curvature.
With that as its preconditioner, L-BFGS (Nocedal and Wright 2006, algorithm 7.4) needs a dozen passes over the data, and
each pass serves all sets in one matrix product.

A set is finished once its gradient is at most `TOLERANCE` times the gradient of its penalty. The objective is strongly
convex with the penalty's constant, so the weights then are within that share of the optimum's, however small the loss.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import HeadError
from headstart.classify.heads.linear.objective import Points
from headstart.classify.heads.linear.problem import Fits, Problem, dot
from headstart.classify.heads.threads import blas_threads

MEMORY = 8
TOLERANCE = 0.01
ROUNDING = 64 * float(np.finfo(np.float64).eps)
"""A gradient this short is one of rounding. Where nothing tells the classes apart, the penalty's gradient is 0."""
PASSES = 30
"""Passes until the Hessian is approximated anew."""
MOST_PASSES = {np.float32: 300, np.float64: 3000}
"""If float32 is not precise enough, float64 goes on. Sets that are nearly separable, under hardly any penalty, take
hundreds of passes."""
EXACT_C = 1.0
"""Under a weaker penalty the residuals of separable rows get too small for float32 sums; float64 is used at once."""

Product = Callable[[Points], Points]
"""Multiplies a point with the inverse of an approximate Hessian."""


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

    Raises
    ------
    HeadError
        If a set is unfinished after all passes.
    """
    m, r, k = len(problem.sets), len(problem.covariance), problem.classes
    point = np.zeros((r + 1, m, k))  # the last row is the bias, which has no penalty
    if start is not None:
        point[:-1], point[-1] = start.weights, start.bias
    for c in grid:
        with blas_threads(0):  # the problem computes in parts, one per core
            point = _solve(problem, point, c, tolerance)
        yield Fits(point[:-1].astype(np.float32), point[-1].astype(np.float32))


def _solve(problem: Problem, start: Points, c: float, tolerance: float) -> Points:
    """Minimise the loss of all sets: in float32 if that is precise enough."""
    point, which = start.copy(), np.arange(start.shape[1])
    for dtype in [dtype for dtype in MOST_PASSES if c <= EXACT_C or dtype is np.float64]:
        sets = _Sets(problem, point[:, which].astype(dtype), which, 1 / (c * problem.totals[which]))
        for number in range(MOST_PASSES[dtype]):
            point[:, sets.which] = sets.point
            sets.keep(sets.are_going(tolerance))
            if not len(sets.which):
                return point
            if number % PASSES == 0:
                sets.approximate(anew=number > 0)
            sets.step()
        which = sets.which
    raise HeadError(
        f"the head with C = {c:g} did not converge in {MOST_PASSES[np.float64]} passes over "
        f"{len(problem.labels):,} images; use a stronger penalty (a smaller C)"
    )


class _Sets:
    """Sets that are not finished yet, side by side, and the state of L-BFGS for each.

    Parameters
    ----------
    point
        (r + 1, a, k): where they are.
    which
        int64, (a,): their numbers in the problem.
    strength
        (a,): lambda, where the penalty is lambda / 2 ||W||^2.
    """

    def __init__(self, problem: Problem, point: Points, which: NDArray[np.int64], strength: NDArray[np.float64]):
        self.problem, self.point, self.which = problem, point, which
        self.penalty = np.zeros((len(point), len(which), 1), point.dtype)
        self.penalty[:-1] = strength[:, None]
        self.loss, self.gradient = problem.loss(point, self.penalty, which)
        self.history: list[tuple[Points, Points, Points, Points]] = []
        self.inverse: Product = lambda point: point
        self.turned = self.gradient

    def are_going(self, tolerance: float) -> NDArray[np.bool_]:
        """Tell which sets are not finished, bool (a,)."""
        shrunk = self.penalty * self.point
        return dot(self.gradient, self.gradient) > tolerance**2 * dot(shrunk, shrunk) + ROUNDING**2

    def keep(self, going: NDArray[np.bool_]) -> None:
        """Drop the other sets."""
        if going.all():
            return
        self.which, self.loss, self.penalty = self.which[going], self.loss[going], self.penalty[:, going]
        self.point, self.gradient = self.point[:, going], self.gradient[:, going]
        self.turned = self.turned[:, going]
        self.history = [(s[:, going], y[:, going], z[:, going], rho[going]) for s, y, z, rho in self.history]

    def approximate(self, *, anew: bool) -> None:
        """Approximate the Hessian: roughly, which does at first, or anew at the point."""
        hessian, bias = self.problem.curvature(self.point, self.which, roughly=not anew)
        self.inverse = _inverse(hessian, bias, float(self.penalty[:-1].mean()))
        self.turned = self.inverse(self.gradient)
        self.history = [(s, y, self.inverse(y), rho) for s, y, _, rho in self.history]

    def step(self) -> None:
        """Step along the directions, half as far in the sets whose loss does not fall enough (Armijo)."""
        direction, dtype = self._direction(), self.point.dtype
        slope, length = dot(self.gradient, direction), np.ones(len(self.which), dtype)
        noise = 10 * np.finfo(dtype).eps * np.abs(self.loss)
        for _ in range(20):
            point = self.point + length[:, None] * direction
            loss, gradient = self.problem.loss(point, self.penalty, self.which)
            short = loss > self.loss + 1e-4 * length * slope + noise
            if not short.any():
                break
            length = np.where(short, length / 2, length).astype(dtype)
        s, y = point - self.point, gradient - self.gradient
        curved = dot(s, y)
        rho = np.where(curved > 0, 1 / np.where(curved > 0, curved, 1), 0).astype(dtype)
        turned = self.inverse(gradient)
        self.history = [*self.history[-(MEMORY - 1) :], (s, y, turned - self.turned, rho)]
        self.point, self.loss, self.gradient, self.turned = point, loss, gradient, turned

    def _direction(self) -> Points:
        """Return minus the inverse Hessian times the gradient for every set: the two loops of L-BFGS.

        The preconditioner is linear, so it is multiplied with each new gradient alone, and the rest follows.
        """
        left, direction, factors, dtype = -self.gradient, -self.turned, [], self.point.dtype
        for s, y, z, rho in reversed(self.history):
            factor = (rho * dot(s, left)).astype(dtype)
            left = left - factor[:, None] * y
            direction = direction - factor[:, None] * z
            factors.append(factor)
        if self.history:
            _, y, z, rho = self.history[-1]
            scale = np.where(rho > 0, 1 / np.where(rho > 0, rho * dot(y, z), 1), 1)
            direction = direction * scale.astype(dtype)[:, None]
        for (s, y, _, rho), factor in zip(self.history, reversed(factors), strict=True):
            direction = direction + (factor - rho * dot(y, direction)).astype(dtype)[:, None] * s
        return direction


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
