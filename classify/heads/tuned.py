"""Backbones that were tuned on some of the images: a head is searched for, and evaluated, on the others.

A tail fits the images that it was tuned on too well to compare heads on them. A tuned backbone therefore carries the
digests of these images.
"""

import json
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import LabelError
from headstart.classify.heads.kinds import HeadKind
from headstart.classify.heads.layers import FittedHead
from headstart.classify.heads.options import HeadOptions
from headstart.classify.split.holdout import Split, crossed_splits
from headstart.classify.split.seen import CHOSE_EPOCH, TUNED_ON, digests_of, entry_of, is_named
from headstart.extract.errors import StoreError
from headstart.extract.sources.labels import codes_among
from headstart.extract.store.store import Store
from headstart.files.errors import one_line

TUNED_HEAD = "headstart-tuned-head"
"""Entry of the metadata: JSON with the classes, and as hexadecimal digits float32 weights (d, k) and bias (k,)."""


def note_tuned_on(
    proto: Any, store: Store, rows: NDArray[np.int64], chose_epoch: NDArray[np.int64] | None = None
) -> None:
    """Note in an ONNX model, in place, which rows of a store it was tuned on, and which chose its epoch."""
    proto.metadata_props.add(key=TUNED_ON, value=digests_of(store, rows))
    if chose_epoch is not None:
        proto.metadata_props.add(key=CHOSE_EPOCH, value=digests_of(store, chose_epoch))


def note_tuned_head(proto: Any, classes: list[str], weights: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """Note in an ONNX model, in place, the linear head that was tuned with its tail: weights (d, k) and bias (k,)."""
    noted = {"classes": classes, "weights": weights.tobytes().hex(), "bias": bias.tobytes().hex()}
    proto.metadata_props.add(key=TUNED_HEAD, value=json.dumps(noted))


def tuned_head(store: Store, kind: HeadKind, options: HeadOptions) -> FittedHead | None:
    """Return the head that was tuned with the tail of a store's backbone, as one of a linear kind.

    A head fitted anew to embeddings that the tail was tuned on is worse: on flowers its log loss was a quarter higher.

    Returns
    -------
    None if there is none, or if it is one for other classes.

    Raises
    ------
    StoreError
        If the note is damaged.
    """
    text = _noted(store, TUNED_HEAD)
    if kind.from_weights is None or not text:
        return None
    try:
        noted = json.loads(text)
        classes = list(map(str, noted["classes"]))
        weights, bias = (np.frombuffer(bytes.fromhex(noted[name]), "<f4") for name in ("weights", "bias"))
        weights = weights.reshape(store.header.dim, len(classes))
        images = int(store.header.model["tuned"]["images"])
        if len(bias) != len(classes) or not (np.isfinite(weights).all() and np.isfinite(bias).all()):
            raise ValueError(f"expected a finite number per class, found {len(bias)} for {len(classes)} classes")
    except (LookupError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise StoreError(
            f"{store.location}: the head that was tuned with its backbone is damaged ({one_line(error)}); tune it again"
        ) from None
    if not classes or codes_among(store.classes, classes) != [*range(len(classes))]:
        return None
    return kind.from_weights(weights, bias, options, images)


def _noted(store: Store, key: str) -> str:
    return entry_of(store.model().data, key) if "tuned" in store.header.model else ""


def is_tuned_on(store: Store) -> NDArray[np.bool_]:
    """Tell which rows, bool (n,), a store's backbone was tuned on."""
    return is_named(store, _noted(store, TUNED_ON))


def is_seen_by_tail(store: Store) -> NDArray[np.bool_]:
    """Tell which rows, bool (n,), a store's backbone was tuned on, or that chose its epoch: neither are unseen."""
    return is_tuned_on(store) | is_named(store, _noted(store, CHOSE_EPOCH))


def is_tuned_without_epoch(store: Store) -> bool:
    """Tell whether a store's backbone was tuned by release 0.1, which did not note the images that chose its epoch."""
    return bool(_noted(store, TUNED_ON)) and not _noted(store, CHOSE_EPOCH)


def without_tuned(store: Store, split: Split, draws: NDArray[np.float64]) -> Split:
    """Return a split that neither searches nor evaluates on images that the backbone was tuned on.

    Images to evaluate on that it was tuned on, or that chose its epoch, are trained on instead, with their copies. In
    the search, heads are fitted on the images that it was tuned on and compared on the rest.

    Parameters
    ----------
    draws
        float64, for every row of the store: its random number, the same for copies of one image.

    Raises
    ------
    LabelError
        If no image to evaluate on is left.
    """
    seen = is_seen_by_tail(store)
    if not seen[np.concatenate([split.train, split.test])].any():
        return split
    is_seen = np.isin(draws, draws[seen])
    test = split.test[~is_seen[split.test]]
    if not len(test):
        raise LabelError(
            f"{store.location}: its backbone was tuned on every image that could be evaluated on; use a store with "
            "other images too, or tune with the same splits"
        )
    train = np.union1d(split.train, split.test[is_seen[split.test]])
    is_tuned = np.isin(draws, draws[is_tuned_on(store)])
    fresh = ~is_tuned[train] if is_tuned[train].any() else None
    return replace(split, train=train, test=test, draws=draws[train], fresh=fresh)


def cross_validated(store: Store, whole: Split, count: int) -> tuple[Split, list[Split]]:
    """Divide the rows of a split that tests on none into folds, and return it with a split per fold.

    Images that the backbone was tuned on, or that chose its epoch, are in no fold, nor are their copies.

    Raises
    ------
    LabelError
        If no two images of a class are left to evaluate on.
    """
    rows, labels = whole.train, store.labels[whole.train]
    is_tuned, is_seen = (
        np.isin(whole.draws, whole.draws[which[rows]]) for which in (is_tuned_on(store), is_seen_by_tail(store))
    )
    whole = replace(whole, fresh=~is_tuned if is_tuned.any() else None)
    splits = crossed_splits(whole, whole.deal(labels, ~is_seen, count))
    if not splits:
        which = "two different images of a class" if store.groups is None else "a class with images of two groups"
        of = " that its backbone was not tuned on" if is_seen.any() else ""
        raise LabelError(f"{store.location}: expected {which}{of} to cross-validate on; add images")
    return whole, splits


def with_own_folds(store: Store, split: Split, draws: NDArray[np.float64]) -> Split:
    """Return a split that was drawn for another backbone to this one: the same images, its own folds.

    If its backbone was tuned on some of the images to train on, heads are compared on the others, as in
    `without_tuned`; if not, the folds are ordinary ones.

    Raises
    ------
    LabelError
        If it was tuned on an image to evaluate on.
    """
    is_tuned, is_seen = (np.isin(draws, draws[which]) for which in (is_tuned_on(store), is_seen_by_tail(store)))
    evaluated = int(is_seen[split.test].sum())
    if evaluated:
        raise LabelError(
            f"{store.location}: expected a backbone that was not tuned on the images to evaluate on, found {evaluated} "
            f"of {len(split.test)} among those it was tuned on; put this store first: it decides the split"
        )
    return replace(split, fresh=~is_tuned[split.train] if is_tuned[split.train].any() else None)
