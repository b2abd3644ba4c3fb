"""HEIC and HEIF photos, as phones take them, through the extra ``heif``."""

import io
from importlib import import_module
from typing import TYPE_CHECKING

from headstart.extract.decoding.formats import explain_failure
from headstart.extract.errors import DecodeError, TryAgainError

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

PACKAGES = ("pillow_heif", "pi_heif")
"""The second is the first without its encoder, for those whom the encoder's licence (GPL) is a problem."""
HEVC, AV1 = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}), frozenset({b"avif", b"avis"})
"""Brands by compression (ISO/IEC 23008-12); ``mif1`` alone does not name one."""


def is_heif(data: bytes) -> bool:
    """Tell whether the first box of a file names a brand of HEIF with HEVC."""
    if data[4:8] != b"ftyp":
        return False
    box = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
    brands = {box[at : at + 4] for at in range(0, len(box), 4)}
    return bool(brands & HEVC) or (b"mif1" in brands and not brands & AV1)


def open_heif(data: bytes) -> "ImageFile":
    """Open a HEIF file; its orientation and its bit depth are those of 8-bit upright pictures once it is loaded.

    Raises
    ------
    TryAgainError
        If the extra is not installed.
    DecodeError
        If the file is damaged.
    """
    for package in PACKAGES:
        try:
            plugin = import_module(package)
            break
        except ImportError:
            continue
    else:
        raise TryAgainError('HEIC photo, which needs an extra: pip install "headstart[heif]", or convert it to JPEG')
    plugin.options.DECODE_THREADS = 1  # a run has a thread per core already
    plugin.options.THUMBNAILS = False  # `draft` would decode one instead of the photo
    try:
        image: ImageFile = plugin.HeifImageFile(io.BytesIO(data))  # without `Image.open`'s own limit of the size
    except SyntaxError as error:
        raise DecodeError(explain_failure(data, error)) from None
    return image
