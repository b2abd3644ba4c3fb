"""Grey of more than 8 bits per sample: how many of them carry the picture, and their scaling to 8."""

from typing import TYPE_CHECKING, cast

from PIL import Image

from headstart.extract.errors import DecodeError
from headstart.files.resize import FULL

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CAMERA_DEPTHS = (8, 10, 12, 14)
"""Bits that sensors deliver in samples of 16."""
UNUSED = "grey of 16 bits that uses only the lower {0}, so that it is dark; embed it with --grey-bits {0}"

UNUSED_IN_COLOUR = "colour of 16 bits that uses only the lower ones, so that it is dark; scale it to 8 bits before"


def note_unused_colour(image: Image.Image, notes: list[str]) -> None:
    """Note colour of 16 bits (``info["colour_bits"]``), of which Pillow keeps 8, if it leaves the first two unused."""
    if image.info.get("colour_bits") == FULL:
        extrema = cast("tuple[tuple[int, int], ...]", image.getextrema())
        if 0 < max(high for _, high in extrema[:3]) < 64:
            notes.append(UNUSED_IN_COLOUR)


def is_deep(image: Image.Image) -> bool:
    """Tell whether an image is grey of more than 8 bits."""
    return image.mode == "I" or image.mode.startswith("I;16")


def to_8_bits(image: Image.Image, grey_bits: int, notes: list[str]) -> Image.Image:
    """Scale grey of 16 bits to 8, with a value that the file declares transparent on white.

    The depth is what the file states (``info["bits"]``), otherwise `grey_bits`; neither holds for an image with greater
    values. `notes` is told of an image whose upper bits nobody uses.

    Raises
    ------
    DecodeError
        If values are beyond 0-65535.
    """
    import numpy as np

    values = np.asarray(image)
    peak = int(values.max())
    if values.min() < 0 or peak > 65535:
        raise DecodeError("32-bit pixels beyond 0-65535 have no stated range; save it with 8 or 16 bits")
    stated = image.info.get("bits", FULL)
    if image.format == "PNG" and not (values & ((1 << FULL - stated) - 1)).any():
        stated = FULL  # the significant bits are the upper ones, as the standard has it (ISO 15948, 11.3.2.7)
    bits = next((bits for bits in (stated, grey_bits) if bits < FULL and not peak >> bits), FULL)
    used = next((depth for depth in CAMERA_DEPTHS if not peak >> depth), FULL)
    if bits == FULL and used < FULL and peak:
        notes.append(UNUSED.format(used))
    grey = np.empty(values.shape, np.uint8)
    table = _table(image, bits)
    # By rows: the index array of a whole image would be eight times its size.
    for row, out in zip(values, grey, strict=True):
        out[:] = table[row]
    return Image.fromarray(grey)


def _table(image: Image.Image, bits: int) -> "NDArray[np.uint8]":
    """Return 65,536 values: what each sample becomes."""
    import numpy as np

    most = (1 << bits) - 1
    table = ((np.arange(65536) * 255 + most // 2) // most).clip(0, 255).astype(np.uint8)
    if image.info.get("white_is_zero"):
        table = 255 - table
    if isinstance(image.info.get("transparency"), int):
        table[image.info["transparency"]] = 255
    return table
