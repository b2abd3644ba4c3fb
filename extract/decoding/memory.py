"""Images in memory -> pixels, by the same resize rule as files."""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headstart.extract.decoding.decode import NO_MEMORY, check_size, resized
from headstart.extract.errors import DecodeError, OutOfMemoryError
from headstart.files.errors import one_line
from headstart.files.resize import ResizeRule

Picture = Image.Image | NDArray[np.uint8]
"""An image of Pillow, whose EXIF orientation counts; or uint8 RGB (H, W, 3) or grey (H, W), 0-255."""

_loading = threading.Lock()
"""Pillow loads an image when its pixels are first needed; two threads would do that at once."""


def fit_picture(picture: Any, rule: ResizeRule, notes: list[str]) -> NDArray[np.uint8]:
    """Resize an image in memory; nothing of it is changed.

    A JPEG that Pillow has opened is resized from its full size, and not, as a file, from a reduced one: their
    embeddings differ a little.

    Returns
    -------
    uint8, (H, W, 3), RGB, 0-255.

    Raises
    ------
    DecodeError
        If it is no `Picture`, or Pillow cannot load it.
    """
    try:
        image = picture if isinstance(picture, Image.Image) else _from_array(picture)
        check_size(*image.size)
        if not all(image.size):
            raise DecodeError(f"{image.width} x {image.height} pixels; expected at least one")
        with _loading:
            image.load()
        return np.asarray(resized(image, rule, notes))
    except DecodeError:
        raise
    except MemoryError:
        raise OutOfMemoryError(NO_MEMORY) from None
    except Exception as error:  # Pillow raises many types for an image that it has only opened
        raise DecodeError(f"Pillow cannot load it: {one_line(error)}") from None


def _from_array(array: Any) -> Image.Image:
    if not isinstance(array, np.ndarray):
        raise DecodeError(f"expected a path, bytes, an image of Pillow or an array, found {type(array).__name__}")
    if array.dtype != np.uint8 or not (array.ndim == 2 or array.shape[2:] == (3,)):
        raise DecodeError(f"expected an array uint8 (H, W, 3) or (H, W), 0-255, found {array.dtype} {array.shape}")
    return Image.fromarray(np.ascontiguousarray(array))
