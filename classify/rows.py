"""The rows that a head is fitted on: embeddings, labels, and the folds in which they take turns to be held out."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.calibration import log_loss, softmax

ALWAYS_TRAINED = -1
"""The fold of images that are never held out, because their class has too few."""

ROWS_A_BLOCK = 4096
"""20 MB of the usual 1,280 numbers."""


def blocks_of(embeddings: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Divide rows into views of some `ROWS_A_BLOCK`, so that what is computed of them is never in memory for all."""
    return np.array_split(embeddings, max(1, -(-len(embeddings) // ROWS_A_BLOCK)))


@dataclass(frozen=True)
class TrainingRows:
    """n labelled images.

    Attributes
    ----------
    embeddings
        float32, (n, d).
    labels
        (n,): class codes 0..k-1, every one of them present.
    folds
        int64, (n,): 0..f-1, or `ALWAYS_TRAINED`. Copies of one image are in one fold.
    classes
        k.
    """

    embeddings: NDArray[np.float32] = field(repr=False)
    labels: NDArray[np.int32] = field(repr=False)
    folds: NDArray[np.int64] = field(repr=False)
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, which: NDArray[Any]) -> "TrainingRows":
        """Give some of the images, by number or by a mask."""
        return TrainingRows(self.embeddings[which], self.labels[which], self.folds[which], self.classes)

    def judge(self, logits: NDArray[np.floating]) -> tuple[float, float]:
        """Give log loss (nats) and accuracy of out-of-fold logits, (n, k), over the images that were held out."""
        held_out = self.folds >= 0
        labels = self.labels[held_out]
        right = logits[held_out].argmax(axis=1) == labels
        return log_loss(softmax(logits[held_out]), labels), float(right.mean())


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
