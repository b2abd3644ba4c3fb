"""The logistic regression head: a search along its penalties, and the final fit, by one solver."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.candidate import Candidate
from headstart.classify.heads.kinds import Blocks, HeadKind, Search
from headstart.classify.heads.layers import FittedHead, Layer, standardised
from headstart.classify.heads.linear.axes import Axes
from headstart.classify.heads.linear.problem import Fits, Problem
from headstart.classify.heads.linear.solver import TOLERANCE, solve_path
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.rows import TrainingRows

DEFAULT_C = 0.01
GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
RISES = 1
"""The path towards weaker penalties, the slowest to solve, ends after this many values that are worse than the best."""
SEARCH_TOLERANCE = 0.05
"""Penalties are compared on solutions of this tolerance, which changes a log loss by less than 1 %; those of the chosen
penalty are then refined."""
LARGE_TOLERANCE = 0.02
"""That of the final fit to more rows than were searched, started from the search's solution: with 50,000 rows of 100
classes, held-out log losses differ by less than 0.1 %."""


@dataclass(frozen=True)
class Solution:
    """The axes of the searched rows; and, if anything was searched, the fits to each fold and, last, to all rows."""

    axes: Axes
    fits: Fits | None = None

    def start(self, times: int = 1) -> Fits | None:
        """Return the fit to all rows, from which others are not far, several times over."""
        return self.fits and self.fits.repeated(-1, times)


def make_logreg(options: HeadOptions) -> Any:
    """Return an unfitted logistic regression on standardised embeddings."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        StandardScaler(), LogisticRegression(C=options.c or DEFAULT_C, max_iter=1000, random_state=options.seed)
    )


def search_penalties(kind: HeadKind, rows: TrainingRows, options: HeadOptions, ratio: float) -> Search:
    """Walk along the penalties, solving all folds at once, each from the solution before; then also fit all rows."""
    axes = Axes.of(rows.embeddings)
    projected = axes.project(rows.embeddings)
    problem = Problem(projected, rows.labels, fold_sets(rows, options), axes.covariance, rows.classes)
    grid = GRID if options.c is None else (options.c,)
    strengths = penalties(grid, ratio, rows.classes)

    def judged(c: float, fits: Fits) -> Search:
        logits = _out_of_fold(fits, projected, rows)
        found = Search.of_one(Candidate(kind.name, {"c": c}, *rows.judge(logits)), rows, logits)
        return replace(found, solution=Solution(axes, fits))

    searches: list[Search] = []
    folds = replace(problem, sets=problem.sets[:-1])
    for c, fits in zip(grid, solve_path(folds, strengths, tolerance=SEARCH_TOLERANCE), strict=False):
        searches.append(judged(c, fits))
        if len(searches) - _least(searches) > RISES:
            break
    precise: set[int] = set()
    while (best := _least(searches)) not in precise:
        start = _with_mean(searches[best].solution.fits)
        searches[best] = judged(grid[best], next(solve_path(problem, strengths[best:], start)))
        precise.add(best)
    return Search.best_of(searches)


def _least(searches: list[Search]) -> int:
    return int(np.argmin([search.chosen.log_loss for search in searches]))


def _with_mean(fits: Fits) -> Fits:
    """Add the mean of the folds' solutions, from which that for all rows is not far."""
    weights = np.concatenate([fits.weights, fits.weights.mean(axis=1, keepdims=True)], axis=1)
    return Fits(weights, np.concatenate([fits.bias, fits.bias.mean(axis=0, keepdims=True)]))


def fit_solved(_kind: HeadKind, search: Search, rows: TrainingRows, options: HeadOptions) -> FittedHead:
    """Fit to all rows in memory, starting from the search's solution."""
    found = _solution_of(search)
    axes = found.axes if search.rows is rows else Axes.of(rows.embeddings)
    # Only without rotations do the axes of a sample and those of all rows mean the same features.
    start = found.start() if axes.rotation is found.axes.rotation else None
    sets = options.row_weights(rows.labels, rows.classes)[None].astype(np.float32)
    projected = axes.project(rows.embeddings)
    problem = Problem(projected, rows.labels, sets, axes.covariance, rows.classes)
    return _solved(problem, axes, start, options, TOLERANCE if search.rows is rows else LARGE_TOLERANCE)[0]


def fit_solved_sets(
    _kind: HeadKind, search: Search, chosen: Sequence[NDArray[np.bool_]], options: HeadOptions
) -> list[FittedHead]:
    """Fit to several sets of the searched rows at once, on the axes of all of them."""
    found, rows = _solution_of(search), search.rows
    sets = (np.stack(chosen) * options.row_weights(rows.labels, rows.classes)).astype(np.float32)
    projected = found.axes.project(rows.embeddings)
    problem = Problem(projected, rows.labels, sets, found.axes.covariance, rows.classes)
    return _solved(problem, found.axes, found.start(len(chosen)), options, TOLERANCE)


