"""Baselines for a head: heads on other stores of the same images, and the majority class."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import LabelError
from headstart.classify.evaluation.comparison import Comparison, compare
from headstart.classify.evaluation.measure import Measured, measure
from headstart.classify.evaluation.metrics import Evaluation, evaluate_rows
from headstart.classify.heads.fitting import FitPlan
from headstart.classify.heads.tuned import with_own_folds
from headstart.classify.split.holdout import Split
from headstart.extract.store.store import Store


@dataclass(frozen=True)
class Baseline:
    """Metrics and costs of a head, or of the majority class; all are evaluated on the same images.

    Attributes
    ----------
    what
        The features in words: ``"frozen head"``, ``"tail tuned behind block_12"``, ...
    store
        The store's file name; empty for the majority class.
    images
        Number of evaluated images.
    accuracy, accuracy_interval
        0..1, with a 95 % interval.
    log_loss
        In nats, calibrated if there are enough images; for the majority class, that of the class frequencies.
    dim, row_bytes
        Numbers per stored row, and their bytes before compression; None for the majority class.
    seconds
        Wall time of search and fit; None for the majority class.
    difference
        This baseline, as the new classifier, compared with the trained head; None for that head itself.
    """

    what: str
    store: str
    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    log_loss: float
    dim: int | None = None
    row_bytes: int | None = None
    seconds: float | None = None
    difference: Comparison | None = None


@dataclass(frozen=True)
class AlignedStore:
    """Another store with its vectors in the row order of the main store, and its splits of these rows."""

    store: Store = field(repr=False)
    splits: list[Split] = field(repr=False)


def align_store(store: Store, other: Store, splits: Sequence[Split], draws: NDArray[np.float64]) -> AlignedStore:
    """Return another store of the same images the rows, labels and splits of a store, matched by content.

    Parameters
    ----------
    splits
        Those of the store: they divide the same rows.
    draws
        float64, (n,): the random number of every row of the store, the same for duplicates of an image.

    Raises
    ------
    LabelError
        If an image is missing from the other store, or its backbone was tuned on an image of the evaluation.
    """
    row_of = {content.tobytes(): row for row, content in enumerate(other.rows.sha256) if other.is_embedded[row]}
    rows = np.array([row_of.get(content.tobytes(), -1) for content in store.rows.sha256])
    missing = [row for row in (*splits[0].train, *splits[0].test) if rows[row] < 0]
    if missing:
        raise LabelError(
            f"{other.location}: expected the same images as {store.location}, but {store.paths[missing[0]]} is not "
            f"among them, or has changed ({len(missing):,} such images); embed the same folder with both backbones"
        )
    same = other.under(store.rows, store.header.classes, rows)
    return AlignedStore(same, [with_own_folds(same, split, draws) for split in splits])


def head_baseline(one: AlignedStore, main: Measured, plan: FitPlan, groups: NDArray[np.int64]) -> Baseline:
    """Search and fit a head on another store in the same way, and evaluate it on the same images."""
    store, evaluation = one.store, main.evaluation
    plan = replace(plan, options=main.fitted.options.searched_anew(), false_alarms=0.0, precision={})
    # The same sample of them, if they were too many.
    splits = [replace(split, test=np.intersect1d(split.test, evaluation.rows)) for split in one.splits]
    own = measure(store, splits, plan, groups)
    difference = compare(
        own.evaluation.probabilities, evaluation.probabilities, store.labels[evaluation.rows], evaluation.groups
    )
    return replace(baseline_of(store, own), difference=difference)


def baseline_of(store: Store, measured: Measured) -> Baseline:
    """Return the metrics and the costs of a fitted head."""
    header = store.header
    return replace(
        _baseline(measured.evaluation),
        what=features_of(header.model),
        store=store.location.name,
        dim=header.dim,
        row_bytes=header.dim * np.dtype(header.dtype).itemsize,
        seconds=measured.fitted.seconds,
    )


def majority_baseline(store: Store, evaluation: Evaluation) -> Baseline:
    """Evaluate the best prediction without looking at images: the class frequencies, as probabilities."""
    if not evaluation.images:
        return _baseline(evaluation)
    labels = store.labels[evaluation.rows]
    shares = np.bincount(labels, minlength=len(store.classes)) / len(labels)
    probabilities = np.broadcast_to(shares, evaluation.probabilities.shape)
    own = _baseline(evaluate_rows(store, probabilities, evaluation.rows, store.classes, evaluation.groups))
    return replace(own, difference=compare(probabilities, evaluation.probabilities, labels, evaluation.groups))


def features_of(model: dict[str, Any]) -> str:
    """Name the features of a backbone with this metadata."""
    if not model.get("weights", {}).get("trained"):
        return "untrained"
    if "tuned" in model:
        return f"tail tuned behind {model['tuned'].get('block')}"
    return "all blocks, frozen head" if model.get("features") == "all-blocks" else "frozen head"


def _baseline(found: Evaluation) -> Baseline:
    return Baseline("majority class", "", found.images, found.accuracy, found.accuracy_interval, found.log_loss)
