"""The rows to train on, and those to evaluate on."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import LabelError
from headstart.classify.split.classes import least_per_class, offered_rows, require_classes, usable_rows
from headstart.classify.split.folds import ALWAYS_TRAINED, draw_folds, is_contradictory
from headstart.extract.store.store import Store


@dataclass(frozen=True)
class Split:
    """Row numbers of a store to train on and to evaluate on.

    Attributes
    ----------
    train, test
        int64: no image of one has a duplicate in the other.
    draws
        float64, one per row of `train`: its random number, the same for duplicates.
    origin
        Where the split came from, in words.
    left_out
        How many training images were left out because the user's own split has a duplicate on the other side.
    contradictory
        How many images of the user's own split are not evaluated on because the same bytes have another label too.
    fresh
        bool, one per row of `train`: False if the backbone was tuned on it; None if it was tuned on none.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    draws: NDArray[np.float64]
    origin: str
    left_out: int = 0
    contradictory: int = 0
    fresh: NDArray[np.bool_] | None = None

    def take(self, which: NDArray[np.int64]) -> "Split":
        """Keep only some of the rows of `train`, given by their positions in it."""
        fresh = None if self.fresh is None else self.fresh[which]
        return replace(self, train=self.train[which], draws=self.draws[which], fresh=fresh)

    def folds(self, labels: NDArray[np.int32]) -> NDArray[np.int64]:
        """Deal the rows of `train`, with these labels, into folds; rows that the backbone was tuned on into none."""
        if self.fresh is None:
            return draw_folds(labels, self.draws)
        return np.where(self.fresh & ~is_contradictory(labels, self.draws), 0, ALWAYS_TRAINED)


def split_rows(store: Store, fraction: float = 0.2, seed: int = 0, groups: NDArray[np.int64] | None = None) -> Split:
    """Split the labelled, embedded rows of a store.

    The user's own splits win: train on ``train`` (and rows without a split), evaluate on ``val``, else on ``test``;
    rows to train on that have duplicates in ``val`` or ``test`` are left out. Without such splits a hold-out is drawn:
    per class the share `fraction` of its different images, those with the least number drawn from content and seed.
    Duplicates stay together; each image that is added moves at most one other of its class.

    Images whose duplicates have different labels are not evaluated on, as nobody knows which label is right. In a
    hold-out, near duplicates count too; in the user's own split only equal bytes do, as two photos that look alike may
    well be of two classes.

    Parameters
    ----------
    groups
        int64, for every row of the store: the same number for rows that show one image. By default, rows of equal
        bytes.

    Raises
    ------
    LabelError
        If there are too few classes, or too few images of one.
    """
    draws = draws_of(store, seed, groups)
    name, rows, left_out = offered_rows(store, draws)
    require_classes(store, rows, draws, least_per_class(name))
    if name:
        usable = usable_rows(store)
        own = np.flatnonzero(usable & (store.splits == name))
        test = own[~have_two_labels(store, usable)[own]]
        _require_some(store, test)
        return Split(rows, test, draws[rows], f"the {name} split of the images", left_out, len(own) - len(test))
    held_out = _hold_out(store.labels[rows], draws[rows], fraction)
    train, test = rows[~held_out], rows[held_out]
    _require_some(store, test)
    return Split(train, test, draws[train], f"a hold-out of {fraction:.0%} by content")


def whole_split(store: Store, seed: int = 0, groups: NDArray[np.int64] | None = None) -> Split:
    """Return a split that trains on every labelled, embedded row, whatever split the user gave it, and tests on none.

    Parameters
    ----------
    groups
        As `split_rows` takes them.

    Raises
    ------
    LabelError
        If there are too few classes, or too few images of one.
    """
    draws, rows = draws_of(store, seed, groups), np.flatnonzero(usable_rows(store))
    require_classes(store, rows, draws, least_per_class(""))
    return Split(rows, rows[:0], draws[rows], "every labelled image")


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
    """Give each row a number in [0, 1) from its content and the seed; all rows of a group have the least of theirs."""
    salt = seed.to_bytes(8, "little")
    digests = [hashlib.sha256(content.tobytes() + salt).digest() for content in store.rows.sha256]
    draws = np.array([int.from_bytes(digest[:8], "little") / 2**64 for digest in digests])
    if groups is None:
        return draws
    least = np.ones(int(groups.max()) + 1 if len(groups) else 0)
    np.minimum.at(least, groups, draws)
    return least[groups]


def digest_of_rows(store: Store) -> str:
    """Digest path, content, label and split of each row, which decide a split; the same for all forms of a store."""
    digest = hashlib.sha256()
    rows, names = store.rows, store.classes
    for number, path in enumerate(rows.path.tolist()):
        label = names[rows.label[number]] if rows.label[number] >= 0 else None
        digest.update(
            repr((path, rows.sha256[number].tobytes(), label, int(rows.split[number]))).encode("utf-8", "surrogatepass")
        )
    return digest.hexdigest()
