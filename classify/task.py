"""What a training fits heads on and evaluates them on."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.fitting import FitPlan
from headstart.classify.heads.tuned import cross_validated, without_tuned
from headstart.classify.split.classes import too_few_to_hold_out, with_trainable_classes
from headstart.classify.split.duplicates import Duplicates, find_duplicates
from headstart.classify.split.groups import units_of
from headstart.classify.split.holdout import HOLDOUT, Split, draws_of, split_rows, whole_split
from headstart.extract.store.store import Store

FEW_FOLDS = 5
NOTHING = "every class has a single image, which is trained on"


@dataclass(frozen=True)
class Task:
    """A store and its splits.

    Attributes
    ----------
    store
        With the classes that are trained.
    duplicates
        Its duplicate photos; none of them are on both sides of a split.
    groups
        int64, (n,): the same number for duplicates, and within the user's groups.
    draws
        float64, (n,): a random number per image, the same for duplicates and within the user's groups.
    splits
        One, or one per fold: what heads are fitted on and evaluated on.
    whole
        What the head of the file is fitted on after the evaluation; None for what it was evaluated with.
    """

    store: Store
    duplicates: Duplicates
    groups: NDArray[np.int64] = field(repr=False)
    draws: NDArray[np.float64] = field(repr=False)
    splits: list[Split] = field(repr=False)
    whole: Split | None = field(repr=False)


def task_of(
    store: Store, plan: FitPlan, holdout: float, folds: int | None, refit: bool, min_photos: int | None
) -> Task:
    """Split a store as `headstart.classify.TrainOptions` says.

    Of so few images that the default hold-out would take too much, each is held out in turn instead, as with folds; and
    none if all classes have a single one.

    Raises
    ------
    LabelError
        If there are too few classes or images.
    """
    duplicates = find_duplicates(store, near=4 * store.header.dim * len(store) <= plan.memory)
    images, seed = duplicates.group_of_rows(len(store)), plan.options.seed
    store = with_trainable_classes(store, images, min_photos, of_every_split=bool(folds))
    draws, groups = draws_of(store, seed, images), units_of(store, images)
    if not folds and holdout == HOLDOUT and too_few_to_hold_out(store, images):
        every, folds = whole_split(store, seed, images), FEW_FOLDS
        if (every.folds(store.labels[every.train]) < 0).all():
            return Task(store, duplicates, groups, draws, [replace(every, origin=NOTHING)], None)
    whole = cross_validated(store, whole_split(store, seed, images), folds or 2) if folds or refit else None
    if whole and folds:
        return Task(store, duplicates, groups, draws, whole[1], whole[0])
    split = without_tuned(store, split_rows(store, holdout, seed, images), draws)
    return Task(store, duplicates, groups, draws, [split], whole and whole[0])
