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
from headstart.classify.heads.options import HeadOptions
from headstart.classify.split.holdout import Split
from headstart.extract.store.store import Store

TUNED_ON = "headstart-tuned-on"
"""Entry of the file's metadata: the first `DIGITS` hexadecimal digits of each image's digest, one after another."""
DIGITS = 16
TUNED_HEAD = "headstart-tuned-head"
"""Another entry: JSON with the classes, and as hexadecimal digits float32 weights (d, k) and bias (k,)."""


def note_tuned_on(proto: Any, store: Store, rows: NDArray[np.int64]) -> None:
    """Note in an ONNX model, in place, which rows of a store it was tuned on."""
    digests = sorted(_short(digest) for digest in store.rows.sha256[rows])
    proto.metadata_props.add(key=TUNED_ON, value="".join(digests))


def note_tuned_head(proto: Any, classes: list[str], weights: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """Note in an ONNX model, in place, the linear head that was tuned with its tail: weights (d, k) and bias (k,)."""
    noted = {"classes": classes, "weights": weights.tobytes().hex(), "bias": bias.tobytes().hex()}
    proto.metadata_props.add(key=TUNED_HEAD, value=json.dumps(noted))


def tuned_head(store: Store, kind: HeadKind, options: HeadOptions) -> Any | None:
    """Return the head that was tuned with the tail of a store's backbone, as a fitted pipeline of a linear kind.

    A head fitted anew to embeddings that the tail was tuned on is worse: on flowers its log loss was a quarter higher.

    Returns
    -------
    None if there is none, or if it is one for other classes.
    """
    text = _noted(store, TUNED_HEAD)
    noted = json.loads(text) if text else {}
    if kind.from_weights is None or noted.get("classes") != store.classes:
        return None
    weights, bias = (np.frombuffer(bytes.fromhex(noted[name]), "<f4") for name in ("weights", "bias"))
    images = int(store.header.model["tuned"]["images"])
    return kind.from_weights(weights.reshape(store.header.dim, len(bias)), bias, options, images)


def _noted(store: Store, key: str) -> str:
    import onnx

    if "tuned" not in store.header.model:
        return ""
    proto = onnx.load_model_from_string(store.model().data)
    return "".join(entry.value for entry in proto.metadata_props if entry.key == key)


def _short(digest: NDArray[np.uint8]) -> str:
    return digest.tobytes().hex()[:DIGITS]


def is_tuned_on(store: Store) -> NDArray[np.bool_]:
    """Tell which rows, bool (n,), a store's backbone was tuned on."""
    noted = _noted(store, TUNED_ON)
    tuned_on = {noted[start : start + DIGITS] for start in range(0, len(noted), DIGITS)}
    return np.array([bool(tuned_on) and _short(digest) in tuned_on for digest in store.rows.sha256], bool)


def without_tuned(store: Store, split: Split, draws: NDArray[np.float64]) -> Split:
    """Return a split that neither searches nor evaluates on images that the backbone was tuned on.

    Images to evaluate on that it was tuned on are trained on instead, with their copies. In the search, heads are
    fitted on the images that it was tuned on and compared on the rest.

    Parameters
    ----------
    draws
        float64, for every row of the store: its random number, the same for copies of one image.

    Raises
    ------
    LabelError
        If no image to evaluate on is left.
    """
    tuned = is_tuned_on(store)
    if not tuned[np.concatenate([split.train, split.test])].any():
        return split
    is_tuned = np.isin(draws, draws[tuned])
    test = split.test[~is_tuned[split.test]]
    if not len(test):
        raise LabelError(
            f"{store.location}: its backbone was tuned on every image that could be evaluated on; use a store with "
            "other images too, or tune with the same splits"
        )
    train = np.union1d(split.train, split.test[is_tuned[split.test]])
    return replace(split, train=train, test=test, draws=draws[train], fresh=~is_tuned[train])


def with_own_folds(store: Store, split: Split, draws: NDArray[np.float64]) -> Split:
    """Return a split that was drawn for another backbone to this one: the same images, its own folds.

    If its backbone was tuned on some of the images to train on, heads are compared on the others, as in
    `without_tuned`; if not, the folds are ordinary ones.

    Raises
    ------
    LabelError
        If it was tuned on an image to evaluate on.
    """
    is_tuned = np.isin(draws, draws[is_tuned_on(store)])
    evaluated = int(is_tuned[split.test].sum())
    if evaluated:
        raise LabelError(
            f"{store.location}: expected a backbone that was not tuned on the images to evaluate on, found {evaluated} "
            f"of {len(split.test)} among those it was tuned on; put this store first: it decides the split"
        )
    return replace(split, fresh=~is_tuned[split.train] if is_tuned[split.train].any() else None)
