"""Search and fit of the heads with Gaussian classes: `lda`, and `prototype`, which needs no covariance."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.candidate import Candidate, Search
from headstart.classify.heads.kinds import Blocks, HeadKind
from headstart.classify.heads.layers import FittedHead, Layer, apply_layers, standardised
from headstart.classify.heads.linear.axes import Axes, Floats
from headstart.classify.heads.linear.discriminant import Discriminants, Moments, log_shares
from headstart.classify.heads.linear.pipeline import fill_pipeline
from headstart.classify.heads.loss import likeliest_factor
from headstart.classify.heads.options import SCALINGS, HeadOptions
from headstart.classify.heads.rows import TrainingRows, blocks_of
from headstart.classify.heads.threads import blas_threads
from headstart.classify.split.folds import ALWAYS_TRAINED

GRID = (3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 1.0)
SPREAD = 0.5
"""Standard deviation of the prior of the logarithm of the factor of the scores: see `SEPARATION`."""

Build = Callable[["Gaussian", HeadOptions], Any]
"""Gives the fitted pipeline of scikit-learn."""


@dataclass(frozen=True)
class Gaussian:
    """A fitted head on scaled embeddings.

    Attributes
    ----------
    discriminants, log_shares
        Which give its scores, and float64, (k,), what is added to them.
    mean, scale
        float32, (d,): how embeddings are scaled.
    images
        How many it was fitted to.
    """

    discriminants: Discriminants
    log_shares: NDArray[np.float64]
    mean: Floats
    scale: Floats
    images: int

    @property
    def layer(self) -> Layer:
        """The layer of its logits."""
        scores = self.discriminants.layer()
        return Layer(scores.weights, scores.bias + self.log_shares)

    def pipeline(self, unfitted: Any, **fitted: Any) -> Any:
        """Return a pipeline with its fitted state, including the classifier's own attributes."""
        classes = np.arange(len(self.log_shares))
        return fill_pipeline(unfitted, self.mean, self.scale, self.images, classes_=classes, **fitted)


@dataclass(frozen=True)
class _Folds:
    """Searched rows on their axes, (n, r); and the moments of all and of each fold, which `factors` rescale."""

    rows: TrainingRows
    axes: Axes
    projected: Floats
    total: Moments
    held_out: list[Moments]
    factors: Floats

    @classmethod
    def of(cls, rows: TrainingRows, scaling: str, options: HeadOptions, *, with_products: bool) -> "_Folds":
        """Sum over the rows of each fold."""
        axes = _axes_of(rows.embeddings, scaling, with_products=with_products)
        projected, weights = axes.project(rows.embeddings), options.row_weights(rows.labels, rows.classes)

        def moments(fold: int) -> Moments:
            which = rows.folds == fold
            part = projected[which]
            return Moments.of(part, rows.labels[which], weights[which], rows.classes, with_products=with_products)

        held_out = [moments(fold) for fold in range(rows.fold_count)]
        total = sum(held_out, moments(ALWAYS_TRAINED))
        return cls(rows, axes, projected, total, held_out, np.ones(projected.shape[1], np.float32))

    def scaled(self, scaling: str) -> "_Folds | None":
        """Return them in another scaling, which needs no new sums; None if the rows were rotated."""
        if self.axes.rotation is not None:
            return None
        axes = Axes.unrotated(self.rows.embeddings, scaling)
        factors = self.axes.scale / axes.scale
        return replace(self, axes=axes, projected=self.projected * factors, factors=factors)

    def judge(self, kind: HeadKind, settings: dict[str, Any], ratio: float) -> Search:
        """Fit one setting to each fold, and the factor of the scores to what they give for the other rows."""
        rows, shrinkage = self.rows, settings.get("shrinkage")
        strength = None if shrinkage is None else stronger(shrinkage, ratio)
        scores, offsets = np.full((2, len(rows), rows.classes), np.nan)
        for fold, own in enumerate(self.held_out):
            held_out, moments = rows.folds == fold, (self.total - own).rescaled(self.factors)
            layer = Discriminants.of(moments, strength, rows.embeddings.shape[1]).layer()
            scores[held_out] = apply_layers([layer], self.projected[held_out])
            offsets[held_out] = log_shares(moments)
        known = rows.folds >= 0
        factor = likeliest_factor(scores[known], rows.labels[known], offsets[known], SPREAD)
        logits = factor * scores + offsets
        candidate = Candidate(kind.name, settings, *rows.judge(logits))
        return replace(Search.of_one(candidate, rows, logits), solution=factor)


def search_gaussian(kind: HeadKind, rows: TrainingRows, options: HeadOptions, ratio: float) -> Search:
    """Choose the scaling at a middle shrinkage, then go from there to where the log loss is least."""
    with blas_threads(len(rows)):  # those searched, which are few however many there are
        return _searched(kind, rows, options, ratio)


