"""Opens a TIFF at the page that holds the picture, and refuses what Pillow would read as another picture."""

import io
import struct
from collections import deque
from typing import Any

from PIL import ImagePalette, TiffImagePlugin

from headstart.extract.decoding.formats import DEVELOP, TRUNCATED, explain, raw_name
from headstart.extract.errors import DecodeError

Tags = dict[int, Any]

MAX_PAGES = 64
"""How many pages are searched for the full one."""
THINNEST = 4
"""Pixels; several pages of fewer are an array that was saved along the wrong axis."""
_TAGS = (
    SUBFILE, OLD_SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, MAKE, SAMPLES, STRIPS, MOST, PLANAR, PALETTE,
    TILES, SUB_IFDS, EXTRA, FORMAT, DNG_VERSION,
) = (254, 255, 256, 257, 258, 259, 262, 271, 277, 279, 281, 284, 320, 325, 330, 338, 339, 50706)  # fmt: skip
"""Tags of TIFF 6.0, its supplements, and DNG 1.7."""
_OFFSET, _NEXT = -1, -2
_RAW = frozenset({32803, 34892})
"""Colour filter array and linear raw: how DNG, NEF and their kin interpret samples."""
_REFUSED = "TIFF with {} is not supported; save it as RGB or grey with 8 or 16 unsigned bits"


def is_tiff(data: bytes) -> bool:
    """Tell whether bytes begin as a TIFF or BigTIFF does."""
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_tiff(data: bytes) -> TiffImagePlugin.TiffImageFile:
    """Open the full page of a TIFF, without loading its pixels.

    For grey of more than 8 bits, ``info["bits"]`` of the result is the stated depth, if any, and
    ``info["white_is_zero"]`` is set where Pillow leaves white at 0.

    Raises
    ------
    DecodeError
        With the reason, if no page is a full picture, or if Pillow cannot read its samples, or reads them wrong.
    """
    pages = _Pages(data)
    tags = pages.full()
    layout = _misread(tags)
    if layout:
        raise DecodeError(_REFUSED.format(layout))
    data = pages.starting_at(tags)
    try:
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    except SyntaxError:
        raise DecodeError(explain(data)) from None
    _correct(image, tags)
    return image


class _Pages:
    """The directories of a file: the main chain, and below the first page its sub-images."""

    def __init__(self, data: bytes) -> None:
        self._data, self._file = data, io.BytesIO(data)
        self._directory = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if 43 in data[2:4] else 8])
        self._first = self._directory.next

    def full(self) -> Tags:
        """Return the tags of the page to take: the first that is no reduced version of another."""
        if self._data[8:10] == b"CR":
            raise DecodeError(DEVELOP.format("Canon CR2"))
        first = self._read(self._first)
        if WIDTH not in first or HEIGHT not in first:
            raise DecodeError(TRUNCATED.format("TIFF"))
        pages = [first]
        if _is_reduced(first) or SUB_IFDS in first or DNG_VERSION in first:
            pages += self._others(first)
        name = raw_name(first) if _is_reduced(first) or DNG_VERSION in first else ""
        if name or any(page.get(PHOTOMETRIC) in _RAW for page in pages):
            raise DecodeError(DEVELOP.format(name or "TIFF"))
        if min(first[WIDTH], first[HEIGHT]) <= THINNEST and first[_NEXT]:
            size = f"pages of {first[WIDTH]} x {first[HEIGHT]} pixels"
            raise DecodeError(f"TIFF of several {size}; save the array as one page, with its channels last")
        full = next((page for page in pages if not _is_reduced(page)), None)
        if full is None:
            raise DecodeError("TIFF with nothing but a thumbnail; save or export the full picture again")
        return full

    def starting_at(self, tags: Tags) -> bytes:
        """Return the file with a page as its first."""
        offset: int = tags[_OFFSET]
        if offset == self._first:
            return self._data
        start, kind = (8, "Q") if 43 in self._data[2:4] else (4, "I")
        first = struct.pack(("<" if self._data[:2] == b"II" else ">") + kind, offset)
        return self._data[:start] + first + self._data[start + len(first) :]

    def _others(self, first: Tags) -> list[Tags]:
        pages, seen = [], {0, self._first}
        waiting = deque(_following(first))
        while waiting and len(seen) <= MAX_PAGES:
            offset = waiting.popleft()
            if offset not in seen:
                seen.add(offset)
                pages.append(self._read(offset))
                waiting.extend(_following(pages[-1]))
        return [page for page in pages if WIDTH in page and HEIGHT in page]

    def _read(self, offset: int) -> Tags:
        self._file.seek(offset)
        self._directory.load(self._file)
        tags = {tag: self._directory[tag] for tag in _TAGS if tag in self._directory}
        return tags | {_OFFSET: offset, _NEXT: self._directory.next}


