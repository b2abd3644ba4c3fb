"""Which head, and how strongly penalised: candidates compared by cross-validation on the training rows alone."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.candidate import Candidate
from headstart.classify.heads.kinds import HeadKind, Search
from headstart.classify.heads.layers import FittedHead
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import AUTO, HEADS, find_kind, logits_of
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.split.folds import rank_within_class

SEARCHED_ROWS = 10_000
"""Of more images than this, a sample is searched; the chosen head is then fitted to all of them."""
SURELY_SEARCHED = 10
"""The sample holds this many images of each class, if there are so many."""


def search_head(name: str | HeadKind, rows: TrainingRows, options: HeadOptions, *, of: int | None = None) -> Search:
    """Compare the settings of a head, or with ``auto`` of all heads; the least out-of-fold log loss wins.

    If `rows` are a sample themselves, `of` is the number of rows that they were drawn from.
    """
    kinds = list(HEADS.values()) if name == AUTO else [find_kind(name)]
    if not rows.fold_count:
        return _unsearched(kinds[0], rows, options)
    images = searched_sample(rows.labels, options.seed)
    sample = rows.take(images) if len(images) < len(rows) else rows
    whole = of or len(rows)
    searches = [replace(kind.search(kind, sample, options, whole / len(sample)), kind=kind) for kind in kinds]
    best = Search.best_of(searches)
    return replace(best, images=images, reason=_reason(best, len(sample) < whole))


def search_of_tuned(kind: HeadKind, head: FittedHead, rows: TrainingRows) -> Search:
    """Evaluate a head that was tuned together with the tail of its backbone on images that neither has seen."""
    logits = np.where(rows.folds[:, None] >= 0, logits_of(head, rows.embeddings), np.nan)
    candidate = Candidate(kind.name, {}, *rows.judge(logits))
    reason = f"{kind.name} as it was tuned with the tail: log loss {candidate.log_loss:.4f} on images held out of that"
    return replace(Search.of_one(candidate, rows, logits, reason), kind=kind)


def searched_sample(labels: NDArray[np.int32], seed: int) -> NDArray[np.int64]:
    """Pick the images that are searched: at most `SEARCHED_ROWS`."""
    return sample_rows(labels, SEARCHED_ROWS, seed)


def sample_rows(labels: NDArray[np.int32], count: int, seed: int) -> NDArray[np.int64]:
    """Pick at most `count` of n images, int64, rising: at least some of every class, the rest at random."""
    if len(labels) <= count:
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    rank = rank_within_class(labels, rng.permutation(len(labels)))
    return np.sort(np.lexsort([rng.permutation(len(labels)), np.minimum(rank, SURELY_SEARCHED)])[:count])


def _unsearched(kind: HeadKind, rows: TrainingRows, options: HeadOptions) -> Search:
    chosen = Candidate(kind.name, kind.settings(options), float("nan"), float("nan"))
    logits = np.full((len(rows), rows.classes), np.nan)
    reason = "no class has two different images to compare settings on"
    return Search([], chosen, 0, reason, np.arange(len(rows)), rows, logits, kind=kind)


def _reason(best: Search, is_sample: bool) -> str:
    chosen, count = best.chosen, len(best.candidates)
    least = f"has the least log loss of {count} settings" if count > 1 else "has the log loss"
    sample = f" on a sample of {len(best.rows)} images" if is_sample else ""
    return f"{chosen.words} {least} in {best.folds}-fold cross-validation{sample}: {chosen.log_loss:.4f}"
