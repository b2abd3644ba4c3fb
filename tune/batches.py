"""Cached tensors as batches to train on, read from the store a batch at a time: memory does not grow with the rows."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.extract.store.store import Store
from headstart.tune.recipe import Recipe

Batch = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Tensors, (n, h, w, c), and the share of each class in them, (n, k), which sum to the weight of the image."""


@dataclass(frozen=True)
class Rows:
    """Labelled rows of a store of tensors.

    Attributes
    ----------
    store
        Rows of (h, w, c), or (v, h, w, c) of several views.
    numbers
        int64, (n,): which of its rows.
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
        """Give every row once, in an order and views that depend on the seed and the epoch alone, mixed by pairs.

        Parameters
        ----------
        weights
            float32, (k,): how much an image of each class counts.
        """
        rng = np.random.default_rng((recipe.seed, number))
        order = rng.permutation(len(self))
        size = min(recipe.batch_size, len(self))
        shares = np.diag(weights).astype(np.float32)
        chosen = (np.sort(order[start : start + size]) for start in range(0, len(self) - size + 1, size))
        for which, tensors in read_ahead(self, chosen):
            if tensors.ndim == 5:
                tensors = tensors[np.arange(len(which)), rng.integers(0, tensors.shape[1], len(which))]
            truth = shares[self.labels[which]]
            if recipe.mixup:
                share, partner = np.float32(rng.beta(recipe.mixup, recipe.mixup)), rng.permutation(len(which))
                tensors = share * tensors + (1 - share) * tensors[partner]
                truth = share * truth + (1 - share) * truth[partner]
            yield tensors, truth

    def in_order(self, size: int = 16) -> Iterator[NDArray[np.float32]]:
        """Give the tensors of all rows and views, (n, v, h, w, c), in order."""
        chosen = (np.arange(start, min(start + size, len(self))) for start in range(0, len(self), size))
        for _, tensors in read_ahead(self, chosen):
            yield tensors if tensors.ndim == 5 else tensors[:, None]


def read_ahead(
    rows: Rows, chosen: Iterable[NDArray[np.int64]]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """Read the tensors of one batch while the one before it is used."""
    with ThreadPoolExecutor(1, thread_name_prefix="read") as pool:
        before = None
        for which in chosen:
            reading = pool.submit(rows.store.embeddings, rows.numbers[which])
            if before is not None:
                yield before[0], before[1].result()
            before = which, reading
        if before is not None:
            yield before[0], before[1].result()
