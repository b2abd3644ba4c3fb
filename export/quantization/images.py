"""Which of a user's images int8 can be calibrated and judged on."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from headstart.export.errors import QuantizationError

LEAST_CALIBRATION: Final = 30

#: Root mean square difference between neighbouring pixels, in grey levels. Photos have 8 and more; a single colour has
#: 0, and a smooth gradient over 224 pixels 0.6.
LEAST_DETAIL: Final = 1.0

CELLS: Final = 8


def varied(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Leave out images without detail and copies: int8 agrees with fp32 on them whatever it does to photos.

    Parameters
    ----------
    images : ndarray of uint8, (n, h, w, 3), RGB, 0-255

    Returns
    -------
    ndarray of uint8, (m, h, w, 3)
        In the same order, m >= `LEAST_CALIBRATION`.

    Raises
    ------
    QuantizationError
        If fewer than `LEAST_CALIBRATION` images are left.
    """
    detailed = np.array([_detail(image) >= LEAST_DETAIL for image in images], bool)
    first: dict[bytes, int] = {}
    for number in np.flatnonzero(detailed):
        first.setdefault(_thumbnail(images[number]), int(number))
    if len(first) < LEAST_CALIBRATION:
        flat, copies = int((~detailed).sum()), int(detailed.sum()) - len(first)
        left_out = f" ({flat} without detail and {copies} copies are left out)" if flat or copies else ""
        raise QuantizationError(
            f"int8 needs at least {LEAST_CALIBRATION} different images to calibrate on, "
            f"found {len(first)}{left_out}: give more photos of the kind that you will embed"
        )
    return images[list(first.values())]


def _detail(image: NDArray[np.uint8]) -> float:
    steps = np.diff(image.astype(np.float32), axis=0)[:, :-1], np.diff(image.astype(np.float32), axis=1)[:-1]
    return float(np.sqrt(np.mean([np.square(step).mean() for step in steps])))


def _thumbnail(image: NDArray[np.uint8]) -> bytes:
    """Average an image in `CELLS` x `CELLS` cells, to a few levels of grey, so that a re-encoded copy is the same."""
    rows, columns = (np.linspace(0, side, CELLS, endpoint=False).astype(int) for side in image.shape[:2])
    grey = np.add.reduceat(np.add.reduceat(image.mean(axis=2), rows, axis=0), columns, axis=1)
    counts = np.outer(np.diff([*rows, image.shape[0]]), np.diff([*columns, image.shape[1]]))
    return bytes(np.round(grey / counts / 4).astype(np.uint8).tobytes())
