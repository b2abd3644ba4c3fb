"""Search and fit: in memory, by passes over the store, or with the head that came with a tuned backbone."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import HeadError
from headstart.classify.heads.candidate import Search
from headstart.classify.heads.kinds import AnyHead, HeadKind
from headstart.classify.heads.layers import FittedHead
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.prior import fit_with_prior, kind_with_prior
from headstart.classify.heads.registry import AUTO, HEADS, find_kind
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.heads.search import search_head, search_of_tuned, searched_sample
from headstart.classify.heads.tuned import tuned_head
from headstart.classify.split.holdout import Split
from headstart.extract.store.store import Store

COPIES = 3
"""How many copies of the embeddings are in memory, as float32, while a head is fitted without streaming: those that
were read, the standardised ones, and an intermediate result."""
BLOCK_BYTES = 32 << 20
MOST_JUDGED = 20_000
"""On so many images the accuracy is known to half a point, and they are in memory at once."""


@dataclass(frozen=True)
class FitPlan:
    """What to fit.

    Attributes
    ----------
    head
        A name of `headstart.classify.HEADS`, ``"auto"``, or the record of another head.
    options
        Its options.
    memory
        Bytes that embeddings may take.
    false_alarms
        Share of known images that may be marked unknown; 0 marks none.
    precision
        Class name -> share of its answers that must be right (see `headstart.classify.confidence.precision`).
    """

    head: str | HeadKind
    options: HeadOptions
    memory: float
    false_alarms: float = 0.0
    precision: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Fitted:
    """A head that was chosen and fitted.

    Attributes
    ----------
    search, head, options
        What was compared; the fitted head; its options, including the chosen ones.
    split
        The rows that it was fitted on, and those to evaluate it on.
    warnings
        How this differs from a fit and an evaluation with all images in memory, in words.
    seconds
        Wall time of search and fit.
    is_tuned
        Whether the head came with the backbone, tuned with its tail, and was only evaluated.
    images
        How many images such a head was tuned on; None for one that was fitted to `split.train`.
    """

    search: Search
    head: AnyHead = field(repr=False)
    options: HeadOptions
    split: Split
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    is_tuned: bool = False
    images: int | None = None

    @property
    def trained_images(self) -> int:
        """How many images the head was fitted on."""
        return len(self.split.train) if self.images is None else self.images


def fit(store: Store, split: Split, plan: FitPlan) -> Fitted:
    """Choose and fit a head on the training rows of a split.

    Raises
    ------
    HeadError
        If the head is unknown, or needs more memory than the plan allows.
    """
    started = time.monotonic()
    fits = [strategy(store, split, plan) for strategy in _strategies(store, split, plan)]
    best = min(fits, key=lambda fitted: fitted.search.calibrated_loss)
    search = best.search if len(fits) == 1 else Search.best_of_heads([fitted.search for fitted in fits])
    return replace(best, search=search, seconds=time.monotonic() - started)


def _strategies(store: Store, split: Split, plan: FitPlan) -> list[Callable[[Store, Split, FitPlan], Fitted]]:
    """Decide how to fit, if in several ways then to compare them; this is the only place that does."""
    anew = _fit_in_memory if bytes_needed(store, split) <= plan.memory else _fit_streamed
    weighted = store.header.model.get("tuned", {}).get("recipe", {}).get("class_weight", "none")
    # A head that was tuned without class weights cannot be given them afterwards: it is fitted anew.
    as_tuned = not plan.options.given and plan.options.class_weight in ("none", weighted)
    for kind in HEADS.values() if split.fresh is not None and as_tuned else ():
        if kind.from_weights and plan.head in (AUTO, kind.name):
            head = tuned_head(store, kind, plan.options)
            if head is not None:
                tuned = partial(_take_tuned, kind, head)
                return [tuned, anew] if plan.head == AUTO else [tuned]
    return [anew]


def bytes_needed(store: Store, split: Split) -> int:
    """Return the memory that fitting and evaluating takes without streaming, besides the store's other columns."""
    return COPIES * 4 * store.header.dim * (len(split.train) + len(split.test))


