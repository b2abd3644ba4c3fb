"""The rows that a head is fitted on: embeddings, labels, and the folds in which they take turns to be held out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

ALWAYS_TRAINED = -1
"""The fold of images that are never held out, because their class has too few."""


def draw_folds(labels: NDArray[np.int32], draws: NDArray[np.float64], most: int = 5) -> NDArray[np.int64]:
    """Deal images into folds, of each class the same share; equal draws (copies of one image) into one fold.

    Parameters
    ----------
    labels
        (n,): class codes.
    draws
        float64, (n,): a random number for each image; copies have the same.
    most
        Folds, where every class has as many different images; at least two.

    Returns
    -------
    int64, (n,): 0..folds-1; `ALWAYS_TRAINED` for images of a class that has but one.
    """
    folds = np.full(len(labels), ALWAYS_TRAINED, np.int64)
    judged = ~is_contradictory(labels, draws)
    ranks = {}
    for code in np.unique(labels[judged]):
        values, rank = np.unique(draws[judged & (labels == code)], return_inverse=True)
        if len(values) > 1:
            ranks[code] = rank
    count = max(2, min([most, *(int(rank.max()) + 1 for rank in ranks.values())]))
    for code, rank in ranks.items():
        folds[judged & (labels == code)] = rank % count
    return folds


def is_contradictory(labels: NDArray[np.int32], draws: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which images, bool (n,), have a copy (an equal draw) under another label: nobody can judge on those."""
    _, number = np.unique(draws, return_inverse=True)
    contents = number.max(initial=-1) + 1
    least, most = np.full(contents, np.iinfo(np.int32).max), np.full(contents, -1)
    np.minimum.at(least, number, labels)
    np.maximum.at(most, number, labels)
    result: NDArray[np.bool_] = (least != most)[number]
    return result


def spread_over_classes(labels: NDArray[np.int32], count: int, seed: int) -> NDArray[np.int64]:
    """Pick at most `count` row numbers at random, as many of each class as there are; rising."""
    rank = rank_within_class(labels, np.random.default_rng(seed).permutation(len(labels)))
    return np.sort(np.argsort(rank, kind="stable")[:count])


def rank_within_class(labels: NDArray[np.int32], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give each image its number within its class, 0, 1, ..., in the order given; int64, (n,)."""
    rank = np.empty(len(labels), np.int64)
    for code in np.unique(labels):
        mine = order[labels[order] == code]
        rank[mine] = np.arange(len(mine))
    return rank
