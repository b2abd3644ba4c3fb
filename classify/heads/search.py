"""Which head, and how strongly penalised: candidates compared by cross-validation on the training rows alone."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.candidate import Candidate, Search
from headstart.classify.heads.kinds import HeadKind
from headstart.classify.heads.layers import FittedHead
from headstart.classify.heads.options import BUDGET, HeadOptions
from headstart.classify.heads.registry import AUTO, DEFAULT_HEAD, HEADS, find_kind, logits_of
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.split.folds import rank_within_class

SEARCHED_ROWS = 10_000
"""Of more images than this, a sample is searched; the chosen head is then fitted to all of them."""
SURELY_SEARCHED = 10
"""The sample holds this many images of each class, if there are so many."""


def search_head(
    name: str | HeadKind, rows: TrainingRows, options: HeadOptions, *, of: int | None = None,
    untried: Mapping[str, str] = MappingProxyType({}),
) -> Search:  # fmt: skip
    """Compare the settings of a head by out-of-fold log loss; with ``auto``, then the heads after calibration.

    If `rows` are a sample themselves, `of` is the number of rows that they were drawn from. `untried` are the heads
    that ``auto`` cannot use, with reasons.
    """
    if not rows.fold_count:
        return _unsearched(find_kind(DEFAULT_HEAD if name == AUTO else name), rows, options)
    images = searched_sample(rows.labels, options.seed)
    sample = rows.take(images) if len(images) < len(rows) else rows
    whole = of or len(rows)
    kinds, beyond = _within_budget(sample, options, untried) if name == AUTO else ([find_kind(name)], {})
    searches = [replace(kind.search(kind, sample, options, whole / len(sample)), kind=kind) for kind in kinds]
    best = replace(Search.best_of_heads(searches), untried={**untried, **beyond}) if name == AUTO else searches[0]
    return replace(best, images=images, reason=_reason(best, len(sample) < whole))


def _within_budget(
    rows: TrainingRows, options: HeadOptions, untried: Mapping[str, str]
) -> tuple[list[HeadKind], dict[str, str]]:
    """Take heads by their cost, the cheapest always; also say why the others are not tried."""
    left = budget = BUDGET if options.budget is None else options.budget
    n, d = rows.embeddings.shape
    costs = {kind.name: kind.cost(n, d, rows.classes, options) for kind in HEADS.values() if kind.name not in untried}
    names: list[str] = []
    beyond: dict[str, str] = {}
    for name in sorted(costs, key=costs.__getitem__):
        if names and costs[name] > left:
            beyond[name] = f"about {costs[name]:.3g} s, {max(left, 0):.3g} s of the budget of {budget:.3g} s left"
        else:
            names.append(name)
            left -= costs[name]
    return [HEADS[name] for name in names], beyond


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
    chosen, count, heads = best.chosen, len(best.candidates), len(best.contenders)
    least = f"has the least log loss of {count} settings" if count > 1 else "has the log loss"
    if heads > 1:
        least = f"has the least calibrated log loss of {heads} heads ({count} settings)"
    loss = best.calibrated_loss if heads > 1 else chosen.log_loss
    sample = f" on a sample of {len(best.rows)} images" if is_sample else ""
    return f"{chosen.words} {least} in {best.folds}-fold cross-validation{sample}: {loss:.4f}{_untried_words(best)}"


def _untried_words(search: Search) -> str:
    """Return which heads were not tried, and why, in words; nothing if all were."""
    said = [f"{name} ({reason})" for name, reason in search.untried.items()]
    return f"; not tried: {', '.join(said)}" if said else ""
