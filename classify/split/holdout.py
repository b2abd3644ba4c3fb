"""Which rows train, and which judge."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import LabelError
from headstart.classify.split.folds import ALWAYS_TRAINED, draw_folds, is_contradictory
from headstart.extract.store.store import Store


@dataclass(frozen=True)
class Split:
    """Row numbers of a store to train on and to judge on.

    Attributes
    ----------
    train, test
        int64: no image of the one has a copy in the other.
    draws
        float64, one for each row of `train`: its random number, the same for copies of one image.
    origin
        Where the division came from, in words.
    left_out
        How many training images were left out because the user's own split had put a copy of them on the other side.
    contradictory
        How many images of the user's own split are not judged on because the same bytes have another label too.
    fresh
        bool, one for each row of `train`: whether the backbone has not been tuned on it; None where it is not a tuned
        one.
    """

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    draws: NDArray[np.float64]
    origin: str
    left_out: int = 0
    contradictory: int = 0
    fresh: NDArray[np.bool_] | None = None

    def take(self, which: NDArray[np.int64]) -> "Split":
        """Give the same split with some of the rows of `train` alone, by their places in it."""
        fresh = None if self.fresh is None else self.fresh[which]
        return replace(self, train=self.train[which], draws=self.draws[which], fresh=fresh)

    def folds(self, labels: NDArray[np.int32]) -> NDArray[np.int64]:
        """Deal the rows of `train`, with these labels, into folds; those that a backbone was tuned on into none."""
        if self.fresh is None:
            return draw_folds(labels, self.draws)
        return np.where(self.fresh & ~is_contradictory(labels, self.draws), 0, ALWAYS_TRAINED)


def split_rows(store: Store, fraction: float = 0.2, seed: int = 0, groups: NDArray[np.int64] | None = None) -> Split:
    """Divide the labelled, embedded rows of a store.

    The user's own splits win: train on ``train`` (and what has no split), judge on ``val``, else on ``test``; of copies
    on both sides those to train on are left out. Without them a hold-out is drawn: of each class the share `fraction`
    of its different images, those with the least number drawn from their content and the seed. Copies of one image stay
    together; each image that is added moves at most one other of its class.

    No image is judged on whose copies have different labels: nobody knows which is right. In a hold-out, near copies
    count too; of the user's own split only the same bytes do, as two photos that look alike may well be of two classes.

    Parameters
    ----------
    groups
        int64, of every row of the store: the same number for rows that show one image. By default, rows of the same
        bytes.

    Raises
    ------
    LabelError
        Where there are too few classes, or too few images of one.
    """
    usable = store.is_embedded & (store.labels >= 0)
    draws = draws_of(store, seed, groups)
    splits = store.splits
    for name in ("val", "test"):
        own = np.flatnonzero(usable & (splits == name))
        if len(own):
            offered = np.flatnonzero(usable & ((splits == "train") | (splits == "")))
            train = offered[~np.isin(draws[offered], draws[own])]
            _check(store, train, draws, 1)
            test = own[~have_two_labels(store, usable)[own]]
            _require_some(store, test)
            origin = f"the {name} split of the images"
            return Split(train, test, draws[train], origin, len(offered) - len(train), len(own) - len(test))
    rows = np.flatnonzero(usable)
    _check(store, rows, draws, 2)
    held_out = _hold_out(store.labels[rows], draws[rows], fraction)
    train, test = rows[~held_out], rows[held_out]
    _require_some(store, test)
    return Split(train, test, draws[train], f"a hold-out of {fraction:.0%} by content")


def have_two_labels(store: Store, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which rows, bool (n,), are of a file whose bytes stand under another label too; of usable rows alone."""
    rows = np.flatnonzero(usable)
    _, content = np.unique(store.rows.sha256[rows].view("V32").ravel(), return_inverse=True)
    result = np.zeros(len(store), bool)
    result[rows] = is_contradictory(store.labels[rows], content)
    return result


def _require_some(store: Store, test: NDArray[np.int64]) -> None:
    if not len(test):
        raise LabelError(
            f"{store.location}: expected images to judge on, but each has a copy under another label; "
            "remove the copies from the classes that they do not belong to"
        )


def _check(store: Store, rows: NDArray[np.int64], draws: NDArray[np.float64], least: int) -> None:
    names = store.classes
    labels, drawn = store.labels[rows], draws[rows]
    order = np.lexsort((drawn, labels))
    is_first = np.ones(len(rows), bool)
    is_first[1:] = (np.diff(labels[order]) != 0) | (np.diff(drawn[order]) != 0)
    counts = np.bincount(labels[order][is_first], minlength=len(names)).tolist()
    present = [name for name, count in zip(names, counts, strict=True) if count]
    if len(present) < 2:
        found = f"only {present[0]!r}" if present else "none"
        raise LabelError(
            f"{store.location}: expected images of at least 2 classes to train on, found {found}; "
            "put each class in a folder of its own, or use a manifest with a column 'label'"
        )
    for name, count in zip(names, counts, strict=True):
        if count < least:
            raise LabelError(
                f"{store.location}: class {name!r} has {count} usable image{'s' * (count != 1)} to train on, "
                f"expected at least {least} (copies count once); add images of it, or remove the class"
            )


def _hold_out(labels: NDArray[np.int32], draws: NDArray[np.float64], fraction: float) -> NDArray[np.bool_]:
    held_out = np.zeros(len(labels), bool)
    judged = ~is_contradictory(labels, draws)
    for code in np.unique(labels[judged]):
        mine = np.flatnonzero(judged & (labels == code))
        different = np.unique(draws[mine])  # sorted; copies of one image have one draw
        only_of_its_class = len(mine) == np.count_nonzero(labels == code)
        wanted = min(max(round(fraction * len(different)), 1), len(different) - only_of_its_class)
        if wanted:
            held_out[mine] = draws[mine] <= different[wanted - 1]
    return held_out


def draws_of(store: Store, seed: int, groups: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """Give a number in [0, 1) for each row; the rows of a group have the least of theirs."""
    draws = np.array([_draw(content.tobytes(), seed) for content in store.rows.sha256])
    if groups is None:
        return draws
    least = np.ones(int(groups.max()) + 1 if len(groups) else 0)
    np.minimum.at(least, groups, draws)
    return least[groups]


def _draw(content: bytes, seed: int) -> float:
    """Give a number in [0, 1) that depends on an image's content and the seed alone."""
    digest = hashlib.sha256(content + seed.to_bytes(8, "little")).digest()
    return int.from_bytes(digest[:8], "little") / 2**64


def digest_of_rows(store: Store) -> str:
    """Digest what a split depends on: each row's path, content, label and split; the same for every form of a store."""
    digest = hashlib.sha256()
    rows, names = store.rows, store.classes
    for number, path in enumerate(rows.path.tolist()):
        label = names[rows.label[number]] if rows.label[number] >= 0 else None
        digest.update(
            repr((path, rows.sha256[number].tobytes(), label, int(rows.split[number]))).encode("utf-8", "surrogatepass")
        )
    return digest.hexdigest()
