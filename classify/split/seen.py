"""Which images a model file was made from, as digests in its ONNX metadata."""

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import LabelError
from headstart.extract.store.store import Store

TRAINED_ON = "headstart-trained-on"
"""The entry of a classifier: the images that its head was fitted on."""
TUNED_ON = "headstart-tuned-on"
"""The entry of a backbone: the images that its tail was tuned on."""
CHOSE_EPOCH = "headstart-chose-epoch"
"""Another: the images on which its best epoch was chosen. Files of release 0.1 lack it."""
DIGITS = 16
"""Hexadecimal digits of each image's digest, one image after another: 64 bits, so that of a million new images and a
million named ones, two agree by chance with a probability of 1e12 / 2^64 = 5e-8."""


def digests_of(store: Store, rows: NDArray[np.int64]) -> str:
    """Return the text that names these rows of a store."""
    return "".join(sorted(digest.tobytes().hex()[:DIGITS] for digest in store.rows.sha256[rows]))


def entry_of(model: bytes, key: str) -> str:
    """Return an entry of the metadata of an ONNX file; empty if it has none."""
    import onnx

    proto = onnx.load_model_from_string(model)
    return "".join(entry.value for entry in proto.metadata_props if entry.key == key)


def is_named(store: Store, digests: str) -> NDArray[np.bool_]:
    """Tell which rows, bool (n,), hold an image that a text of `digests_of` names, under any path and label."""
    own = np.ascontiguousarray(store.rows.sha256[:, : DIGITS // 2]).view("<u8").ravel()
    try:
        named = np.frombuffer(bytes.fromhex(digests), "<u8")
    except ValueError:
        raise LabelError(
            f"{store.location}: the list of images that the model was made from is damaged; train or tune it again"
        ) from None
    return np.isin(own, named)
