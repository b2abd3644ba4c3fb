"""Small upright copies of stored images, for people to look at."""

import hashlib
import io
import os
from pathlib import Path

from PIL import Image

from headstart.extract.decoding.decode import TURNS_SIDEWAYS, decode, open_image, orientation_of
from headstart.extract.errors import DecodeError
from headstart.extract.sources.items import leads_below
from headstart.extract.sources.packed import read_packed
from headstart.extract.sources.readers import read_file
from headstart.files.errors import HeadstartError
from headstart.files.resize import ResizeRule

QUALITY = 74
"""Of the JPEG; with less, its blocks are visible at this size."""


def thumbnail(
    root: str | os.PathLike[str], path: bytes, size: int = 96, *, sha256: bytes | None = None
) -> bytes | None:
    """Make a thumbnail of one image below a folder, with the pixels of `decode`.

    Parameters
    ----------
    root, path
        The folder of the images, and the image's path in it, as stored. A link that leads out of the folder is
        followed only for content that `sha256` identifies.
    size
        Pixels of the longer side; a smaller image keeps its size.
    sha256
        32 bytes: the digest that the content must have, so that a photo that was replaced is not shown.

    Returns
    -------
    The bytes of an RGB JPEG file without metadata, or None if the image cannot be read or was replaced.
    """
    try:
        is_plain = not path.startswith(b"/") and b".." not in path.split(b"/")
        if not leads_below(Path(root), path) and (sha256 is None or not is_plain):
            return None
        data = read_packed(root, path)
        if data is None:
            data, _ = read_file(os.path.join(os.fsencode(root), path))
        if sha256 is not None and hashlib.sha256(data).digest() != sha256:
            return None
        width, height = _upright_size(data)
        scale = min(1.0, size / max(width, height))
        rule = ResizeRule(max(1, round(height * scale)), max(1, round(width * scale)))
        jpeg = io.BytesIO()
        Image.fromarray(decode(data, rule)).save(jpeg, "JPEG", quality=QUALITY, optimize=True)
        return jpeg.getvalue()
    except (HeadstartError, ValueError):  # ValueError: a path with a zero byte
        return None


def _upright_size(data: bytes) -> tuple[int, int]:
    try:
        with open_image(data) as image:
            turned = image.format != "TIFF" and orientation_of(image) in TURNS_SIDEWAYS
            return (image.height, image.width) if turned else (image.width, image.height)
    except Exception as error:  # as in `decode`: on hostile bytes a decoder may raise anything
        raise DecodeError(str(error)) from None
