"""Batches of cached tensors for training, read one at a time: memory does not grow with the number of rows."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.extract.store.store import Store
from headstart.files.threads import in_order
from headstart.tune.recipe import Recipe

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Tensors, (n, h, w, c), and the share of each class in them, (n, k), which sum to the weight of the image."""


@dataclass(frozen=True)
class Rows:
    """Labelled rows of a store of tensors.

    Attributes
    ----------
    store
        Rows of (h, w, c), or with v views (v, h, w, c).
    numbers
        int64, (n,): the numbers of the rows in the store.
    """

    store: Store
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def labels(self) -> NDArray[np.int32]:
        """int32, (n,): class codes."""
        return self.store.labels[self.numbers]

    def epoch(self, number: int, recipe: Recipe, weights: NDArray[np.float32]) -> Iterator[Batch]:
        """Yield every row once, mixed in pairs; order and views depend on the seed and the epoch alone.

        Parameters
        ----------
        weights
            float32, (k,): how much an image of each class counts.
        """
        rng = np.random.default_rng((recipe.seed, number))
        order = rng.permutation(len(self))
        size = min(recipe.batch_size, len(self))
        shares = np.diag(weights).astype(np.float32)
        chosen = [np.sort(order[start : start + size]) for start in range(0, len(self) - size + 1, size)]
        for which, tensors in zip(chosen, self.read(chosen), strict=True):
            if tensors.ndim == 5:
                tensors = tensors[np.arange(len(which)), rng.integers(0, tensors.shape[1], len(which))]
            truth = shares[self.labels[which]]
            if recipe.mixup:
                share, partner = np.float32(rng.beta(recipe.mixup, recipe.mixup)), rng.permutation(len(which))
                tensors = share * tensors + (1 - share) * tensors[partner]
                truth = share * truth + (1 - share) * truth[partner]
            yield tensors, truth

    def all_views(self, size: int = 16) -> Iterator[NDArray[np.float32]]:
        """Yield the tensors of all rows and views, (n, v, h, w, c), in order."""
        for tensors in self.read(np.arange(start, min(start + size, len(self))) for start in range(0, len(self), size)):
            yield tensors if tensors.ndim == 5 else tensors[:, None]

    def read(self, chosen: Iterable[NDArray[np.int64]]) -> Iterator[NDArray[np.float32]]:
        """Read the tensors of each choice of rows while the choice before it is in use."""
        return in_order(lambda which: self.store.embeddings(self.numbers[which]), chosen, workers=1, ahead=1)
