"""Bytes of an image file -> pixels, for training and scoring alike.

numpy is imported in the functions that use it: a worker process (`isolated`) starts three times as fast without it.
"""

import io
import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from PIL import Image, ImageFile, UnidentifiedImageError

from headstart.extract.decoding import jpeg, png
from headstart.extract.decoding.depth import is_deep, note_unused_colour, to_8_bits
from headstart.extract.decoding.formats import FORMATS, explain, explain_failure, missing_codec
from headstart.extract.decoding.heif import is_heif, open_heif
from headstart.extract.decoding.jpeg import decode_jpeg, open_jpeg
from headstart.extract.decoding.jpeg2000 import check_jpeg2000
from headstart.extract.decoding.tiff import is_tiff, open_tiff
from headstart.extract.errors import DecodeError, OutOfMemoryError, TryAgainError
from headstart.files.resize import ResizeRule

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_PIXELS = 100_000_000
"""Of a decoded image: about 400 MB, and twice that while it is converted."""
STRIP_PIXELS = 1 << 22
NO_MEMORY = "not enough memory to decode it"

LEAST_SCALE = 1.5
"""A JPEG is decoded at the smallest scale that leaves at least this multiple of the target: for 12-megapixel photos in
a quarter of the time, with a mean cosine of 0.999 to the embedding of the full decode."""

# MAX_PIXELS is checked below and broken EXIF blocks are ignored; Pillow's warnings name no file.
warnings.filterwarnings("ignore", module=r"PIL\.")


def decode(data: bytes, rule: ResizeRule, notes: list[str] | None = None) -> "NDArray[np.uint8]":
    """Decode one image and resize it by the rule.

    Parameters
    ----------
    data
        The bytes of an image file of one of `FORMATS`; of several frames the first is taken.
    notes
        Receives what is odd about an image that is decoded all the same (see `headstart.extract.notes`).

    Returns
    -------
    uint8, (H, W, 3), RGB, 0-255.

    Raises
    ------
    DecodeError
        With the reason, whatever is wrong with the bytes.
    """
    import numpy as np

    return np.frombuffer(decode_bytes(data, rule, [] if notes is None else notes), np.uint8).reshape(rule.shape)


def decode_bytes(data: bytes, rule: ResizeRule, notes: list[str]) -> bytes:
    """Decode one image, as `decode` does, to the H x W x 3 bytes of its pixels."""
    if not data:
        raise DecodeError("empty file")
    try:
        return _decode(data, rule, notes)
    except OutOfMemoryError:
        raise
    except DecodeError:
        if not data.startswith(png.SIGNATURE):
            raise
    notes.clear()
    return _decode(png.without_metadata(data, notes), rule, notes)


