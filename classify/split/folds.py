"""Cross-validation folds, and samples that hold every class."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

ALWAYS_TRAINED = -1
"""The fold number of images that are never held out."""
LEAST_TO_SEARCH, LEAST_PER_CLASS = 50, 5


def are_few(images: int, classes: int) -> bool:
    """Tell whether images are too few to compare settings on: fewer than 10 per class.

    50 images are enough if they are 5 per class.

    Parameters
    ----------
    images
        How many images there are.
    classes
        How many classes they belong to.
    """
    return images < min(2 * LEAST_PER_CLASS * classes, max(LEAST_TO_SEARCH, LEAST_PER_CLASS * classes))


def draw_folds(labels: NDArray[np.int32], draws: NDArray[np.float64], most: int = 5) -> NDArray[np.int64]:
    """Deal images into folds with the same share of each class; equal draws (duplicates) into one fold.

    Parameters
    ----------
    labels
        (n,): class codes.
    draws
        float64, (n,): a random number per image, the same for duplicates.
    most
        Most folds; there are fewer only if there are fewer different images to hold out. A class with fewer images
        than folds is in some of them, and trained on in all others. If images are few (`are_few`), a fold takes one of
        each class, and there are at most as many folds as the largest class has images.

    Returns
    -------
    int64, (n,): 0..folds-1; `ALWAYS_TRAINED` for the only image of a class, and for contradictory ones.
    """
    folds = np.full(len(labels), ALWAYS_TRAINED, np.int64)
    eligible = ~is_contradictory(labels, draws)
    ranks = {
        code: np.unique(draws[eligible & (labels == code)], return_inverse=True)[1]
        for code in np.unique(labels[eligible])
    }
    sizes = {code: int(rank.max()) + 1 for code, rank in ranks.items() if rank.any()}
    # One photo less of two changes what a head thinks of the class beside the others, so all classes lose one.
    few, dealt = are_few(sum(sizes.values()), len(sizes)), 0
    count = max(2, min(most, max(sizes.values(), default=0) if few else sum(sizes.values())))
    for code, size in sizes.items():
        folds[eligible & (labels == code)] = (ranks[code] + dealt) % count
        # Each class goes on dealing where the last one stopped, so that no fold collects the rare ones.
        dealt += 0 if few else size
    return folds


def is_contradictory(labels: NDArray[np.int32], draws: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which images, bool (n,), have a duplicate (an equal draw) under another label."""
    _, number = np.unique(draws, return_inverse=True)
    contents = number.max(initial=-1) + 1
    least, most = np.full(contents, np.iinfo(np.int32).max), np.full(contents, -1)
    np.minimum.at(least, number, labels)
    np.maximum.at(most, number, labels)
    result: NDArray[np.bool_] = (least != most)[number]
    return result


def spread_over_classes(labels: NDArray[np.int32], count: int, seed: int) -> NDArray[np.int64]:
    """Pick at most `count` row numbers at random, as evenly over the classes as possible; rising."""
    rank = rank_within_class(labels, np.random.default_rng(seed).permutation(len(labels)))
    return np.sort(np.argsort(rank, kind="stable")[:count])


def rank_within_class(labels: NDArray[np.int32], order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the images of each class the numbers 0, 1, ... in the given order; int64, (n,)."""
    rank = np.empty(len(labels), np.int64)
    for code in np.unique(labels):
        members = order[labels[order] == code]
        rank[members] = np.arange(len(members))
    return rank
