"""JPEG files (ITU-T T.81): opening them by what they hold in memory, and telling whether the whole picture is there.

Where a file ends early, libjpeg paints the rest grey, or leaves it blurred, and warns; Pillow passes no warnings on. So
a picture in doubt is decoded once more with noise where its data end: if that changes the result, data are missing.
"""

import io
import re
from collections.abc import Callable

from PIL.JpegImagePlugin import JpegImageFile

from headstart.extract.decoding.formats import TRUNCATED, explain
from headstart.extract.errors import DecodeError

SIGNATURE, END, SCAN = b"\xff\xd8\xff", b"\xff\xd9", b"\xff\xda"
NO_END = "JPEG without its end marker, embedded as it is"
FEWER_SCANS = "progressive JPEG without its last scans, embedded with less detail"

SURELY_POSSIBLE, LARGEST_PER_BYTE = 100_000_000, 512
"""Pixels that any file may claim, and pixels per byte of a file that claims more: a Huffman code has at least one bit,
and the first scan has a code for each block of 64 pixels."""
LARGEST_BUFFER = 1_200_000_000
"""Bytes of the coefficients, which libjpeg keeps for the whole picture if it comes in several scans."""
NOISE = bytes(number * 167 % 255 for number in range(1, 1000))
"""Without 0xff, which would begin a marker."""


def decode_jpeg(data: bytes, fit: Callable[[JpegImageFile, list[str]], bytes], notes: list[str]) -> bytes:
    """Decode a JPEG file by `fit`, which takes the opened image, and note what is missing but does no harm.

    Raises
    ------
    DecodeError
        If it cannot be opened, claims too much, or ends within the picture.
    """
    image = open_jpeg(data)
    start = image.fp.tell() if image.fp else 0  # of the data of the first scan
    _check_buffer(image, data, start)
    has_end = data.endswith(END) or data.find(END, start) >= 0
    if not has_end:
        data = data.rstrip(b"\xff") + END
        image = open_jpeg(data)
    pixels = fit(image, notes)
    if (not has_end or _ends_grey(image)) and fit(open_jpeg(_with_noise(data, start)), []) != pixels:
        raise DecodeError(TRUNCATED.format("JPEG"))
    is_whole = "progressive" not in image.info or _has_all_scans(image, data, start)
    if not has_end and not is_whole:
        raise DecodeError(TRUNCATED.format("JPEG"))
    notes += [] if has_end else [NO_END]
    notes += [] if is_whole else [FEWER_SCANS]
    return pixels


def open_jpeg(data: bytes) -> JpegImageFile:
    """Open a JPEG file, of whatever size; ``draft`` may make it smaller before it is decoded.

    Raises
    ------
    DecodeError
        If libjpeg cannot decode this kind of JPEG, or the headers are damaged.
    """
    try:
        # `Image.open` would judge by the size before the draft.
        return (_LosslessImageFile if _is_lossless(data) else JpegImageFile)(io.BytesIO(data))
    except (SyntaxError, OSError) as error:
        if layout := re.match(r"cannot handle (\d+-bit|\d+-layer)", str(error)):
            raise DecodeError(f"{layout[1]} JPEG is not supported; convert it to PNG or 8-bit JPEG") from None
        raise DecodeError(explain(data) if SCAN in data else TRUNCATED.format("JPEG")) from None


class _LosslessImageFile(JpegImageFile):
    """A lossless JPEG, which libjpeg decodes in its full size only."""

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> None:
        """Leave the size as it is."""


def _is_lossless(data: bytes) -> bool:
    """Tell whether the marker of the frame is one of lossless JPEG (T.81, table B.1)."""
    at = 2
    while data[at : at + 1] == b"\xff" and at + 1 < len(data):
        if 0xC0 <= data[at + 1] <= 0xCF and data[at + 1] not in (0xC4, 0xC8, 0xCC):
            return data[at + 1] in (0xC3, 0xC7, 0xCB)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return False


def _check_buffer(image: JpegImageFile, data: bytes, start: int) -> None:
    """Refuse a header that claims more than its file can hold, or scans that take too much memory together."""
    pixels = image.width * image.height
    if pixels > max(SURELY_POSSIBLE, LARGEST_PER_BYTE * len(data)):
        raise DecodeError(
            f"damaged JPEG: {image.width} x {image.height} are more pixels than its {len(data):,} bytes can hold"
        )
    samples = [vertical * horizontal for _, vertical, horizontal, _ in image.layer]
    in_scan = data[data.rfind(SCAN, 0, start) + 4]
    coefficients = 2 * pixels * sum(samples) // max(1, *samples)
    if "progressive" not in image.info and in_scan == len(samples):
        return
    if coefficients > LARGEST_BUFFER:
        raise DecodeError(
            f"{image.width} x {image.height} pixels of a progressive JPEG take {coefficients >> 20:,} MB; "
            "save it smaller, or as a baseline JPEG"
        )
    bytearray(coefficients)  # raises MemoryError, where libjpeg gives no reason; never touched, so it costs nothing


def _ends_grey(image: JpegImageFile) -> bool:
    """Tell whether the last pixel is as libjpeg paints what is missing."""
    last = image.getpixel((image.width - 1, image.height - 1))
    return all(value in (127, 128) for value in (last if isinstance(last, tuple) else (last,)))


def _with_noise(data: bytes, start: int) -> bytes:
    """Add noise where the data of the last scan end. Nobody reads it if they are complete."""
    return data[: data.find(END, start)].rstrip(b"\xff") + NOISE + END


def _has_all_scans(image: JpegImageFile, data: bytes, start: int) -> bool:
    """Tell whether the scans bring every coefficient of every component to its last bit (T.81, G.1.1.1)."""
    end = data.find(END, start)
    found: set[tuple[int, int]] = set()
    at = data.rfind(SCAN, 0, start)
    while 0 <= at < end:
        count = data[at + 4]
        last = at + 5 + 2 * count
        if data[last + 2] & 15 == 0:
            components = data[at + 5 : last : 2]
            found |= {(one, index) for one in components for index in range(data[last], data[last + 1] + 1)}
        at = data.find(SCAN, last)
    return {(layer[0], index) for layer in image.layer for index in range(64)} <= found
