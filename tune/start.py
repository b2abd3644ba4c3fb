"""The start of a tuning: rows to train on, rows that choose the epoch, and a head on the untuned tail."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.fitting import FitPlan, fit
from headstart.classify.heads.layers import Layer
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import logits_of, to_layers
from headstart.classify.split.classes import with_trainable_classes
from headstart.classify.split.duplicates import find_duplicates
from headstart.classify.split.folds import draw_folds
from headstart.classify.split.holdout import Split, split_rows
from headstart.extract.inference.model import Model
from headstart.extract.pipeline import embed
from headstart.extract.store.store import Store
from headstart.files.cores import machine_memory
from headstart.files.errors import OutputError
from headstart.tune.batches import Rows
from headstart.tune.errors import TuneError
from headstart.tune.fitting import evaluate
from headstart.tune.recipe import Recipe

CHOOSING = 10
"""One in this many training images chooses the epoch instead."""
FROZEN = ".frozen"


@dataclass(frozen=True)
class Start:
    """What a tuning starts from.

    Attributes
    ----------
    train, held_out
        The rows to train on, and those that choose the epoch.
    head
        A head on the untuned tail, fitted to `train`.
    frozen
        Its log loss (nats) and accuracy (0..1) on `held_out`.
    """

    train: Rows
    held_out: Rows
    head: Layer
    frozen: tuple[float, float]


def prepare(
    store: Store, trunk: Model, output: Path, recipe: Recipe, holdout: float, min_photos: int | None = None
) -> Start:
    """Divide the rows as `headstart.classify.train` would, and fit a linear head to the untuned tail.

    Parameters
    ----------
    output
        The backbone to be written; the embeddings of the untuned tail lie beside it meanwhile.
    """
    with _folder_beside(output) as folder:
        embeddings, _ = embed(store, trunk, folder / "frozen.h5")
        groups = find_duplicates(embeddings).group_of_rows(len(embeddings))
        embeddings = with_trainable_classes(embeddings, groups, min_photos)
        store = store.with_classes(embeddings.classes)
        split = split_rows(embeddings, holdout, recipe.seed, groups)
        chooses = _chooses_epoch(embeddings, split)
        train, held_out = np.flatnonzero(~chooses), split.train[chooses]
        options = HeadOptions(class_weight=recipe.class_weight, seed=recipe.seed)
        fitted = fit(embeddings, split.take(train), FitPlan("logreg", options, machine_memory() / 2))
        logits = logits_of(fitted.head, embeddings.embeddings(held_out))
        frozen = evaluate(logits, embeddings.labels[held_out])[:2]
        (head,) = to_layers(fitted.head)
        return Start(Rows(store, split.train[train]), Rows(store, held_out), head.uncentred(), frozen)


@contextmanager
def _folder_beside(output: Path) -> Iterator[Path]:
    """Provide an empty folder beside an output whose lock is held; remnants of a killed run are deleted first."""
    folder = output.with_name(f".{output.name}{FROZEN}")
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be created: {error.strerror or error}; delete it") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _chooses_epoch(store: Store, split: Split) -> NDArray[np.bool_]:
    """Tell which rows of ``split.train`` choose the epoch, bool (n,): one fold of them."""
    held_out: NDArray[np.bool_] = draw_folds(store.labels[split.train], split.draws, CHOOSING) == 0
    if not held_out.any():
        raise TuneError(f"{store.location}: has too few images per class to hold some out; add more")
    return held_out
