"""Backbones that were tuned on some of the images: a head is searched for, and judged, on the others.

What a tail was tuned on it knows too well: heads that are compared on those images would all look right. A tuned
backbone therefore carries the digests of them.
"""

import json
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import LabelError
from headstart.classify.heads.kinds import HeadOptions, Start, head_from
from headstart.classify.split.holdout import Split
from headstart.extract.store.store import Store

TUNED_ON = "headstart-tuned-on"
"""Entry of the file's metadata: the first `DIGITS` hexadecimal digits of each image's digest, one after another."""
DIGITS = 16
TUNED_HEAD = "headstart-tuned-head"
"""Another entry: JSON with the classes, and as hexadecimal digits float32 weights (d, k) and bias (k,)."""


def note_tuned_on(proto: Any, store: Store, rows: NDArray[np.int64]) -> None:
    """Note in an ONNX model, in place, which rows of a store it was tuned on."""
    digests = sorted(digest.tobytes().hex()[:DIGITS] for digest in store.rows.sha256[rows])
    entry = proto.metadata_props.add()
    entry.key, entry.value = TUNED_ON, "".join(digests)


def note_tuned_head(proto: Any, classes: list[str], weights: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """Note in an ONNX model, in place, the linear head that was tuned with its tail: weights (d, k) and bias (k,)."""
    entry = proto.metadata_props.add()
    said = {"classes": classes, "weights": weights.tobytes().hex(), "bias": bias.tobytes().hex()}
    entry.key, entry.value = TUNED_HEAD, json.dumps(said)


def tuned_head(store: Store, options: HeadOptions) -> Any | None:
    """Give the head that was tuned with the tail of a store's backbone, as a fitted pipeline.

    A head fitted anew, on what the tail knows by heart, is worse: on flowers its log loss was a quarter higher.

    Returns
    -------
    None where there is none, or it is one for other classes.
    """
    noted = _noted(store, TUNED_HEAD)
    if not noted:
        return None
    said = json.loads(noted)
    if said["classes"] != store.classes:
        return None
    dim, count = store.header.dim, len(store.classes)
    weights = np.frombuffer(bytes.fromhex(said["weights"]), "<f4").reshape(dim, count).T
    bias = np.frombuffer(bytes.fromhex(said["bias"]), "<f4")
    if count == 2:  # scikit-learn has one row for them
        weights, bias = weights[1:] - weights[:1], bias[1:] - bias[:1]
    images = int(store.header.model["tuned"]["images"])
    as_it_is = np.zeros(dim, np.float32), np.ones(dim, np.float32)
    return head_from(*as_it_is, Start(weights, bias), options, count, images)


def _noted(store: Store, key: str) -> str:
    import onnx

    if "tuned" not in store.header.model:
        return ""
    proto = onnx.load_model_from_string(store.model().data)
    return "".join(entry.value for entry in proto.metadata_props if entry.key == key)


def is_tuned_on(store: Store) -> NDArray[np.bool_]:
    """Tell which rows, bool (n,), a store's backbone was tuned on."""
    noted = _noted(store, TUNED_ON)
    if not noted:
        return np.zeros(len(store), bool)
    known = {noted[start : start + DIGITS] for start in range(0, len(noted), DIGITS)}
    return np.array([digest.tobytes().hex()[:DIGITS] in known for digest in store.rows.sha256], bool)


def without_tuned(store: Store, split: Split, draws: NDArray[np.float64]) -> Split:
    """Give a split that neither searches nor judges on what the backbone was tuned on.

    Images to judge on that it was tuned on are trained on instead, with their copies; in the search, the head is
    fitted on what it was tuned on and compared on the rest.

    Parameters
    ----------
    draws
        float64, of every row of the store: its random number, the same for copies of one image.

    Raises
    ------
    LabelError
        Where no image to judge on is left.
    """
    tuned = is_tuned_on(store)
    if not tuned[np.concatenate([split.train, split.test])].any():
        return split
    known = np.isin(draws, draws[tuned])
    test = split.test[~known[split.test]]
    if not len(test):
        raise LabelError(
            f"{store.location}: its backbone was tuned on every image that could be judged on; give a store that has "
            "other images too, or tune with the same splits"
        )
    train = np.union1d(split.train, split.test[known[split.test]])
    return replace(split, train=train, test=test, draws=draws[train], fresh=~known[train])


def with_own_folds(store: Store, split: Split, draws: NDArray[np.float64]) -> Split:
    """Give a split that was drawn for another backbone to this one: the same images, its own folds.

    Where its backbone was tuned on some of the images to train on, heads are compared on the others, as in
    `without_tuned`; where it was not, the folds are ordinary ones.

    Raises
    ------
    LabelError
        Where it was tuned on an image to judge on.
    """
    known = np.isin(draws, draws[is_tuned_on(store)])
    judged = int(known[split.test].sum())
    if judged:
        raise LabelError(
            f"{store.location}: expected a backbone that was not tuned on the images to judge on, found {judged} of "
            f"{len(split.test)} among those it was tuned on; put this store first: it decides the split"
        )
    return replace(split, fresh=~known[split.train] if known[split.train].any() else None)
