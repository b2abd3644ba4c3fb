"""One difficult file in an image folder, and the pictures such files are made from."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 36
DAMAGED = "^(damaged PNG|truncated|this .+ (damaged|not supported)|not an image|empty)"
UNKNOWN = "^not (an image|a photo)"


@dataclass(frozen=True)
class Case:
    """One difficult file.

    Attributes
    ----------
    name
        Its path in the folder.
    make
        Its bytes, or a function that creates it.
    reason
        Pattern of the expected failure; empty if the file must be embedded, None if both are allowed.
    like
        Name of the case with the same embedding, if there is one.
    """

    name: bytes
    make: bytes | Callable[[bytes], None]
    reason: str | None = ""
    like: bytes = b""


def picture(mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """Draw a picture that every rotation changes: one colour per quarter."""
    quarters = np.array([[[230, 40, 20], [30, 200, 60]], [[40, 60, 220], [240, 220, 60]]], np.uint8)
    return Image.fromarray(quarters).resize(size, Image.Resampling.NEAREST).convert(mode)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    """Return a picture as the bytes of a file."""
    held = io.BytesIO()
    image.copy().save(held, form, **options)  # saving changes settings of a picture
    return held.getvalue()
