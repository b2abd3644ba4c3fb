"""Search and fit, in memory or by passes over the store, whichever the memory allows; and the untrained baseline."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from classify.errors import LabelError
from classify.heads import HeadOptions, fit_head, make_head
from classify.rows import TrainingRows, draw_folds
from classify.search import Search, logits_of, refined, search_head
from classify.splitting import Split
from classify.streaming import bytes_needed, fit_streamed, judged_sample, sampled_for_search
from extract.store import Store, open_store


@dataclass(frozen=True)
class Fitted:
    """A head that was chosen and fitted.

    Attributes
    ----------
    search, head, options
        What was compared; the fitted scikit-learn pipeline; its options, the chosen ones among them.
    split
        What it was fitted on, and what it is to be judged on.
    warnings
        How this differs from a fit on, and a judgement by, all images in memory, in words.
    """

    search: Search
    head: Any = field(repr=False)
    options: HeadOptions
    split: Split
    warnings: list[str]

    @property
    def is_streamed(self) -> bool:
        """Whether the embeddings did not fit in memory."""
        return bool(self.warnings)


def fit(table: Store, split: Split, head: str, options: HeadOptions, memory: float) -> Fitted:
    """Choose and fit a head on the training images of a split, in so many bytes of memory."""
    if bytes_needed(table, split) <= memory:
        return Fitted(*fit_chosen(training_rows(table, split), head, options), split, [])
    fitted, sample = fit_streamed(table, split, head, options), judged_sample(table, split, options.seed)
    return Fitted(*fitted, sample, list(_told(sample, len(split.test), memory)))


def training_rows(table: Store, split: Split) -> TrainingRows:
    """Give what a split trains on."""
    labels = table.labels[split.train]
    return TrainingRows(table.embeddings(split.train), labels, split.folds(labels), len(table.classes))


def fit_chosen(rows: TrainingRows, head: str, options: HeadOptions) -> tuple[Search, Any, HeadOptions]:
    """Search, fit the chosen setting on all rows, and give the options that were chosen."""
    search = search_head(head, rows, options)
    options = replace(options, c=search.chosen.c)
    start = refined(search, rows, options)
    return (
        search,
        fit_head(make_head(search.chosen.head, options), rows.embeddings, rows.labels, options, start),
        options,
    )


def untrained_accuracy(table: Store, other: Store, fitted: Fitted, head: str) -> float:
    """Give the accuracy on the same images of a head that is trained on another store of the same images.

    Where the embeddings do not fit in memory, it is trained on a sample.

    Raises
    ------
    LabelError
        Where an image is missing from the other store.
    """
    split, options = fitted.split, fitted.options
    if fitted.is_streamed:
        split = sampled_for_search(table, split, options.seed)
    row_of = {path: row for row, path in enumerate(other.rows.path.tolist()) if other.is_embedded[row]}
    paths = table.rows.path.tolist()
    missing = [paths[row] for row in (*split.train, *split.test) if paths[row] not in row_of]
    if missing:
        raise LabelError(
            f"{other.place}: expected the same images as {table.place}, but {os.fsdecode(missing[0])} is not among "
            "them; embed the same folder with both backbones"
        )
    train, test = (np.array([row_of[paths[row]] for row in side]) for side in (split.train, split.test))
    labels = table.labels[split.train]
    folds = draw_folds(labels, split.draws)
    rows = TrainingRows(other.embeddings(train), labels, folds, len(table.classes))
    _, fitted, _ = fit_chosen(rows, head, replace(options, c=None))
    answers = logits_of(fitted, other.embeddings(test)).argmax(axis=1)
    return float((answers == table.labels[split.test]).mean())


def opened(store: str | os.PathLike[str] | Store) -> Store:
    """Open a store, if it is not open already."""
    return store if isinstance(store, Store) else open_store(store)


def opened_embeddings(store: str | os.PathLike[str] | Store) -> Store:
    """Open a store that heads can be fitted to.

    Raises
    ------
    LabelError
        Where it holds what a network gives at a cut.
    """
    found = opened(store)
    if found.header.output != "embedding":
        raise LabelError(
            f"{found.place}: holds what a network gives at a cut, and no embeddings: tune with `headstart tune`, then "
            "carry it through the tail with `headstart embed`"
        )
    return found


def opened_untrained(store: str | os.PathLike[str] | Store | None) -> Store | None:
    """Open a store that an untrained backbone made.

    Raises
    ------
    LabelError
        Where a trained one did.
    """
    if store is None:
        return None
    other = opened_embeddings(store)
    if other.header.model.get("weights", {}).get("trained"):
        raise LabelError(
            f"{other.place}: expected a store by an untrained backbone, found a trained one; make one with "
            "`headstart export --weights random` and embed the same images with it"
        )
    return other


def _told(split: Split, offered: int, memory: float) -> Iterator[str]:
    yield (
        f"the embeddings do not fit in {memory / 1e9:.1f} GB: the penalty was searched for on a sample, and the head "
        f"fitted on all {len(split.train)} images by passes over the store"
    )
    if len(split.test) < offered:
        yield f"judged on a sample of {len(split.test)} of {offered} images"
