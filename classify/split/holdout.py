"""The rows to train on, and those to evaluate on."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import LabelError
from headstart.classify.split.classes import offered_rows, require_classes, usable_rows
from headstart.classify.split.folds import ALWAYS_TRAINED, draw_folds, is_contradictory
from headstart.classify.split.groups import deal_units, hold_out_units, strays_of, units_of
from headstart.extract.store.store import Store

HOLDOUT = 0.2
"""The share of images that is held out unless the user says otherwise."""


@dataclass(frozen=True)
class Split:
    """Row numbers of a store to train on and to evaluate on.

    Attributes
    ----------
    train, test
        int64: no image of one has a duplicate in the other, or is in one of the user's groups with an image of it.
    draws
        float64, one per row of `train`: its random number, the same for duplicates and within the user's groups.
    origin
        Where the split came from, in words.
    left_out
        How many training images were left out because the user's own split has a duplicate, or an image of the same
        group, on the other side.
    contradictory
        How many images are not evaluated on because the same bytes have another label too; with groups of the user's,
        they are not trained on either, and near duplicates count.
    strays
        How many images are left out because they have a duplicate in another group of the user's.
    fresh
        bool, one per row of `train`: False if the backbone was tuned on it; None if it was tuned on none.
    is_grouped
        Whether equal draws may mean a group of the user's, which may have several classes, and not one image.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    draws: NDArray[np.float64]
    origin: str
    left_out: int = 0
    contradictory: int = 0
    strays: int = 0
    fresh: NDArray[np.bool_] | None = None
    is_grouped: bool = False

    def take(self, which: NDArray[Any]) -> "Split":
        """Keep only some of the rows of `train`, given by their positions in it or by a mask."""
        fresh = None if self.fresh is None else self.fresh[which]
        return replace(self, train=self.train[which], draws=self.draws[which], fresh=fresh)

    def deal(self, labels: NDArray[np.int32], which: NDArray[np.bool_], most: int = 5) -> NDArray[np.int64]:
        """Deal some rows of `train` into at most so many folds, and the others into none; labels are those of all."""
        folds = np.full(len(labels), ALWAYS_TRAINED, np.int64)
        folds[which] = (deal_units if self.is_grouped else draw_folds)(labels[which], self.draws[which], most)
        return folds

    def folds(self, labels: NDArray[np.int32]) -> NDArray[np.int64]:
        """Deal the rows of `train`, with these labels, into folds; rows that the backbone was tuned on into none."""
        if self.fresh is None:
            return self.deal(labels, np.ones(len(labels), bool))
        eligible = True if self.is_grouped else ~is_contradictory(labels, self.draws)
        return np.where(self.fresh & eligible, 0, ALWAYS_TRAINED)


def split_rows(
    store: Store, fraction: float = HOLDOUT, seed: int = 0, groups: NDArray[np.int64] | None = None
) -> Split:
    """Split the labelled, embedded rows of a store.

    The user's own splits win: train on ``train`` (and rows without a split), evaluate on ``val``, else on ``test``;
    rows to train on that have duplicates in ``val`` or ``test`` are left out. Without such splits a hold-out is drawn:
    per class the share `fraction` of its different images, those with the least number drawn from content and seed.
    Duplicates stay together; each image that is added moves at most one other of its class. The
    only image of a class is trained on; if all classes have a single one, nothing is held out.

    Images whose duplicates have different labels are not evaluated on, as nobody knows which label is right. In a
    hold-out, near duplicates count too; in the user's own split only equal bytes do, as two photos that look alike may
    well be of two classes.

    If the store has groups of the user's, whole groups are held out (see `groups`). Images to train on or to hold out
    are then left out if a duplicate has another label, or is at home in another group.

    Parameters
    ----------
    groups
        int64, for every row of the store: the same number for rows that show one image. By default, rows of equal
        bytes.

    Raises
    ------
    LabelError
        If there are too few classes, or no image to evaluate on although a class has two.
    """
    images, draws = _draws_of_images(store, seed, groups), draws_of(store, seed, groups)
    name, rows, left_out = offered_rows(store, images)
    split = _without_strays(store, rows, images, draws)
    split, rows, is_grouped = replace(split, left_out=left_out), split.train, split.is_grouped
    if name:
        usable = usable_rows(store)
        own = np.flatnonzero(usable & (store.splits == name))
        test = own[~have_two_labels(store, usable)[own]]
        _require_some(store, test)
        origin = store.split_origin or f"the {name} split of the images"
        return replace(split, test=test, origin=origin, contradictory=split.contradictory + len(own) - len(test))
    held_out = (hold_out_units if is_grouped else _hold_out)(store.labels[rows], draws[rows], fraction)
    test, origin = rows[held_out], f"a hold-out of {fraction:.0%} by content{', in whole groups' * is_grouped}"
    if is_grouped or is_contradictory(store.labels[rows], draws[rows]).any():
        _require_some(store, test)
    return replace(split.take(~held_out), test=test, origin=origin)


