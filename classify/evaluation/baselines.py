"""Heads on other stores of the same images, judged beside a head: what other features buy, and what they cost."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.confidence.calibrated_head import CalibratedHead
from headstart.classify.errors import LabelError
from headstart.classify.evaluation.comparison import Comparison, compare
from headstart.classify.evaluation.metrics import Evaluation, judge, judge_rows
from headstart.classify.heads.fitting import FitPlan, Fitted, fit
from headstart.classify.heads.tuned import with_own_folds
from headstart.classify.split.holdout import Split
from headstart.extract.store.store import Store


@dataclass(frozen=True)
class Baseline:
    """A head, or the majority class, judged on the very images that all others are judged on.

    Attributes
    ----------
    what
        Its features in words: ``"frozen head"``, ``"tail tuned behind block_12"``, ...
    store
        The store's file name; empty for the majority class.
    images
        How many it is judged on.
    accuracy, accuracy_interval
        0..1, and where it would lie on ever more such images, with 95 %.
    log_loss
        In nats, calibrated where there are images enough to; for the majority class, of the shares of the classes.
    dim, row_bytes
        Numbers a stored row has, and the bytes they take before compression; None for the majority class.
    seconds
        Wall time of search and fit; None for the majority class.
    difference
        This one, as the new one, compared with the head that is trained; None for that head itself.
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
class Entrant:
    """A store to compare with, its vectors under the rows of the main store, and its split of them."""

    store: Store = field(repr=False)
    split: Split = field(repr=False)


def entrant(table: Store, other: Store, split: Split, draws: NDArray[np.float64]) -> Entrant:
    """Give another store of the same images the rows, the labels and the split of a store, matched by path.

    Parameters
    ----------
    split
        What the store trains and judges on.
    draws
        float64, of every row of the store: its random number, the same for copies of one image.

    Raises
    ------
    LabelError
        Where an image is missing from the other store, or its backbone was tuned on one that is judged on.
    """
    row_of = {path: row for row, path in enumerate(other.rows.path.tolist()) if other.is_embedded[row]}
    rows = np.array([row_of.get(path, -1) for path in table.rows.path.tolist()])
    missing = [row for row in (*split.train, *split.test) if rows[row] < 0]
    if missing:
        raise LabelError(
            f"{other.location}: expected the same images as {table.location}, but {table.paths[missing[0]]} "
            f"is not among "
            "them; embed the same folder with both backbones"
        )
    same = other.under(table.rows, table.header.classes, rows)
    return Entrant(same, with_own_folds(same, split, draws))


def contend(one: Entrant, fitted: Fitted, evaluation: Evaluation, plan: FitPlan) -> Baseline:
    """Search and fit a head on an entrant as the main one was, and judge it on the same images."""
    store, options = one.store, replace(fitted.options, c=None)
    own = fit(store, one.split, replace(plan, options=options))
    answer = CalibratedHead.of(own.search, own.head, own.split, 0, options.seed)
    parts = [answer.measured_on(vectors)[0] for _, vectors in store.batches(evaluation.rows)]
    found = judge_rows(store, np.concatenate(parts), evaluation.rows, store.classes)
    labels = store.labels[evaluation.rows]
    difference = compare(found.probabilities, evaluation.probabilities, labels)
    return replace(contender(store, own, found), difference=difference)


def contender(store: Store, fitted: Fitted, evaluation: Evaluation) -> Baseline:
    """Say how a fitted head did, and what it cost."""
    header = store.header
    return replace(
        _judged(evaluation),
        what=features_of(header.model),
        store=store.location.name,
        dim=header.dim,
        row_bytes=header.dim * np.dtype(header.dtype).itemsize,
        seconds=fitted.seconds,
    )


def majority(table: Store, evaluation: Evaluation) -> Baseline:
    """Judge the best answer that looks at no image: the commonest class, as surely as it is common."""
    labels = table.labels[evaluation.rows]
    shares = np.bincount(labels, minlength=len(table.classes)) / len(labels)
    probabilities = np.broadcast_to(shares, evaluation.probabilities.shape)
    found = _judged(judge(probabilities, labels, table.classes, [""] * len(labels)))
    return replace(found, difference=compare(probabilities, evaluation.probabilities, labels))


def features_of(model: dict[str, Any]) -> str:
    """Say in words what a backbone with this metadata gives to a head."""
    if not model.get("weights", {}).get("trained"):
        return "untrained"
    if "tuned" in model:
        return f"tail tuned behind {model['tuned'].get('block')}"
    return "all blocks, frozen head" if model.get("features") == "all-blocks" else "frozen head"


def _judged(found: Evaluation) -> Baseline:
    return Baseline("majority class", "", found.images, found.accuracy, found.accuracy_interval, found.log_loss)
