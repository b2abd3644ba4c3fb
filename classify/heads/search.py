"""Which head, and how strongly penalised: candidates compared by cross-validation on the training rows alone."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.axes import Axes
from headstart.classify.heads.kinds import DEFAULT_C, HeadOptions, Start, fit_head, make_head
from headstart.classify.heads.rows import TrainingRows, blocks_of
from headstart.classify.heads.solver import Fits, solve_path
from headstart.classify.split.folds import rank_within_class

GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
RISES = 1
"""The path towards weaker penalties, the slowest to solve, ends after this many values that are worse than the best."""
SEARCHED_ROWS = 10_000
"""Of more images than this, a sample is searched; the chosen head is then fitted on all of them."""
LOOSE = 1e-3
"""Tolerance for the last steps on more rows than that, in nats a row: on 50,000 rows of 100 classes the held-out log
loss was within 0.2 % of a fit ten times as exact, in a third of the time."""
SURELY_SEARCHED = 10
"""Of each class this many are in the sample, if there are so many."""


@dataclass(frozen=True)
class Candidate:
    """One setting and how it did out of fold: log loss in nats, accuracy in 0..1.

    Attributes
    ----------
    head
        A name of `headstart.classify.heads.kinds.HEADS`.
    c
        Inverse strength of the penalty; None for a head without one.
    """

    head: str
    c: float | None
    log_loss: float
    accuracy: float


@dataclass(frozen=True)
class Search:
    """What was tried, and what was chosen.

    Attributes
    ----------
    candidates
        In the order tried.
    chosen
        The one that is used.
    folds
        Of the cross-validation.
    reason
        Why it was chosen, in words.
    images
        int64, (n,): which of the training images took part.
    rows
        These images.
    logits
        float64, (n, k): their out-of-fold logits under the chosen setting; NaN for an image that was never held out.
    axes, fits
        For ``logreg``: of their embeddings, and the solution for each fold and for all; otherwise None.
    """

    candidates: list[Candidate]
    chosen: Candidate
    folds: int
    reason: str
    images: NDArray[np.int64] = field(repr=False)
    rows: TrainingRows = field(repr=False)
    logits: NDArray[np.float64] = field(repr=False)
    axes: Axes | None = field(default=None, repr=False)
    fits: Fits | None = field(default=None, repr=False)


def search_head(name: str, rows: TrainingRows, options: HeadOptions, *, of: int | None = None) -> Search:
    """Compare settings of a head (`logreg`: values of C, unless one is given), or with ``auto`` of all heads.

    The least out-of-fold log loss wins. Where `rows` are a sample themselves, `of` says of how many.
    """
    if not (rows.folds >= 0).any():
        return _unsearched(name, rows, options)
    images = sample_rows(rows.labels, SEARCHED_ROWS, options.seed)
    sample = rows.take(images) if len(images) < len(rows) else rows
    whole = of or len(rows)
    names = list(SEARCHES) if name == "auto" else [name]
    searches = [SEARCHES[each](sample, options, whole / len(sample)) for each in names]
    best = min(searches, key=lambda search: search.chosen.log_loss)
    candidates = [candidate for search in searches for candidate in search.candidates]
    return replace(best, candidates=candidates, images=images, reason=_reason(best, candidates, len(sample) < whole))


def search_of_given(head: Any, rows: TrainingRows) -> Search:
    """Judge a head that was tuned together with the tail of its backbone on the images that neither has seen."""
    logits = np.where(rows.folds[:, None] >= 0, logits_of(head, rows.embeddings), np.nan)
    candidate = Candidate("logreg", None, *rows.judge(logits))
    reason = f"logreg as it was tuned with the tail: log loss {candidate.log_loss:.4f} on images held out of that"
    return Search([candidate], candidate, 1, reason, np.arange(len(rows)), rows, logits)


def refined(search: Search, rows: TrainingRows, options: HeadOptions) -> Start | None:
    """Give where scikit-learn begins on all rows: what the search found, solved further where it had a sample."""
    if search.fits is None or search.axes is None:
        return None
    if search.rows is rows:
        return start_of(search.axes, search.fits, rows.classes)
    sets = class_weights(rows.labels, rows.classes, options)[None].astype(np.float32)
    grid = penalties((options.c or DEFAULT_C,), 1.0, rows.classes)
    axes, last = search.axes, search.fits.repeated(-1)
    path = solve_path(
        axes.project(rows.embeddings),
        rows.labels,
        sets,
        axes.covariance,
        grid,
        rows.classes,
        start=last,
        tolerance=LOOSE,
    )
    return start_of(axes, next(path), rows.classes, LOOSE)


def _search_logreg(rows: TrainingRows, options: HeadOptions, ratio: float) -> Search:
    """Walk along the penalties, all folds and the final fit in one; each started from the one before."""
    axes = Axes.of(rows.embeddings)
    projected = axes.project(rows.embeddings)
    folds = int(rows.folds.max()) + 1
    sets = fold_sets(rows, options)
    grid = GRID if options.c is None else (options.c,)
    tried: list[tuple[Candidate, NDArray[np.float64], Fits]] = []
    path = solve_path(projected, rows.labels, sets, axes.covariance, penalties(grid, ratio, rows.classes), rows.classes)
    for c, fits in zip(grid, path, strict=True):
        logits = _out_of_fold(fits, projected, rows)
        tried.append((Candidate("logreg", c, *rows.judge(logits)), logits, fits))
        losses = [candidate.log_loss for candidate, _, _ in tried]
        if len(losses) - int(np.argmin(losses)) > RISES:
            break
    chosen, logits, fits = tried[int(np.argmin(losses))]
    candidates = [candidate for candidate, _, _ in tried]
    return Search(candidates, chosen, folds, "", np.arange(len(rows)), rows, logits, axes, fits)


def fold_sets(rows: TrainingRows, options: HeadOptions) -> NDArray[np.float32]:
    """Give the weight of each image in each fold's training set, then in that of all: float32, (f + 1, n)."""
    folds = int(rows.folds.max()) + 1
    sets = np.stack([rows.folds != fold for fold in [*range(folds), folds]]).astype(np.float32)
    weighted: NDArray[np.float32] = (sets * class_weights(rows.labels, rows.classes, options)).astype(np.float32)
    return weighted


