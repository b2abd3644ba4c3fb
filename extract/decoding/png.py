"""PNG files (ISO/IEC 15948) with damaged or oversized metadata, which Pillow refuses as a whole."""

import struct
import zlib

from headstart.extract.decoding.formats import TRUNCATED
from headstart.extract.errors import DecodeError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PICTURE = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"sBIT"})
"""The chunks that the pixels come from."""
BAD_METADATA = "PNG whose metadata have a wrong checksum, embedded without them"


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