def _decode(data: bytes, rule: ResizeRule, notes: list[str]) -> bytes:
    image = None
    try:
        if data.startswith(jpeg.SIGNATURE):
            return decode_jpeg(data, lambda image, notes: _fit(image, rule, notes).tobytes(), notes)
        with open_image(data) as image:
            return _fit(image, rule, notes).tobytes()
    except DecodeError:
        raise
    except Image.DecompressionBombError:
        raise DecodeError(f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels") from None
    except MemoryError:
        raise OutOfMemoryError(NO_MEMORY) from None
    except Exception as error:  # on hostile bytes a decoder may raise anything
        if "out of memory" in str(error).lower() or _lacks_memory(data, image):
            raise OutOfMemoryError(NO_MEMORY) from None
        raise DecodeError(explain_failure(data, error)) from None


def open_image(data: bytes) -> ImageFile.ImageFile:
    """Open an image file without decoding it.

    Raises
    ------
    DecodeError
        With what the file is, if its format is not one of `FORMATS` or HEIF, or if it would come out as another
        picture; `TryAgainError` if a package is missing.
    """
    if data.startswith(jpeg.SIGNATURE):
        return open_jpeg(data)
    if is_heif(data):
        return open_heif(data)
    if is_tiff(data):
        return open_tiff(data)
    check_size(*_webp_size(data))  # its decoder takes memory for all pixels when it opens the file
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        if missing := missing_codec(data):
            raise TryAgainError(missing) from None
        raise DecodeError(explain(data)) from None
    check = _CHECKS.get(image.format or "")
    if check:
        check(image, data)
    return image


def _fit(image: ImageFile.ImageFile, rule: ResizeRule, notes: list[str]) -> Image.Image:
    if image.format not in _REDUCED_WHILE_DECODED:
        check_size(*image.size)  # before anything may load its pixels
        image.load()  # a TIFF turns itself upright here, and loses its orientation
    _reduce_while_decoding(image, rule.fit, *_size_before_turning(image, rule))
    check_size(*image.size)
    return resized(image, rule, notes)


def resized(image: Image.Image, rule: ResizeRule, notes: list[str]) -> Image.Image:
    """Return a decoded image as RGB, upright, and resized by the rule."""
    width, height = _size_before_turning(image, rule)
    box = _centred_box(image, width / height) if rule.fit == "crop" else None
    fitted = _to_rgb(image, rule, notes).resize((width, height), Image.Resampling.BILINEAR, box=box)
    turn = _UPRIGHT.get(orientation_of(image))
    return fitted if turn is None else fitted.transpose(turn)


def _size_before_turning(image: Image.Image, rule: ResizeRule) -> tuple[int, int]:
    sides = rule.width, rule.height
    return sides[::-1] if orientation_of(image) in TURNS_SIDEWAYS else sides


def check_size(width: int, height: int) -> None:
    """Refuse more than `MAX_PIXELS`, by a `DecodeError`."""
    if width * height > MAX_PIXELS:
        raise DecodeError(f"{width} x {height} is more than {MAX_PIXELS:,} pixels")


def _webp_size(data: bytes) -> tuple[int, int]:
    """Return width and height from a WebP header (RFC 9649); 0, 0 for another format."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return 0, 0
    if data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if data[12:16] == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF


def _lacks_memory(data: bytes, image: Image.Image | None) -> bool:
    """Tell whether a decoder that gives no reason failed for lack of memory."""
    width, height = _webp_size(data)
    needed = _BYTES["WEBP"] * width * height
    if image is not None and image.format in _BYTES:
        needed = _BYTES[image.format] * image.width * image.height
    try:
        bytearray(needed)  # never touched, so it costs nothing
    except MemoryError:
        return True
    return False


def _reduce_while_decoding(image: ImageFile.ImageFile, fit: str, width: int, height: int) -> None:
    left, top, right, bottom = _centred_box(image, width / height) if fit == "crop" else (0, 0, *image.size)
    wanted_width = math.ceil(LEAST_SCALE * width * image.width / (right - left))
    wanted_height = math.ceil(LEAST_SCALE * height * image.height / (bottom - top))
    image.draft(None, (wanted_width, wanted_height))  # only the JPEG reader acts on it


def _centred_box(image: Image.Image, aspect: float) -> tuple[float, float, float, float]:
    width, height = min(image.width, image.height * aspect), min(image.height, image.width / aspect)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return left, top, left + width, top + height


def _to_rgb(image: Image.Image, rule: ResizeRule, notes: list[str]) -> Image.Image:
    if image.mode == "F":
        raise DecodeError("floating-point pixels have no stated range; save it with 8 or 16 bits")
    if is_deep(image):
        return to_8_bits(image, rule.grey_bits, notes).convert("RGB")
    if image.format in ("BMP", "ICO") and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")  # many programs leave the fourth byte 0
    note_unused_colour(image, notes)
    if image.mode == "La":  # alpha is multiplied in; it converts to nothing else
        image = image.convert("LA")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _over_white(image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    result = Image.new("RGB", image.size)
    rows = max(1, STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):  # by strips: the whole image would need four copies
        strip = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        result.paste(Image.alpha_composite(white, strip).convert("RGB"), (0, top))
    return result


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation, 1-8; 1 (upright) if there is none."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # a broken EXIF block is no reason to lose the picture
        return 1


_BYTES = {"WEBP": 8, "JPEG2000": 12, "AVIF": 6, "HEIF": 8}
"""Bytes per pixel that a decoder allocates at once, for the formats whose decoders do not report lack of memory."""
_CHECKS: dict[str, Callable[[Image.Image, bytes], None]] = {"PNG": png.check_png, "JPEG2000": check_jpeg2000}
_REDUCED_WHILE_DECODED = frozenset({"JPEG", "MPO"})
_T = Image.Transpose
TURNS_SIDEWAYS = frozenset({5, 6, 7, 8})
_UPRIGHT = {
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_270,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_90,
}
