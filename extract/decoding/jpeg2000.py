"""JPEG 2000 (ISO/IEC 15444) of more than 8 bits in colour, or in a colour space, that Pillow reads wrong."""

from PIL import Image

from headstart.extract.errors import DecodeError

_CODESTREAM = b"\xff\x4f\xff\x51"
_COLOURS = frozenset({0, 12, 15, 16, 17, 18})
"""Enumerated colour spaces that Pillow reads: black and white, CMYK, sRGB, grey and sYCC."""


def check_jpeg2000(image: Image.Image, data: bytes) -> None:
    """Refuse what Pillow would read as another picture.

    Raises
    ------
    DecodeError
        With the depth or the colour space.
    """
    start = data.find(_CODESTREAM)
    components = int.from_bytes(data[start + 40 : start + 42], "big")  # of the SIZ segment (15444-1, A.5.1)
    depths = [(depth & 0x7F) + 1 for depth in data[start + 42 : start + 42 + 3 * components : 3]]
    readable = range(8, 17) if components == 1 else range(8, 9)  # in colour, 12 bits and more overflow: white is black
    if start >= 0 and not set(depths) <= {*readable}:
        layout = f"{components} x {max(depths)} bits"
        raise DecodeError(f"JPEG 2000 of {layout} is not supported; save it with 8 bits per channel")
    colours = data.find(b"colr", 0, max(start, 0))
    space = int.from_bytes(data[colours + 7 : colours + 11], "big")
    if colours >= 0 and data[colours + 4] == 1 and space not in _COLOURS:
        raise DecodeError(f"JPEG 2000 in colour space {space} (such as Lab) is not supported; save it as sRGB")
