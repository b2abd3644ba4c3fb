"""Bytes of an image file -> pixels. The one place where pixels are made, for training and for scoring alike."""

import io
import math
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from extract.errors import DecodeError, OutOfMemoryError
from extract.resize import ResizeRule

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO")
"""What is accepted, by content. Formats that need another program (EPS) or hold no photos are not."""

MAX_PIXELS = 100_000_000
"""Pixels that an image may have once decoded: about 400 MB at most while it is worked on."""

LEAST_SCALE = 1.5
"""A JPEG may be decoded at a reduced scale that leaves at least this many times the target: for 12-megapixel photos a
quarter of the time, at a mean cosine of 0.999 to the embedding of the full decode."""

# Sizes are checked against MAX_PIXELS below, and a broken EXIF block is passed over; Pillow's warnings name no file.
warnings.filterwarnings("ignore", module=r"PIL\.")


def decode(data: bytes, rule: ResizeRule) -> NDArray[np.uint8]:
    """Decode one image and bring it to the rule's size.

    Parameters
    ----------
    data
        The bytes of an image file of one of `FORMATS`; the first frame of several is taken.

    Returns
    -------
    uint8, (H, W, 3), RGB, 0-255.

    Raises
    ------
    DecodeError
        With the reason, whatever is wrong with the bytes.
    """
    if not data:
        raise DecodeError("empty file")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return np.asarray(_fit(image, rule))
    except DecodeError:
        raise
    except UnidentifiedImageError:
        raise DecodeError(f"not an image of a known format (begins with {data[:12]!r})") from None
    except Image.DecompressionBombError:
        raise DecodeError(f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels") from None
    except MemoryError:
        raise OutOfMemoryError("not enough memory to decode it") from None
    except Exception as error:  # a decoder may raise anything on hostile bytes; every one is this image's failure
        raise DecodeError(f"damaged image: {_one_line(error)}") from None


def _fit(image: ImageFile.ImageFile, rule: ResizeRule) -> Image.Image:
    if image.format not in _REDUCED_WHILE_DECODED:
        _check_pixels(image)  # before anything may load them
        image.load()  # a TIFF turns itself upright here, and then has no orientation any more
    orientation = _orientation(image)
    turned = orientation in _TURNS_SIDEWAYS
    width, height = (rule.height, rule.width) if turned else (rule.width, rule.height)
    _reduce_while_decoding(image, rule.fit, width, height)
    _check_pixels(image)
    box = _centred_box(image, width / height) if rule.fit == "crop" else None
    fitted = _to_rgb(image).resize((width, height), Image.Resampling.BILINEAR, box=box)
    return fitted.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else fitted


def _check_pixels(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DecodeError(f"{image.width} x {image.height} is more than {MAX_PIXELS:,} pixels")


def _reduce_while_decoding(image: ImageFile.ImageFile, fit: str, width: int, height: int) -> None:
    left, top, right, bottom = _centred_box(image, width / height) if fit == "crop" else (0, 0, *image.size)
    wanted_width = math.ceil(LEAST_SCALE * width * image.width / (right - left))
    wanted_height = math.ceil(LEAST_SCALE * height * image.height / (bottom - top))
    image.draft(None, (wanted_width, wanted_height))  # only the JPEG reader acts on it


def _centred_box(image: Image.Image, aspect: float) -> tuple[float, float, float, float]:
    width, height = min(image.width, image.height * aspect), min(image.height, image.width / aspect)
    left, top = (image.width - width) / 2, (image.height - height) / 2
    return left, top, left + width, top + height


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise DecodeError("floating-point pixels have no stated range; save it with 8 or 16 bits")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _grey16(image).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _grey16(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise DecodeError("32-bit pixels beyond 0-65535 have no stated range; save it with 8 or 16 bits")
    to_8_bits = ((np.arange(65536) + 128) // 257).astype(np.uint8)
    grey = np.empty(values.shape, np.uint8)
    # By rows: an index array of the whole would be eight times its size.
    for row, out in zip(values, grey, strict=True):
        out[:] = to_8_bits[row]
    return Image.fromarray(grey)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # a broken EXIF block is no reason to lose the picture: it is taken as upright
        return 1


_REDUCED_WHILE_DECODED = frozenset({"JPEG", "MPO"})
_T = Image.Transpose
_TURNS_SIDEWAYS = frozenset({5, 6, 7, 8})
_UPRIGHT = {
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_270,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_90,
}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