def training_rows(store: Store, split: Split) -> TrainingRows:
    """Read the training rows of a split."""
    labels = store.labels[split.train]
    return TrainingRows(store.embeddings(split.train), labels, split.folds(labels), len(store.classes))


def _fit_in_memory(store: Store, split: Split, plan: FitPlan) -> Fitted:
    search, head, options = fit_rows(training_rows(store, split), plan.head, plan.options)
    return Fitted(search, head, options, split)


def fit_rows(rows: TrainingRows, head: str | HeadKind, options: HeadOptions) -> tuple[Search, AnyHead, HeadOptions]:
    """Search, or take the prior if rows are few; fit the chosen setting to all rows, and give the options with it."""
    if own := kind_with_prior(head, rows):
        return fit_with_prior(own, rows, options)
    search = search_head(head, rows, options)
    options, kind = replace(options, **search.chosen.settings), search.kind or find_kind(search.chosen.head)
    return search, kind.fit(kind, search, rows, options), options


def _fit_streamed(store: Store, split: Split, plan: FitPlan) -> Fitted:
    """Search on a sample of the training images, and fit the chosen setting to all of them, read block by block."""
    untried = {kind.name: "needs all embeddings in memory" for kind in HEADS.values() if kind.fit_blocks is None}
    kind = None if plan.head == AUTO else find_kind(plan.head)
    if kind is not None and kind.fit_blocks is None:
        *streamed, last = [kind.name for kind in HEADS.values() if kind.fit_blocks]
        raise HeadError(
            f"head {kind.name!r} needs all embeddings in memory, "
            f"{bytes_needed(store, split) / 1e9:.1f} GB, more than --memory-gb allows; allow more, or use "
            f"--head {', '.join(streamed)} or {last}"
        )
    labels = store.labels[split.train]
    images = searched_sample(labels, plan.options.seed)
    sample = training_rows(store, split.take(images))
    search = replace(search_head(plan.head, sample, plan.options, of=len(labels), untried=untried), images=images)
    options = replace(plan.options, **search.chosen.settings)

    def blocks() -> Iterator[tuple[slice, NDArray[np.float32]]]:
        size = max(1, BLOCK_BYTES // (4 * store.header.dim))
        for start in range(0, len(labels), size):
            part = slice(start, min(start + size, len(labels)))
            yield part, store.embeddings(split.train[part])

    chosen: Any = search.kind or find_kind(search.chosen.head)
    head = chosen.fit_blocks(search, blocks, labels, options)
    note = (
        f"the embeddings do not fit in {plan.memory / 1e9:.1f} GB: settings were searched for on a sample, and the "
        f"head fitted on all {len(labels)} images by passes over the store"
    )
    evaluated, warnings = _evaluated_sample(store, split, options.seed)
    return Fitted(search, head, options, evaluated, [note, *warnings])


def _take_tuned(kind: HeadKind, head: FittedHead, store: Store, split: Split, plan: FitPlan) -> Fitted:
    """Use the head that was tuned with the tail, evaluated on at most as many images as fit in memory."""
    warnings: list[str] = []
    if bytes_needed(store, split) > plan.memory:
        searched = split.take(searched_sample(store.labels[split.train], plan.options.seed))
        split, warnings = _evaluated_sample(store, searched, plan.options.seed)
    search = search_of_tuned(kind, head, training_rows(store, split))
    tuned = store.header.model["tuned"]
    options = replace(plan.options, class_weight=tuned.get("recipe", {}).get("class_weight", "none"))
    return Fitted(search, head, options, split, warnings, is_tuned=True, images=int(tuned["images"]))


def _evaluated_sample(store: Store, split: Split, seed: int) -> tuple[Split, list[str]]:
    """Return the split with at most `MOST_JUDGED` images to evaluate on, and a warning if it has fewer now.

    They are drawn at random, as accuracy and log loss are means over images: a sample with as many images of every
    class would tell the means over classes.
    """
    if len(split.test) <= MOST_JUDGED:
        return split, []
    chosen = np.sort(np.random.default_rng(seed).permutation(len(split.test))[:MOST_JUDGED])
    warning = f"evaluated on a random sample of {len(chosen)} of {len(split.test)} images"
    return replace(split, test=split.test[chosen]), [warning]
