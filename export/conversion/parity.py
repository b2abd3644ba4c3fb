"""The comparison of an exported model with its reference (numpy or Keras), before it is written."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from headstart.export.conversion.features import Group
from headstart.export.conversion.frameworks import require
from headstart.export.errors import ParityError

#: Largest allowed max|onnx - reference| / max|reference|. Two correct float32 engines sum a few thousand products in
#: different orders and differ by 1e-7 to 1e-5; the smallest real fault (a border, an epsilon, a half-pixel) changes
#: embeddings by more than 1e-2. 1e-3 is a factor of ten or more from either.
TOLERANCE: Final = 1e-3

#: Embeddings of very different images that differ by less than this, relative to their size, are constant.
LEAST_SPREAD: Final = 1e-6


@dataclass(frozen=True)
class Parity:
    """The difference between ONNX and the reference on the probe images.

    Attributes
    ----------
    max_difference : float
        Largest absolute difference of any embedding value.
    relative : float
        The same, divided by the largest absolute value of the reference's embeddings (of the same group of columns).
    """

    max_difference: float
    relative: float

    def metadata(self) -> dict[str, float]:
        """Return the figures for the file, rounded up to one digit: further digits vary with the machine's threads."""
        return {
            "max_abs_difference": _rounded_up(self.max_difference),
            "max_relative_difference": _rounded_up(self.relative),
            "relative_tolerance": TOLERANCE,
        }


def run_onnx(model: bytes, images: NDArray[np.uint8], output: str = "embedding") -> NDArray[np.float32]:
    """Embed images with onnxruntime on the CPU: the first one alone, the rest as one batch.

    Parameters
    ----------
    model : bytes
        A serialised backbone.
    images : ndarray of uint8, (n, h, w, 3), RGB, 0-255
        At least two.
    output : str
        The output to compute.

    Returns
    -------
    ndarray of float32, (n, d), or for the tensor at a cut (n, h, w, c)

    Raises
    ------
    MissingExtraError
        If onnxruntime cannot be imported.
    """
    runtime = require("onnxruntime", "onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    parts: list[Any] = [session.run([output], {"image": part})[0] for part in (images[:1], images[1:])]
    return np.concatenate(parts)


def compare(found: NDArray[np.float32], reference: NDArray[np.float32]) -> Parity:
    """Compare ONNX embeddings with those of the reference.

    Parameters
    ----------
    found, reference : ndarray of float32, (n, d)
        From ONNX and from the reference, for the same images, which have to differ.

    Raises
    ------
    ParityError
        If they differ by more than `TOLERANCE`, are not finite, or are the same for every image.
    """
    if found.shape != reference.shape:
        raise ParityError(
            f"ONNX gives embeddings of shape {found.shape}, the reference of {reference.shape}: nothing is written"
        )
    if not (np.isfinite(reference).all() and np.isfinite(found).all()):
        raise ParityError("some embeddings are not finite: the weights are not usable, nothing is written")
    largest = float(np.abs(reference).max())
    if float(np.ptp(reference, axis=0).max()) <= LEAST_SPREAD * max(largest, 1e-3):
        raise ParityError("embeddings are the same for every image: the weights are not usable, nothing is written")
    difference = float(np.abs(found - reference).max())
    if difference > TOLERANCE * largest:
        raise ParityError(
            f"ONNX and the reference differ by {difference:.2e}, more than the allowed {TOLERANCE * largest:.2e}: "
            "nothing is written, please report it with the versions of onnx, onnxruntime, numpy, tensorflow and keras"
        )
    return Parity(difference, difference / largest)


def compare_groups(found: NDArray[np.float32], reference: NDArray[np.float32], groups: Sequence[Group]) -> Parity:
    """Compare each group of columns separately, so that large values in one hide no fault in another.

    Raises
    ------
    ParityError
        As `compare`, naming the group.
    """
    parities = []
    for group in groups:
        columns = slice(group.start, group.start + group.size)
        try:
            parities.append(compare(found[:, columns], reference[:, columns]))
        except ParityError as error:
            raise ParityError(f"{group.name} ({group.pooling}): {error}") from None
    return Parity(max(p.max_difference for p in parities), max(p.relative for p in parities))


def _rounded_up(value: float) -> float:
    if value == 0:
        return 0.0
    step = 10.0 ** np.floor(np.log10(value))
    return float(f"{np.ceil(value / step) * step:.0e}")