def fit_solved_by_blocks(search: Search, blocks: Blocks, labels: NDArray[np.int32], options: HeadOptions) -> FittedHead:
    """Fit to blocks of rows, on the axes of the rows that were searched, starting from the search's solution."""
    found, classes = _solution_of(search), search.rows.classes

    def projected() -> Iterator[tuple[slice, NDArray[np.float32]]]:
        for part, embeddings in blocks():
            yield part, found.axes.project(embeddings)

    sets = options.row_weights(labels, classes)[None].astype(np.float32)
    problem = Problem(projected, labels, sets, found.axes.covariance, classes)
    return _solved(problem, found.axes, found.start(), options, LARGE_TOLERANCE)[0]


def _solution_of(search: Search) -> Solution:
    return search.solution or Solution(Axes.of(search.rows.embeddings))


def _solved(
    problem: Problem, axes: Axes, start: Fits | None, options: HeadOptions, tolerance: float
) -> list[FittedHead]:
    """Return the fitted head of each set of a problem."""
    fits = next(
        solve_path(problem, penalties((options.c or DEFAULT_C,), 1.0, problem.classes), start, tolerance=tolerance)
    )
    return [_head_of(fits, number, axes, options, len(problem.labels)) for number in range(len(problem.sets))]


def _head_of(fits: Fits, number: int, axes: Axes, options: HeadOptions, images: int) -> FittedHead:
    weights, bias = axes.unproject(fits.weights[:, number]).astype(np.float64), fits.bias[number].astype(np.float64)
    layer = Layer(weights - weights.mean(axis=1, keepdims=True), bias - bias.mean())
    pipeline = partial(_pipeline, layer, axes.mean, axes.scale, options, images)
    return FittedHead([standardised(layer, axes.mean, axes.scale)], pipeline)


def from_weights(
    weights: NDArray[np.float32], bias: NDArray[np.float32], options: HeadOptions, images: int
) -> FittedHead:
    """Return the fitted head of weights, (d, k), and bias, (k,), on embeddings as they are."""
    layer, dim = Layer(weights.astype(np.float64), bias.astype(np.float64)), len(weights)
    return FittedHead([layer], partial(_pipeline, layer, np.zeros(dim), np.ones(dim), options, images))


def _pipeline(
    layer: Layer, mean: NDArray[np.floating], scale: NDArray[np.floating], options: HeadOptions, images: int
) -> Any:
    """Return the fitted pipeline of a layer on embeddings that are standardised by mean and scale, both (d,)."""
    head = make_logreg(options)
    scaler, model = head[0], head[-1]
    scaler.mean_, scaler.scale_ = mean.astype(np.float64), scale.astype(np.float64)
    scaler.var_, scaler.n_samples_seen_ = scaler.scale_**2, images
    model.classes_ = np.arange(len(layer.bias))
    coefficients, intercepts = layer.weights.T, layer.bias
    if len(intercepts) == 2:  # scikit-learn stores their difference alone
        coefficients, intercepts = np.diff(coefficients, axis=0), np.diff(intercepts)
    # Of float32 as the embeddings are, so that it keeps them so.
    model.coef_, model.intercept_ = coefficients.astype(np.float32), intercepts.astype(np.float32)
    scaler.n_features_in_ = model.n_features_in_ = len(mean)
    return head


def fold_sets(rows: TrainingRows, options: HeadOptions) -> NDArray[np.float32]:
    """Return the weight of each row in each fold's training set, then in the set of all rows: float32, (f + 1, n)."""
    sets = np.stack([rows.folds != fold for fold in range(rows.fold_count + 1)])
    weighted: NDArray[np.float32] = (sets * options.row_weights(rows.labels, rows.classes)).astype(np.float32)
    return weighted


def penalties(grid: Sequence[float], ratio: float, classes: int) -> list[float]:
    """Translate scikit-learn's C: for a sample of 1 / `ratio` of the rows, and for two classes.

    With two classes scikit-learn fits one vector w, the difference of the two here: |w|^2 = 2 (|w_0|^2 + |w_1|^2).
    """
    return [c * ratio * (0.5 if classes == 2 else 1.0) for c in grid]


def _out_of_fold(fits: Fits, projected: NDArray[np.float32], rows: TrainingRows) -> NDArray[np.float64]:
    logits = np.full((len(rows), rows.classes), np.nan)
    for fold in range(rows.fold_count):
        held_out = rows.folds == fold
        logits[held_out] = projected[held_out] @ fits.weights[:, fold] + fits.bias[fold]
    return logits
