"""PNG files (ISO/IEC 15948): their depth, and metadata for which Pillow refuses the whole file."""

import struct
import zlib

from PIL import Image

from headstart.extract.decoding.depth import is_deep
from headstart.extract.decoding.formats import TRUNCATED
from headstart.extract.errors import DecodeError
from headstart.files.resize import FULL

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PICTURE = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"sBIT"})
"""The chunks that the pixels come from."""
BAD_METADATA = "PNG whose metadata have a wrong checksum, embedded without them"


def check_png(image: Image.Image, data: bytes) -> None:
    """Put right what Pillow makes of a depth other than 8, or refuse it.

    An image of 16-bit grey is told its stated depth, and one of 2 or 4 bits the transparent grey at 8 bits.

    Raises
    ------
    DecodeError
        If one colour of 16 bits per channel is declared transparent: Pillow compares only half of its bits.
    """
    image.info["colour_bits"] = data[24] if data[25] in (2, 6) else 0
    if is_deep(image):
        image.info["bits"] = _significant_bits(data)
    elif data[24:26] in (b"\2\0", b"\4\0") and "transparency" in image.info:  # IHDR: 2 or 4 bits, grey
        image.info["transparency"] *= 255 // ((1 << data[24]) - 1)
    elif data[24:26] == b"\x10\2" and "transparency" in image.info:  # 16 bits, colour
        raise DecodeError("PNG of 16 bits with one transparent colour is not supported; save it with an alpha channel")


def _significant_bits(data: bytes) -> int:
    """Return what the sBIT chunk of a grey image states; 16 if there is none."""
    return next(iter(find_chunk(data, b"sBIT", last=b"IDAT")), FULL)


def find_chunk(data: bytes, wanted: bytes, last: bytes = b"IEND") -> bytes:
    """Return the content of the first chunk of a kind before the chunk `last`; empty if there is none."""
    at, kind = len(SIGNATURE), b""
    while at + 9 < len(data) and kind != last:
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == wanted:
            return data[at + 8 : at + 8 + size]
        at += 12 + size
    return b""


def without_metadata(data: bytes, notes: list[str]) -> bytes:
    """Leave out every chunk that the pixels do not come from, except a sound eXIf.

    Raises
    ------
    DecodeError
        If a chunk of the picture is damaged or missing.
    """
    kept, at, kind = [SIGNATURE], len(SIGNATURE), b""
    while kind != b"IEND":
        if at + 12 > len(data):
            raise DecodeError(TRUNCATED.format("PNG"))
        size, kind = struct.unpack_from(">I4s", data, at)
        chunk, at = data[at : at + size + 12], at + size + 12
        is_sound = chunk[-4:] == zlib.crc32(chunk[4:-4]).to_bytes(4, "big")
        if kind in PICTURE and len(chunk) == size + 12 and not is_sound:
            raise DecodeError(
                f"damaged PNG: the checksum of its {kind.decode()} chunk is wrong; copy or download the file again"
            )
        if kind in PICTURE or (kind == b"eXIf" and is_sound):
            kept.append(chunk)
        elif not is_sound and BAD_METADATA not in notes:
            notes.append(BAD_METADATA)
    return b"".join(kept)
