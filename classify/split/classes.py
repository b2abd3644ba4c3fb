"""Which classes of a store have images to train on."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import LabelError
from headstart.classify.split.folds import LEAST_PER_CLASS
from headstart.classify.split.groups import belong_to
from headstart.extract.store.store import Store

SHOWN_CLASSES = 20
UNSEEN = ("val", "test")
"""The user's splits to evaluate on: the first that there is."""


def require_min_photos(min_photos: int | None) -> None:
    """Reject a least number of photos per class that is below 1.

    Raises
    ------
    LabelError
        If it is.
    """
    if min_photos is not None and min_photos < 1:
        raise LabelError(f"the least number of photos per class must be at least 1, found {min_photos}")


def with_trainable_classes(
    store: Store, groups: NDArray[np.int64], min_photos: int | None = None, *, of_every_split: bool = False
) -> Store:
    """Leave out the classes that val or test alone have, and those with too few photos if `min_photos` is given.

    Parameters
    ----------
    groups
        int64, for every row of the store: the same number for rows that show one image.
    min_photos
        The least number of different, usable images to train on.
    of_every_split
        Whether val and test are trained on too, as in cross-validation.

    Returns
    -------
    The store itself, or one in which the rows of such classes have no label.
    """
    in_train = store.labels[of_every_split | ~np.isin(store.splits, UNSEEN)]
    store = _with_some(store, np.bincount(in_train[in_train >= 0], minlength=len(store.classes)) > 0)
    if min_photos is None:
        return store
    rows = np.flatnonzero(usable_rows(store)) if of_every_split else offered_rows(store, groups)[1]
    return _with_some(store, _counts(store, rows, groups) >= min_photos)


def too_few_to_hold_out(store: Store, groups: NDArray[np.int64]) -> bool:
    """Tell whether a hold-out would take too much: from fewer than `LEAST_PER_CLASS` different images per class.

    A split or groups of the user's decide otherwise, and a tuned tail has held out some already.
    """
    name, rows, _ = offered_rows(store, groups)
    is_free = not name and store.groups is None and "tuned" not in store.header.model
    return is_free and bool(_counts(store, rows, groups).sum() < LEAST_PER_CLASS * len(store.classes))


def left_out_classes(whole: Store, store: Store) -> list[str]:
    """Say, as a warning, which classes of a store `with_trainable_classes` left out; none if it left out none."""
    names = sorted(set(whole.classes) - set(store.classes))
    images = np.count_nonzero(usable_rows(whole) & (store.labels < 0))
    return [
        f"not learned, for want of training images: {listed([repr(name) for name in names])}; {images:,} images are "
        "left out of training and evaluation"
    ] * bool(names)


def listed(names: list[str]) -> str:
    """Join names with commas, and count those beyond `SHOWN_CLASSES`."""
    more = f", and {len(names) - SHOWN_CLASSES:,} more" * (len(names) > SHOWN_CLASSES)
    return ", ".join(names[:SHOWN_CLASSES]) + more


def _with_some(store: Store, are_kept: NDArray[np.bool_]) -> Store:
    return store if are_kept.all() else store.with_classes(np.array(store.classes)[are_kept].tolist())


def offered_rows(store: Store, draws: NDArray[Any]) -> tuple[str, NDArray[np.int64], int]:
    """Return the user's split to evaluate on, or ``""``; the rows to train on, or hold out; how many were left out."""
    usable, splits = usable_rows(store), store.splits
    name = next((name for name in UNSEEN if (usable & (splits == name)).any()), "")
    is_unseen = np.isin(splits, UNSEEN)
    offered = np.flatnonzero(usable & ~is_unseen)
    rows = offered[~belong_to(store, draws, usable & is_unseen)[offered]]
    return name, rows, len(offered) - len(rows)


def require_classes(store: Store, rows: NDArray[np.int64], draws: NDArray[np.float64]) -> None:
    """Require at least two classes among the rows to train on, and an image of each.

    Raises
    ------
    LabelError
        If there are fewer.
    """
    counts = dict(zip(store.classes, _counts(store, rows, draws).tolist(), strict=True))
    present = [name for name, count in counts.items() if count]
    if len(present) < 2:
        found = f"only {present[0]!r}" if present else "none"
        raise LabelError(
            f"{store.location}: expected images of at least 2 classes to train on, found {found}; "
            "put each class in a folder of its own, or use a manifest with a column 'label'; options such as "
            "--min-photos, --where and --group leave images out"
        )
    none = [repr(name) for name, count in counts.items() if not count]
    if none:
        raise LabelError(
            f"{store.location}: expected a usable image of each class to train on (none that val or test has too), but "
            f"{listed(none)} has none; add images, or leave such classes out with `--min-photos 1`"
        )


def usable_rows(store: Store) -> NDArray[np.bool_]:
    """Tell which rows, bool (n,), are labelled and embedded."""
    return store.is_embedded & (store.labels >= 0)


def _counts(store: Store, rows: NDArray[np.int64], draws: NDArray[Any]) -> NDArray[np.int64]:
    """Count the different images per class, int64 (k,), among some rows."""
    rows = rows[np.lexsort((draws[rows], store.labels[rows]))]
    labels = store.labels[rows]
    is_new = np.diff(labels, prepend=-1).astype(bool) | np.diff(draws[rows], prepend=-1).astype(bool)
    return np.bincount(labels[is_new], minlength=len(store.classes))
