"""One file of the worst that a folder of images can hold, and the pictures that such files are made of."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 48, 36
DAMAGED = "^(damaged image: .|not an image of a known format|empty file)"
UNKNOWN = "^not an image of a known format"


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes
    ----------
    name
        Its path in the folder.
    make
        Its bytes, or what puts it there.
    reason
        A pattern of the reason why it fails; empty where it must be embedded; None where it may be either.
    like
        Name of the case whose embedding it must have, where it has one.
    """

    name: bytes
    make: bytes | Callable[[bytes], None]
    reason: str | None = ""
    like: bytes = b""


def picture(mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """Draw a picture that no turn leaves the same: one colour in each quarter."""
    quarters = np.array([[[230, 40, 20], [30, 200, 60]], [[40, 60, 220], [240, 220, 60]]], np.uint8)
    return Image.fromarray(quarters).resize(size, Image.Resampling.NEAREST).convert(mode)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    """Give the bytes of a file."""
    held = io.BytesIO()
    image.copy().save(held, form, **options)  # saving leaves settings behind in a picture
    return held.getvalue()