def penalties(grid: tuple[float, ...], ratio: float, classes: int) -> list[float]:
    """Translate scikit-learn's C: for a sample of 1 / `ratio` of the rows, and for two classes.

    With two classes scikit-learn fits one vector w, the difference of the two here: |w|^2 = 2 (|w_0|^2 + |w_1|^2).
    """
    return [c * ratio * (0.5 if classes == 2 else 1.0) for c in grid]


def _search_by_fitting(rows: TrainingRows, options: HeadOptions, _ratio: float) -> Search:
    """Fit a head once a fold."""
    folds = int(rows.folds.max()) + 1
    logits = np.full((len(rows), rows.classes), np.nan)
    for fold in range(folds):
        held_out = rows.folds == fold
        head = fit_head(make_head("mlp", options), rows.embeddings[~held_out], rows.labels[~held_out], options)
        logits[held_out] = logits_of(head, rows.embeddings[held_out])
    candidate = Candidate("mlp", None, *rows.judge(logits))
    return Search([candidate], candidate, folds, "", np.arange(len(rows)), rows, logits)


def logits_of(head: Any, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Give logits, float64 (n, k), of a fitted pipeline for embeddings, (n, d): logarithms of its probabilities."""
    probabilities = np.concatenate([head.predict_proba(block) for block in blocks_of(embeddings)]).astype(np.float64)
    result: NDArray[np.float64] = np.log(np.clip(probabilities, np.finfo(np.float64).tiny, 1))
    return result


SEARCHES: dict[str, Callable[[TrainingRows, HeadOptions, float], Search]] = {
    "logreg": _search_logreg,
    "mlp": _search_by_fitting,
}


def sample_rows(labels: NDArray[np.int32], count: int, seed: int) -> NDArray[np.int64]:
    """Pick at most `count` of n images, int64, rising: some of every class at the least, the rest by chance."""
    if len(labels) <= count:
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    rank = rank_within_class(labels, rng.permutation(len(labels)))
    return np.sort(np.lexsort([rng.permutation(len(labels)), np.minimum(rank, SURELY_SEARCHED)])[:count])


def _unsearched(name: str, rows: TrainingRows, options: HeadOptions) -> Search:
    head = "mlp" if name == "mlp" else "logreg"
    chosen = Candidate(head, (options.c or DEFAULT_C) if head == "logreg" else None, float("nan"), float("nan"))
    logits = np.full((len(rows), rows.classes), np.nan)
    reason = "no class has two different images to compare settings on"
    return Search([], chosen, 0, reason, np.arange(len(rows)), rows, logits)


def class_weights(labels: NDArray[np.int32], classes: int, options: HeadOptions) -> NDArray[np.float64]:
    """Give the weight of each image, float64 (n,)."""
    if options.class_weight == "none":
        return np.ones(len(labels))
    counts = np.bincount(labels, minlength=classes)
    weights: NDArray[np.float64] = (len(labels) / (classes * counts))[labels]
    return weights


def _out_of_fold(fits: Fits, projected: NDArray[np.float32], rows: TrainingRows) -> NDArray[np.float64]:
    logits = np.full((len(rows), rows.classes), np.nan)
    for fold in range(int(rows.folds.max()) + 1):
        held_out = rows.folds == fold
        logits[held_out] = projected[held_out] @ fits.weights[:, fold] + fits.bias[fold]
    return logits


def start_of(axes: Axes, fits: Fits, classes: int, tolerance: float = 1e-4) -> Start:
    """Turn the last set's fit back to the embeddings' own axes, in scikit-learn's form."""
    coefficients, intercepts = axes.unproject(fits.weights[:, -1]).T, fits.bias[-1]
    if classes == 2:
        return Start(coefficients[1:] - coefficients[:1], intercepts[1:] - intercepts[:1], tolerance)
    return Start(coefficients - coefficients.mean(axis=0), intercepts - intercepts.mean(), tolerance)


def _reason(best: Search, candidates: list[Candidate], is_sample: bool) -> str:
    chosen = best.chosen
    name = chosen.head if chosen.c is None else f"{chosen.head} with C = {chosen.c:g}"
    of = f" of {len(candidates)} settings" if len(candidates) > 1 else ""
    sample = f" on a sample of {len(best.rows)} images" if is_sample else ""
    least = "has the least log loss" + of if of else "has the log loss"
    return f"{name} {least} in {best.folds}-fold cross-validation{sample}: {chosen.log_loss:.4f}"
