"""The rows that a head is fitted on: embeddings, labels and cross-validation folds."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.loss import log_loss, softmax
from headstart.classify.split.folds import are_few

ROWS_PER_BLOCK = 4096
"""20 MB of embeddings with 1,280 numbers."""


def blocks_of(embeddings: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Divide rows into views of about `ROWS_PER_BLOCK`, so that intermediate results take little memory."""
    return np.array_split(embeddings, max(1, -(-len(embeddings) // ROWS_PER_BLOCK)))


@dataclass(frozen=True)
class TrainingRows:
    """n labelled images.

    Attributes
    ----------
    embeddings
        float32, (n, d).
    labels
        (n,): class codes 0..k-1, all of them present.
    folds
        int64, (n,): 0..f-1, or `ALWAYS_TRAINED`. Copies of one image share a fold.
    classes
        k.
    """

    embeddings: NDArray[np.float32] = field(repr=False)
    labels: NDArray[np.int32] = field(repr=False)
    folds: NDArray[np.int64] = field(repr=False)
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def fold_count(self) -> int:
        """Number of folds; 0 if no image is ever held out."""
        return int(self.folds.max(initial=-1)) + 1

    @property
    def are_few(self) -> bool:
        """Whether they are too few to compare settings on, or only one class is ever held out."""
        return are_few(len(self), self.classes) or len(np.unique(self.labels[self.folds >= 0])) < 2

    def take(self, which: NDArray[Any]) -> "TrainingRows":
        """Return some of the images, by number or by a mask."""
        return TrainingRows(self.embeddings[which], self.labels[which], self.folds[which], self.classes)

    def judge(self, logits: NDArray[np.floating]) -> tuple[float, float]:
        """Return log loss (nats) and accuracy of out-of-fold logits, (n, k), over the images that were held out."""
        held_out = self.folds >= 0
        labels = self.labels[held_out]
        right = logits[held_out].argmax(axis=1) == labels
        return log_loss(softmax(logits[held_out]), labels), float(right.mean())
