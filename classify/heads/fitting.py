"""Search and fit, in memory or by passes over the store, whichever the memory allows."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from headstart.classify.errors import LabelError
from headstart.classify.heads.kinds import HeadOptions, fit_head, make_head
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.heads.search import Search, refined, search_head, search_of_given
from headstart.classify.heads.streaming import bytes_needed, fit_streamed, judged_sample, sampled_for_search
from headstart.classify.heads.tuned import tuned_head
from headstart.classify.split.holdout import Split
from headstart.extract.store.store import Store, open_store


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
    seconds
        Wall time of search and fit.
    is_given
        Whether the head came with the backbone, tuned with its tail, and was only judged.
    """

    search: Search
    head: Any = field(repr=False)
    options: HeadOptions
    split: Split
    warnings: list[str]
    seconds: float
    is_given: bool = False


def fit(table: Store, split: Split, head: str, options: HeadOptions, memory: float) -> Fitted:
    """Choose and fit a head on the training images of a split, in so many bytes of memory."""
    started = time.monotonic()
    if split.fresh is not None and head == "logreg" and options.c is None:
        given = tuned_head(table, options)
        if given is not None:
            return _judged(given, table, split, options, memory)
    if bytes_needed(table, split) <= memory:
        fitted = fit_chosen(training_rows(table, split), head, options)
        return Fitted(*fitted, split, [], time.monotonic() - started)
    fitted, sample = fit_streamed(table, split, head, options), judged_sample(table, split, options.seed)
    return Fitted(*fitted, sample, list(_told(sample, len(split.test), memory)), time.monotonic() - started)


def _judged(given: Any, table: Store, split: Split, options: HeadOptions, memory: float) -> Fitted:
    """Take the head that was tuned with the tail as it is, judged on at most as many images as fit in memory."""
    started, warnings = time.monotonic(), []
    if bytes_needed(table, split) > memory:
        offered = len(split.test)
        split = judged_sample(table, sampled_for_search(table, split, options.seed), options.seed)
        warnings = list(_told_of_sample(split, offered))
    search = search_of_given(given, training_rows(table, split))
    return Fitted(search, given, options, split, warnings, time.monotonic() - started, is_given=True)


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


def opened_store(store: str | os.PathLike[str] | Store) -> Store:
    """Open a store, if it is not open already."""
    return store if isinstance(store, Store) else open_store(store)


def opened_embeddings(store: str | os.PathLike[str] | Store) -> Store:
    """Open a store of embeddings.

    Raises
    ------
    LabelError
        Where it holds the tensors of a network that is cut.
    """
    table = opened_store(store)
    if len(table.header.shape) > 1:
        shape = " x ".join(map(str, table.header.shape))
        raise LabelError(
            f"{table.location}: expected a store of embeddings, found one of tensors ({shape}); carry them "
            f"through a tail "
            f"first, perhaps one of `headstart tune`: headstart embed {table.location} --model BACKBONE -o "
            f"embeddings.h5"
        )
    return table


def opened_untrained(store: str | os.PathLike[str] | Store | None) -> Store | None:
    """Open a store of embeddings that an untrained backbone made.

    Raises
    ------
    LabelError
        Where a trained one did, or it holds tensors.
    """
    if store is None:
        return None
    other = opened_embeddings(store)
    if other.header.model.get("weights", {}).get("trained"):
        raise LabelError(
            f"{other.location}: expected a store by an untrained backbone, found a trained one; make one with "
            "`headstart export --weights random` and embed the same images with it"
        )
    return other


def _told(split: Split, offered: int, memory: float) -> Iterator[str]:
    yield (
        f"the embeddings do not fit in {memory / 1e9:.1f} GB: the penalty was searched for on a sample, and the head "
        f"fitted on all {len(split.train)} images by passes over the store"
    )
    yield from _told_of_sample(split, offered)


def _told_of_sample(split: Split, offered: int) -> Iterator[str]:
    if len(split.test) < offered:
        yield f"judged on a sample of {len(split.test)} of {offered} images"
