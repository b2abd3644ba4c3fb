"""Which rows train, and which judge."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from classify.errors import LabelError
from extract.store import Store


@dataclass(frozen=True)
class Split:
    """Row numbers of a store to train on and to judge on, and where the division came from, in words."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]
    origin: str


def split_rows(store: Store, fraction: float = 0.2, seed: int = 0) -> Split:
    """Divide the labelled, embedded rows of a store.

    The user's own splits win: train on ``train`` (and what has no split), judge on ``val``, else on ``test``. Without
    them a hold-out is drawn: of each class the share `fraction` of its different images, those with the least number
    drawn from their content and the seed. Copies of one image stay together; each image that is added moves at
    most one other of its class.

    Raises
    ------
    LabelError
        Where there are too few classes, or too few images of one.
    """
    usable = store.is_embedded & (store.labels >= 0)
    splits = store.splits
    for name in ("val", "test"):
        test = np.flatnonzero(usable & (splits == name))
        if len(test):
            train = np.flatnonzero(usable & ((splits == "train") | (splits == "")))
            _check(store, train, 1)
            return Split(train, test, f"the {name} split of the images")
    rows = np.flatnonzero(usable)
    _check(store, rows, 2)
    held_out = _hold_out(store, rows, fraction, seed)
    return Split(rows[~held_out], rows[held_out], f"a hold-out of {fraction:.0%} by content")


def _check(store: Store, rows: NDArray[np.int64], least: int) -> None:
    names = store.classes
    different = {(int(store.labels[row]), store.rows.sha256[row].tobytes()) for row in rows}
    counts = np.bincount([label for label, _ in different], minlength=len(names)).tolist()
    present = [name for name, count in zip(names, counts, strict=True) if count]
    if len(present) < 2:
        found = f"only {present[0]!r}" if present else "none"
        raise LabelError(
            f"{store.place}: expected images of at least 2 classes to train on, found {found}; "
            "put each class in a folder of its own, or use a manifest with a column 'label'"
        )
    for name, count in zip(names, counts, strict=True):
        if count < least:
            raise LabelError(
                f"{store.place}: class {name!r} has {count} usable image{'s' * (count != 1)} to train on, "
                f"expected at least {least} (copies count once); add images of it, or remove the class"
            )


def _hold_out(store: Store, rows: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    draw = np.array([_draw(store.rows.sha256[row].tobytes(), seed) for row in rows])
    held_out = np.zeros(len(rows), bool)
    labels = store.labels[rows]
    for code in np.unique(labels):
        mine = np.flatnonzero(labels == code)
        different = np.unique(draw[mine])  # sorted; copies of one image have one draw
        wanted = min(max(round(fraction * len(different)), 1), len(different) - 1)
        held_out[mine] = draw[mine] <= different[wanted - 1]
    return held_out


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
