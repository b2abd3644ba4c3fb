"""The search of the penalised heads of one layer: a walk along the penalties for each scaling, in cross-validation."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import HeadError
from headstart.classify.heads.candidate import Candidate, Search
from headstart.classify.heads.kinds import HeadKind
from headstart.classify.heads.linear.axes import Axes
from headstart.classify.heads.linear.objective import Objective
from headstart.classify.heads.linear.problem import Fits, Problem
from headstart.classify.heads.linear.solver import TOLERANCE, solve_path
from headstart.classify.heads.loss import likeliest_factor, softmax
from headstart.classify.heads.options import MAX_C, SCALINGS, STANDARDISED, HeadOptions
from headstart.classify.heads.rows import TrainingRows

GRID = (*(float(f"{digit}e{power}") for power in range(-6, 6) for digit in (1, 3)), MAX_C)
SPREAD = 1.0
"""Standard deviation of the prior of the logarithm of the fitted factor to that of the objective."""
SEARCH_TOLERANCE, PRECISION = 0.1, 0.01
"""Penalties are compared on solutions of this tolerance, which changes a log loss by less than this share; those of the
chosen penalty are then refined."""

NOISE = 0.5
"""A walk ends with gains below this share / sqrt(n): on 50 photos, a log loss that is 7 % less is hardly one. Without
this, 50 to 100 photos often chose a C of 100 and more, whose log loss on new photos was up to a third higher."""
MANY_ROWS = 1000
"""Of so many held-out images, the first penalty is near the best, and tells which scaling is clearly worse."""
SAMPLE_TOLERANCE = 0.05
"""That of the refined solutions for a sample, as the final fit to all rows is no more precise."""


@dataclass(frozen=True)
class Solution:
    """The axes of the searched rows; and, if anything was searched, the fits to each fold and, last, to all rows.

    With them comes the factor of what they give.
    """

    axes: Axes
    fits: Fits | None = None
    factor: float | None = None

    def start(self, times: int = 1) -> Fits | None:
        """Return the fit to all rows, from which others are not far, several times over."""
        return self.fits and self.fits.repeated(-1, times)


def search_penalties(
    objective: Objective, kind: HeadKind, rows: TrainingRows, options: HeadOptions, ratio: float
) -> Search:
    """Walk along the penalties with each scaling, the second from where the first ended; refine the best of all."""
    scalings = SCALINGS if options.c is None else (STANDARDISED,)
    paths: list[_Path] = []
    for scaling in (options.scaling,) if options.scaling else scalings:
        paths.append(_Path(objective, kind, rows, options, scaling, ratio, paths[-1] if paths else None))
    if options.c is not None:
        paths[0].attempt(options.c)
    for path in _contenders(paths) if options.c is None else []:
        path.walk()
    refined: list[Candidate] = []
    while (path := min(paths, key=lambda path: path.best.chosen.log_loss)).best.chosen not in refined:
        refined.append(path.refine())
    return Search.best_of([search for path in paths for search in path.searches.values()])


def _contenders(paths: "list[_Path]") -> "list[_Path]":
    """Of many rows, leave out the scalings whose log loss at the first penalty is above the least by two errors.

    Of a sample, keep the best: what so many images cannot tell apart is equally good.
    """
    if paths[0].held_out < MANY_ROWS:
        return paths
    for path in paths:
        path.attempt(path.objective.c)
    losses = [path.losses for path in paths]
    least = min(losses, key=np.mean)
    error = (2 if paths[0].ratio == 1 else 0) / np.sqrt(len(least))
    return [
        path for path, own in zip(paths, losses, strict=True) if np.mean(own - least) <= error * np.std(own - least)
    ]


class _Path:
    """The penalties that were tried with one scaling, perhaps after another path with another scaling.

    Attributes
    ----------
    searches
        How each C did, in the order tried. All folds are solved at once, which leaves a `Solution`.
    """

    def __init__(
        self,
        objective: Objective,
        kind: HeadKind,
        rows: TrainingRows,
        options: HeadOptions,
        scaling: str,
        ratio: float,
        before: "_Path | None" = None,
    ):
        self.objective, self.kind, self.rows, self.options = objective, kind, rows, options
        self.scaling, self.ratio, self.before = scaling, ratio, before
        self.axes = Axes.of(rows.embeddings, scaling)
        self.projected = self.axes.project(rows.embeddings)
        sets = fold_sets(rows, options)
        self.problem = Problem(self.projected, rows.labels, sets, self.axes.covariance, rows.classes, objective.loss)
        self.folds = replace(self.problem, sets=sets[:-1])
        self.held_out = int((rows.folds >= 0).sum())
        self.searches: dict[float, Search] = {}

    @property
    def best(self) -> Search:
        """The search with the least log loss."""
        return min(self.searches.values(), key=lambda search: search.chosen.log_loss)

    @property
    def losses(self) -> NDArray[np.float64]:
        """The log loss of every image that was held out, under the best penalty."""
        known = self.rows.folds >= 0
        of_label = softmax(self.best.logits[known])[np.arange(known.sum()), self.rows.labels[known]]
        losses: NDArray[np.float64] = -np.log(np.maximum(of_label, np.finfo(np.float64).tiny))
        return losses

    @property
    def is_perfect(self) -> bool:
        """Whether the log loss is below 3 / n: so few images, even all right, cannot show that it is less.

        By the rule of three (Hanley and Lippman-Hand 1983), up to 3 / n of new images may still be wrong.
        """
        return self.best.chosen.log_loss * self.held_out < 3

    def walk(self) -> None:
        """Try weaker penalties while they are clearly better, and stronger ones while they are."""
        c = self.before.best.chosen.settings["c"] if self.before else self.objective.c
        self.attempt(c)
        least_gain = max(PRECISION, NOISE / np.sqrt(self.held_out))
        weaker, stronger = GRID[GRID.index(c) :], GRID[GRID.index(c) :: -1]
        for path in (weaker, stronger):
            for last, c in pairwise(path):
                if self.best is not self.searches[last] or (path is weaker and self.is_perfect):
                    break
                try:
                    self.attempt(c, self.best.solution.fits)
                except HeadError:  # so weak a penalty has no optimum within reach
                    break
                if self.searches[c].chosen.log_loss > (1 - least_gain) * self.searches[last].chosen.log_loss:
                    break

    def attempt(self, c: float, start: Fits | None = None) -> None:
        """Judge a penalty, starting from the solution with the other scaling if there is one."""
        if c in self.searches:
            return
        if self.before and c in self.before.searches:
            known = self.before.searches[c].solution
            start = known.fits.translated(known.axes, self.axes)
        self.searches[c] = self._judged(c, next(self._solved(self.folds, c, start, SEARCH_TOLERANCE)))

    def refine(self) -> Candidate:
        """Judge the best penalty more precisely, and fit all rows with it."""
        c = self.best.chosen.settings["c"]
        start = _with_mean(self.best.solution.fits)
        tolerance = TOLERANCE if self.ratio == 1 else SAMPLE_TOLERANCE
        self.searches[c] = self._judged(c, next(self._solved(self.problem, c, start, tolerance)))
        return self.searches[c].chosen

    def _solved(self, problem: Problem, c: float, start: Fits | None, tolerance: float) -> Iterator[Fits]:
        grid = self.objective.penalties((c,), self.ratio, problem.classes)
        return solve_path(problem, grid, start, tolerance=tolerance)

    def _judged(self, c: float, fits: Fits) -> Search:
        rows, logits = self.rows, np.full((len(self.rows), self.rows.classes), np.nan)
        for fold in range(rows.fold_count):
            held_out = rows.folds == fold
            logits[held_out] = self.projected[held_out] @ fits.weights[:, fold] + fits.bias[fold]
        factor = self._factor(logits)
        logits, settings = logits * (factor or 1.0), {"c": c, "scaling": self.scaling}
        found = Search.of_one(Candidate(self.kind.name, settings, *rows.judge(logits)), rows, logits)
        return replace(found, solution=Solution(self.axes, fits, factor))

    def _factor(self, outputs: NDArray[np.float64]) -> float | None:
        """Fit the factor to outputs out of fold, (n, k), if they are no logits."""
        known, factor = self.rows.folds >= 0, self.objective.factor
        if factor is None:
            return None
        return factor * likeliest_factor(factor * outputs[known], self.rows.labels[known], 0.0, SPREAD)


def _with_mean(fits: Fits) -> Fits:
    """Add the mean of the folds' solutions, from which that for all rows is not far."""
    weights = np.concatenate([fits.weights, fits.weights.mean(axis=1, keepdims=True)], axis=1)
    return Fits(weights, np.concatenate([fits.bias, fits.bias.mean(axis=0, keepdims=True)]))


def fold_sets(rows: TrainingRows, options: HeadOptions) -> NDArray[np.float32]:
    """Return the weight of each row in each fold's training set, then in the set of all rows: float32, (f + 1, n)."""
    sets = np.stack([rows.folds != fold for fold in range(rows.fold_count + 1)])
    weighted: NDArray[np.float32] = (sets * options.row_weights(rows.labels, rows.classes)).astype(np.float32)
    return weighted