def _following(page: Tags) -> list[int]:
    """Return the offsets of the pages that a page names: the next one, and those inside it."""
    return [page[_NEXT], *_numbers(page.get(SUB_IFDS, ()))[:MAX_PAGES]]


def _misread(tags: Tags) -> str:
    """Describe samples that Pillow would read as another picture; empty for others."""
    kinds, bits, samples = _numbers(tags.get(FORMAT, 1)), _numbers(tags.get(BITS, 1)), tags.get(SAMPLES, 1)
    if 2 in kinds and max(bits) <= 16:
        return f"signed samples of {max(bits)} bits, of which none is stated as black or white,"
    is_planar = tags.get(PLANAR) == 2 and samples > 1
    if is_planar and samples == 2 and any(_numbers(tags.get(EXTRA, 2))):
        return "grey and another channel in separate planes"
    if is_planar and tags.get(PHOTOMETRIC) == 8:
        return "CIELab in separate planes"
    is_ycbcr = tags.get(PHOTOMETRIC) == 6 and tags.get(COMPRESSION, 1) == 1
    return "uncompressed subsampled or planar YCbCr" if is_ycbcr and (is_planar or _holds_less(tags)) else ""


def _correct(image: TiffImagePlugin.TiffImageFile, tags: Tags) -> None:
    image.info["colour_bits"] = max(_numbers(tags.get(BITS, 1))) if tags.get(PHOTOMETRIC) == 2 else 0
    colours = tags.get(PALETTE, (256,))
    if max(colours) < 256 and image.mode in ("P", "PA"):  # some writers scale to 8 bits; libtiff has the same rule
        image.palette = ImagePalette.raw("RGB;L", bytes(colours))
    if tags.get(PLANAR) == 2 and tags.get(COMPRESSION, 1) == 1 and tags.get(SAMPLES, 1) > 1:
        _read_with_libtiff(image, tags)
    if image.mode == "I" or image.mode.startswith("I;16"):
        stated = [min(_numbers(tags.get(BITS, 16))), max(_numbers(tags.get(MOST, 0))).bit_length()]
        image.info["bits"] = min((bits for bits in stated if bits), default=16)
        image.info["white_is_zero"] = tags.get(PHOTOMETRIC) == 0


def _read_with_libtiff(image: TiffImagePlugin.TiffImageFile, tags: Tags) -> None:
    """Have libtiff read uncompressed planes as well: Pillow's own reader mistakes those of 16 bits."""
    mode = "RGBa" if 1 in _numbers(tags.get(EXTRA, 0)) else image.mode.partition(";")[0]
    raw = mode + (";16N" if max(_numbers(tags[BITS])) == 16 else "")
    whole = 0, 0, tags[WIDTH], tags[HEIGHT]
    arguments = raw, False, tags[_OFFSET]
    image.tile = [image.tile[0]._replace(codec_name="libtiff", extents=whole, offset=0, args=arguments)]
    image.use_load_libtiff = True


def _holds_less(tags: Tags) -> bool:
    """Tell whether uncompressed samples take less than their bits, as those of subsampled chroma do."""
    stored = sum(_numbers(tags.get(STRIPS, tags.get(TILES, 0))))
    return bool(stored < tags[WIDTH] * tags[HEIGHT] * sum(_numbers(tags.get(BITS, 8))) // 8)


def _is_reduced(tags: Tags) -> bool:
    return bool(tags.get(SUBFILE, 0) & 5 or tags.get(OLD_SUBFILE, 0) == 2)


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple) else (value,)
