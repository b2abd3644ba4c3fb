"""The user's groups (a patient, a camera, a burst), which never are on both sides of a split or of a fold.

Unlike duplicates, the photos of a group may be of several classes. Whole groups are dealt so that each class gets about
its share, and so that whatever is trained on has every class: scikit-learn's `StratifiedGroupKFold` does not promise
that, and may leave folds empty.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.split.folds import ALWAYS_TRAINED
from headstart.extract.store.store import Store


def units_of(store: Store, images: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what must stay together: the user's groups, and duplicates of images that are in none of several.

    Parameters
    ----------
    images
        int64, for every row of the store: the same number for rows that show one image.

    Returns
    -------
    int64, for every row of the store: a number per unit; without groups of the user's, `images` itself.
    """
    return images if store.groups is None else _groups_and_homes(store, store.groups, images)[0]


def strays_of(store: Store, images: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which rows, bool (n,), show an image that is at home in another group of the user's, by a duplicate there.

    They must be left out. Uniting such groups instead would leave a single one: 2,500 flowers dealt to 40 groups at
    random have 71 near duplicates, which connect nearly all groups.
    """
    if store.groups is None:
        return np.zeros(len(store), bool)
    units, homes = _groups_and_homes(store, store.groups, images)
    is_stray: NDArray[np.bool_] = units != homes
    return is_stray


def _groups_and_homes(
    store: Store, groups: NDArray[np.int64], images: NDArray[Any]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each row's unit, and the unit in which its image is at home: that of its first usable row in a group."""
    _, first, image = np.unique(images, return_index=True, return_inverse=True)
    usable = store.is_embedded & (store.labels >= 0)
    is_in_group = usable & (np.bincount(groups[usable], minlength=len(store))[groups] > 1)
    homes = first.copy()
    found, where = np.unique(image[is_in_group], return_index=True)
    homes[found] = groups[is_in_group][where]
    return np.where(is_in_group, groups, homes[image]), homes[image]


def belong_to(store: Store, images: NDArray[Any], which: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which rows, bool (n,), show an image of the rows `which`, or are in one group of the user's with one."""
    found = np.isin(images, images[which])
    return found if store.groups is None else found | np.isin(store.groups, store.groups[which])


def hold_out_units(labels: NDArray[np.int32], draws: NDArray[np.float64], share: float) -> NDArray[np.bool_]:
    """Choose whole units to evaluate on, those with the least draws that bring each class nearer to its share.

    Then each class without any gets the unit that disturbs the shares least. The last unit of a class is never chosen.

    Parameters
    ----------
    labels
        int32, (n,): class codes.
    draws
        float64, (n,): a random number, the same for all photos of a unit.

    Returns
    -------
    bool, (n,). All False if no unit can be spared.
    """
    counts, unit = _counts(labels, draws)
    wanted, held = share * counts.sum(axis=0), np.zeros(counts.shape[1])
    sizes, left = np.maximum(counts.sum(axis=0), 1), (counts > 0).sum(axis=0)
    chosen = np.zeros(len(counts), bool)

    def costs(which: NDArray[np.int64]) -> NDArray[np.float64]:
        """By how much units would take the classes away from their shares, and infinity for those that cannot go."""
        change = (np.abs(held + counts[which] - wanted) - np.abs(held - wanted)) / sizes
        is_last = ((counts[which] > 0) & (left < 2)).any(axis=1)
        return np.where(is_last | chosen[which], np.inf, change.sum(axis=1))

    def choose(number: int) -> None:
        nonlocal held, left
        chosen[number], held, left = True, held + counts[number], left - (counts[number] > 0)

    for number in range(len(counts)):
        if costs(np.array([number]))[0] < 0:
            choose(number)
    for code in range(counts.shape[1]):
        members = np.flatnonzero(counts[:, code])
        if not held[code] and len(members) and np.isfinite(cost := costs(members)).any():
            choose(int(members[cost.argmin()]))
    return chosen[unit]


def deal_units(labels: NDArray[np.int32], draws: NDArray[np.float64], most: int = 5) -> NDArray[np.int64]:
    """Deal whole units into folds with about the same share of each class, the largest first.

    Parameters
    ----------
    labels, draws
        As `hold_out_units` takes them.
    most
        Most folds.

    Returns
    -------
    int64, (n,): 0..folds-1; `ALWAYS_TRAINED` for units without which a class would be missing where it is trained on.
    """
    counts, unit = _counts(labels, draws)
    shares, units_of_class = counts / np.maximum(counts.sum(axis=0), 1), (counts > 0).sum(axis=0)
    folds = np.full(len(counts), ALWAYS_TRAINED, np.int64)
    dealt = np.flatnonzero(~((counts > 0) & (units_of_class == 1)).any(axis=1))
    held = np.zeros((max(2, min(most, len(dealt))), counts.shape[1]))
    for number in dealt[np.argsort(-(shares[dealt] ** 2).sum(axis=1), kind="stable")]:
        # The sum of squares grows least where the unit's classes are rarest; a tie goes to the smallest fold.
        fold = int(np.lexsort([held.sum(axis=1), held @ shares[number]])[0])
        folds[number], held[fold] = fold, held[fold] + shares[number]
    for code in range(counts.shape[1]):
        members = np.flatnonzero(counts[:, code])
        if len(members) and len(set(folds[members])) == 1 and folds[members[0]] != ALWAYS_TRAINED:
            folds[members[counts[members].sum(axis=1).argmin()]] = ALWAYS_TRAINED
    used = np.unique(folds[folds >= 0])
    folds[folds >= 0] = np.searchsorted(used, folds[folds >= 0])
    return folds[unit]


def classes_of_one_group(store: Store, rows: NDArray[np.int64]) -> list[str]:
    """Name the classes that have photos of one of the user's groups alone, among some rows."""
    if store.groups is None:
        return []
    pairs = np.unique(np.stack([store.labels[rows], store.groups[rows]]), axis=1)
    return [store.classes[code] for code in np.flatnonzero(np.bincount(pairs[0]) == 1)]


def _counts(labels: NDArray[np.int32], draws: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count the photos of each class per unit, in order of draws, int64 (u, k); and give each photo its unit."""
    values, unit = np.unique(draws, return_inverse=True)
    counts = np.zeros((len(values), int(labels.max(initial=-1)) + 1), np.int64)
    np.add.at(counts, (unit, labels), 1)
    return counts, unit
