"""Training on more images than fit in memory: the search on a sample, the last fit by passes over the store."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import HeadError
from headstart.classify.heads.axes import Axes
from headstart.classify.heads.kinds import DEFAULT_C, HeadOptions, head_from
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.heads.search import (
    SEARCHED_ROWS,
    Search,
    class_weights,
    penalties,
    sample_rows,
    search_head,
    start_of,
)
from headstart.classify.heads.solver import solve_path
from headstart.classify.split.holdout import Split
from headstart.extract.store.store import Store

COPIES = 4
"""How often the embeddings are in memory, as float32, while a head is fitted without streaming: read, standardised by
the search, standardised by scikit-learn, and the images to judge on."""
BLOCK_BYTES = 32 << 20
TOLERANCE = 2e-4
"""In nats an image: no solver of scikit-learn's comes after."""
MOST_JUDGED = 20_000
"""On as many images the accuracy is known to half a point, and they are in memory at once."""


def bytes_needed(table: Store, split: Split) -> int:
    """Tell how much memory fitting and judging takes where nothing is streamed, besides the table of rows."""
    return COPIES * 4 * table.header.dim * (len(split.train) + len(split.test))


def judged_sample(table: Store, split: Split, seed: int) -> Split:
    """Give the split with at most `MOST_JUDGED` images to judge on."""
    chosen = sample_rows(table.labels[split.test], MOST_JUDGED, seed)
    return replace(split, test=split.test[chosen])


def sampled_for_search(table: Store, split: Split, seed: int) -> Split:
    """Give the split with at most `SEARCHED_ROWS` images to train on."""
    chosen = sample_rows(table.labels[split.train], SEARCHED_ROWS, seed)
    return split.take(chosen)


def fit_streamed(table: Store, split: Split, head: str, options: HeadOptions) -> tuple[Search, Any, HeadOptions]:
    """Search on a sample of the training images, and fit the chosen setting on all of them, read block by block.

    Raises
    ------
    HeadError
        Where the head is not ``logreg``: scikit-learn's network wants all images in memory.
    """
    if head != "logreg":
        raise HeadError(
            f"head {head!r} needs all embeddings in memory, {bytes_needed(table, split) / 1e9:.1f} GB, more than "
            "--memory-gb allows; allow more, or take --head logreg"
        )
    labels, classes = table.labels[split.train], len(table.classes)
    images = sample_rows(labels, SEARCHED_ROWS, options.seed)
    folds = split.take(images).folds(labels[images])
    sample = TrainingRows(table.embeddings(split.train[images]), labels[images], folds, classes)
    search = replace(search_head(head, sample, options, of=len(labels)), images=images)
    options = replace(options, c=search.chosen.c)
    axes = search.axes or Axes.of(sample.embeddings)

    def blocks() -> Iterator[tuple[slice, NDArray[np.float32]]]:
        size = max(1, BLOCK_BYTES // (4 * table.header.dim))
        for start in range(0, len(labels), size):
            part = slice(start, min(start + size, len(labels)))
            yield part, axes.project(table.embeddings(split.train[part]))

    sets = class_weights(labels, classes, options)[None].astype(np.float32)
    grid = penalties((options.c or DEFAULT_C,), 1.0, classes)
    last = search.fits.repeated(-1) if search.fits else None
    fits = next(solve_path(blocks, labels, sets, axes.covariance, grid, classes, start=last, tolerance=TOLERANCE))
    return (
        search,
        head_from(axes.mean, axes.scale, start_of(axes, fits, classes), options, classes, len(labels)),
        options,
    )
