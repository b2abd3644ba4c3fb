"""The logistic regression head: its pipeline, and its final fit."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.kinds import Blocks, HeadKind, Search
from headstart.classify.heads.layers import FittedHead, Layer, standardised
from headstart.classify.heads.linear.axes import Axes
from headstart.classify.heads.linear.penalties import DEFAULT_C, Solution, penalties
from headstart.classify.heads.linear.problem import Fits, Problem
from headstart.classify.heads.linear.solver import TOLERANCE, solve_path
from headstart.classify.heads.options import RAW, STANDARDISED, HeadOptions
from headstart.classify.heads.rows import TrainingRows

LARGE_TOLERANCE = 0.02
"""That of the final fit to more rows than were searched, started from the search's solution: with 50,000 rows of 100
classes, held-out log losses differ by less than 0.1 %."""


def make_logreg(options: HeadOptions) -> Any:
    """Return an unfitted logistic regression on scaled embeddings."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from headstart.classify.heads.linear.scaler import CommonScaler

    scaler = CommonScaler() if options.scaling == RAW else StandardScaler()
    return make_pipeline(scaler, LogisticRegression(C=options.c or DEFAULT_C, max_iter=1000, random_state=options.seed))


def fit_solved(_kind: HeadKind, search: Search, rows: TrainingRows, options: HeadOptions) -> FittedHead:
    """Fit to all rows in memory, starting from the search's solution."""
    found = _solution_of(search, options)
    axes = found.axes if search.rows is rows else _axes_of(rows, options)
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
    found, rows = _solution_of(search, options), search.rows
    sets = (np.stack(chosen) * options.row_weights(rows.labels, rows.classes)).astype(np.float32)
    projected = found.axes.project(rows.embeddings)
    problem = Problem(projected, rows.labels, sets, found.axes.covariance, rows.classes)
    return _solved(problem, found.axes, found.start(len(chosen)), options, TOLERANCE)


def fit_solved_by_blocks(search: Search, blocks: Blocks, labels: NDArray[np.int32], options: HeadOptions) -> FittedHead:
    """Fit to blocks of rows, on the axes of the rows that were searched, starting from the search's solution."""
    found, classes = _solution_of(search, options), search.rows.classes

    def projected() -> Iterator[tuple[slice, NDArray[np.float32]]]:
        for part, embeddings in blocks():
            yield part, found.axes.project(embeddings)

    sets = options.row_weights(labels, classes)[None].astype(np.float32)
    problem = Problem(projected, labels, sets, found.axes.covariance, classes)
    return _solved(problem, found.axes, found.start(), options, LARGE_TOLERANCE)[0]


def _solution_of(search: Search, options: HeadOptions) -> Solution:
    return search.solution or Solution(_axes_of(search.rows, options))


def _axes_of(rows: TrainingRows, options: HeadOptions) -> Axes:
    return Axes.of(rows.embeddings, options.scaling or STANDARDISED)


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