def _searched(kind: HeadKind, rows: TrainingRows, options: HeadOptions, ratio: float) -> Search:
    scalings = (options.scaling,) if options.scaling else SCALINGS
    folds = _folds_of(rows, scalings, options, with_products="shrinkage" in kind.defaults)

    def judged(scaling: str, shrinkage: float | None) -> Search:
        settings = {"shrinkage": shrinkage, "scaling": scaling}
        return folds[scaling].judge(kind, {name: settings[name] for name in kind.defaults}, ratio)

    if "shrinkage" not in kind.defaults or options.shrinkage is not None:
        return Search.best_of([judged(scaling, options.shrinkage) for scaling in scalings])
    dim = rows.embeddings.shape[1]
    start = int(np.abs(np.array(GRID) - dim / (len(rows) * ratio + dim)).argmin())
    first = Search.best_of([judged(scaling, GRID[start]) for scaling in scalings])
    return Search.best_of([first, *_downhill(partial(judged, first.chosen.settings["scaling"]), start, first)])


def _folds_of(
    rows: TrainingRows, scalings: Sequence[str], options: HeadOptions, *, with_products: bool
) -> dict[str, _Folds]:
    folds = {scalings[0]: _Folds.of(rows, scalings[0], options, with_products=with_products)}
    for scaling in scalings[1:]:
        others = folds[scalings[0]].scaled(scaling)
        folds[scaling] = others or _Folds.of(rows, scaling, options, with_products=with_products)
    return folds


def _downhill(judged: Callable[[float], Search], start: int, first: Search) -> Iterator[Search]:
    """Give the searches at less shrinkage than that of the start until the log loss rises; or else, at more."""
    for step in (-1, 1):
        number, best = start + step, first
        while 0 <= number < len(GRID):
            found = judged(GRID[number])
            yield found
            if found.chosen.log_loss >= best.chosen.log_loss:
                break
            number, best = number + step, found
        if best is not first:
            return


def stronger(shrinkage: float, ratio: float) -> float:
    """Return the shrinkage for a sample of 1 / `ratio` of the rows: its best odds are inverse to the number of rows."""
    return shrinkage * ratio / (1 - shrinkage + shrinkage * ratio)


def fit_gaussian(build: Build, _kind: HeadKind, search: Search, rows: TrainingRows, options: HeadOptions) -> FittedHead:
    """Fit to all rows in memory."""
    settings = search.chosen.settings
    axes = _axes_of(rows.embeddings, settings["scaling"], with_products="shrinkage" in settings)

    def blocks() -> Iterator[tuple[slice, Floats]]:
        start = 0
        for block in blocks_of(rows.embeddings):
            yield slice(start, start + len(block)), block
            start += len(block)

    return _fitted(build, search, axes, blocks, rows.labels, options)


def fit_gaussian_by_blocks(
    build: Build, search: Search, blocks: Blocks, labels: NDArray[np.int32], options: HeadOptions
) -> FittedHead:
    """Fit to blocks of rows, scaled as the rows that were searched, in one pass."""
    axes = Axes.unrotated(search.rows.embeddings, search.chosen.settings["scaling"])
    return _fitted(build, search, axes, blocks, labels, options)


def _axes_of(embeddings: Floats, scaling: str, *, with_products: bool) -> Axes:
    """Return the axes to compute products on: if there are few rows, the directions that they span."""
    n, d = embeddings.shape
    return Axes.of(embeddings, scaling) if with_products and n < d else Axes.unrotated(embeddings, scaling)


def _fitted(
    build: Build, search: Search, axes: Axes, blocks: Blocks, labels: NDArray[np.int32], options: HeadOptions
) -> FittedHead:
    classes, dim, shrinkage = search.rows.classes, len(axes.mean), search.chosen.settings.get("shrinkage")
    weights = options.row_weights(labels, classes)
    # Few rows have directions without any variance, which float32 cannot tell from those with little.
    dtype: Any = np.float32 if len(labels) >= dim else np.float64

    def moments(part: slice, embeddings: Floats) -> Moments:
        projected = axes.project(embeddings).astype(dtype, copy=False)
        return Moments.of(projected, labels[part], weights[part], classes, with_products=shrinkage is not None)

    total = sum((moments(*block) for block in blocks()), Moments.none(classes, axes.project(axes.mean[None]).shape[1]))
    found = Discriminants.of(total, shrinkage, dim).unprojected(axes)
    found = replace(found, factor=found.factor * (search.solution or 1.0))
    fitted = Gaussian(found, log_shares(total), axes.mean, axes.scale, len(labels))
    return FittedHead([standardised(fitted.layer, axes.mean, axes.scale)], partial(build, fitted, options))
