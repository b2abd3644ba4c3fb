"""What a tuning begins with: rows to train on, others that choose the epoch, and a head on the tail as it is."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from headstart.classify.confidence.calibration import fit_temperature
from headstart.classify.heads.fitting import FitPlan, fit
from headstart.classify.heads.kinds import logits_of
from headstart.classify.heads.loss import log_loss, softmax
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import to_layers
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
from headstart.tune.fitting import Head
from headstart.tune.recipe import Recipe

CHOOSING = 10
"""One in so many of the images to train on chooses the epoch instead."""
FROZEN = ".frozen"


def begin(
    store: Store, trunk: Model, place: Path, recipe: Recipe, holdout: float
) -> tuple[Rows, Rows, Head, tuple[float, float]]:
    """Divide the rows as `headstart.classify.train` would, and fit a linear head to the tail as it is.

    Parameters
    ----------
    place
        The output; beside it the embeddings of the tail as it is lie meanwhile.

    Returns
    -------
    train, held_out, head, frozen
        The rows to train on, and those that choose the epoch; the head, fitted on the first; its log loss and accuracy
        on the others.
    """
    with _beside(place) as folder:
        table, _ = embed(store, trunk, folder / "frozen.h5")
        groups = find_duplicates(table).group_of_rows(len(table))
        split = split_rows(table, holdout, recipe.seed, groups)
        chooses = _chooses(table, split)
        options = HeadOptions(class_weight=recipe.class_weight, seed=recipe.seed)
        places = np.flatnonzero(~chooses)
        fitted = fit(table, split.take(places), FitPlan("logreg", options, machine_memory() / 2))
        held_out = split.train[chooses]
        logits, labels = logits_of(fitted.head, table.embeddings(held_out)), table.labels[held_out]
        temperature = fit_temperature(logits, labels).temperature
        frozen = log_loss(softmax(logits / temperature), labels), float((logits.argmax(axis=1) == labels).mean())
        (layer,) = to_layers(fitted.head)
        return Rows(store, split.train[places]), Rows(store, held_out), Head(layer.weights, layer.bias), frozen


@contextmanager
def _beside(place: Path) -> Iterator[Path]:
    """Give an empty folder beside an output whose lock is held; what a killed run has left in it goes first."""
    folder = place.with_name(f".{place.name}{FROZEN}")
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made anew: {error.strerror or error}; delete it") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _chooses(store: Store, split: Split) -> Any:
    """Tell which of the rows of ``split.train`` choose the epoch, bool (n,): a fold of them."""
    held_out = draw_folds(store.labels[split.train], split.draws, CHOOSING) == 0
    if not held_out.any():
        raise TuneError(f"{store.location}: there are too few images of each class to hold some out; add more")
    return held_out