def whole_split(store: Store, seed: int = 0, groups: NDArray[np.int64] | None = None) -> Split:
    """Return a split that trains on every labelled, embedded row, whatever split the user gave it, and tests on none.

    Parameters and errors are those of `split_rows`, and images are left out for the same reasons.
    """
    images, draws, rows = _draws_of_images(store, seed, groups), draws_of(store, seed, groups), usable_rows(store)
    split = _without_strays(store, np.flatnonzero(rows), images, draws)
    return replace(split, origin=f"every labelled image{', in whole groups' * split.is_grouped}")


def _without_strays(
    store: Store, rows: NDArray[np.int64], images: NDArray[np.float64], draws: NDArray[np.float64]
) -> Split:
    """Return a split that trains on rows, but for those that fit in no group, or in one with two labels."""
    is_grouped = store.groups is not None
    contradictory = is_grouped & is_contradictory(store.labels[rows], images[rows])
    strays = strays_of(store, images)[rows] & ~contradictory
    rows = rows[~contradictory & ~strays]
    require_classes(store, rows, images)
    split = Split(rows, rows[:0], draws[rows], "", 0, int(contradictory.sum()), int(strays.sum()))
    return replace(split, is_grouped=is_grouped)


def crossed_splits(whole: Split, folds: NDArray[np.int64]) -> list[Split]:
    """Return a split per fold that tests on the fold's rows and trains on all others.

    Parameters
    ----------
    folds
        int64, one per row of `whole.train`: 0..f-1, or `ALWAYS_TRAINED`.
    """
    count = int(folds.max(initial=-1)) + 1
    splits = []
    for fold in range(count):
        kept = whole.take(np.flatnonzero(folds != fold))
        origin = f"{count}-fold cross-validation of {whole.origin}"
        splits.append(replace(kept, test=whole.train[folds == fold], origin=origin))
    return splits


def have_two_labels(store: Store, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which rows, bool (n,), have equal bytes under another label, considering usable rows alone."""
    rows = np.flatnonzero(usable)
    _, content = np.unique(store.rows.sha256[rows].view("V32").ravel(), return_inverse=True)
    result = np.zeros(len(store), bool)
    result[rows] = is_contradictory(store.labels[rows], content)
    return result


def _require_some(store: Store, test: NDArray[np.int64]) -> None:
    if not len(test) and store.groups is not None:
        raise LabelError(
            f"{store.location}: expected classes with photos of at least 2 groups each, so that whole groups can be "
            "held out, but none can be spared; group by another column, or train without groups"
        )
    if not len(test):
        raise LabelError(
            f"{store.location}: expected images to evaluate on, but each has a duplicate under another label; "
            "remove the duplicates from the classes that they do not belong to"
        )


def _hold_out(labels: NDArray[np.int32], draws: NDArray[np.float64], fraction: float) -> NDArray[np.bool_]:
    held_out = np.zeros(len(labels), bool)
    eligible = ~is_contradictory(labels, draws)
    for code in np.unique(labels[eligible]):
        members = np.flatnonzero(eligible & (labels == code))
        different = np.unique(draws[members])  # sorted; duplicates have one draw
        must_keep_one = len(members) == np.count_nonzero(labels == code)
        wanted = min(max(round(fraction * len(different)), 1), len(different) - must_keep_one)
        if wanted:
            held_out[members] = draws[members] <= different[wanted - 1]
    return held_out


def draws_of(store: Store, seed: int, groups: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """Give each row a number in [0, 1) from its content and the seed; all rows of a group have the least of theirs.

    Groups of the user's, if the store has any, count as those given do, and are joined with them.
    """
    if store.groups is None:
        return _draws_of_images(store, seed, groups)
    if groups is None:
        groups = np.unique(store.rows.sha256.view("V32").ravel(), return_inverse=True)[1]
    return _draws_of_images(store, seed, units_of(store, groups))


def _draws_of_images(store: Store, seed: int, groups: NDArray[np.int64] | None) -> NDArray[np.float64]:
    salt = seed.to_bytes(8, "little")
    digests = [hashlib.sha256(content.tobytes() + salt).digest() for content in store.rows.sha256]
    draws = np.array([int.from_bytes(digest[:8], "little") / 2**64 for digest in digests])
    if groups is None:
        return draws
    least = np.ones(int(groups.max()) + 1 if len(groups) else 0)
    np.minimum.at(least, groups, draws)
    return least[groups]


def digest_of_rows(store: Store) -> str:
    """Digest path, content, label, split, group of each row: what decides a split, in any form of the store."""
    digest = hashlib.sha256()
    rows, names = store.rows, store.classes
    for number, path in enumerate(rows.path.tolist()):
        label = names[rows.label[number]] if rows.label[number] >= 0 else None
        digest.update(
            repr((path, rows.sha256[number].tobytes(), label, int(rows.split[number]))).encode("utf-8", "surrogatepass")
        )
    if store.groups is not None:
        digest.update(repr(store.groups.tolist()).encode())
    return digest.hexdigest()
