"""Small files that claim to be huge or decompress to a lot."""

import struct
import zlib
from collections.abc import Iterator
from functools import cache

from torture.pictures.case import DAMAGED, HEIGHT, WIDTH, Case, picture, saved

TOO_MANY = (
    "^(60000 x 60000 is more than 100,000,000|more than [0-9,]+) pixels|damaged JPEG: 60000 x 60000 are more pixels"
)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *more: bytes, pixels: bytes = bytes(1000)) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + _chunk(b"IDAT", zlib.compress(pixels)) + _chunk(b"IEND", b"")


@cache
def bombs() -> tuple[Case, ...]:
    """Create the cases once; the largest decompresses to more than a hundred megabytes."""
    return tuple(_make())


def _make() -> Iterator[Case]:
    vast = 60_000
    jpeg, gif, bmp = saved(picture(), "JPEG"), saved(picture(), "GIF"), saved(picture(), "BMP")
    at = jpeg.index(b"\xff\xc0") + 5
    tiff = saved(picture(), "TIFF")
    for tag, old in ((256, WIDTH), (257, HEIGHT)):
        for kind, code in ((3, "<HHIHH"), (4, "<HHII")):
            field = struct.pack(code, tag, kind, 1, old, *([0] if kind == 3 else []))
            tiff = tiff.replace(field, struct.pack("<HHII", tag, 4, 1, vast))
    webp = b"VP8X" + struct.pack("<IB", 10, 0) + bytes(3) + (16_382).to_bytes(3, "little") * 2
    claims = {
        "vast.png": _png(vast, vast),
        "vast.jpg": jpeg[:at] + struct.pack(">HH", vast, vast) + jpeg[at + 4 :],
        "vast.gif": gif[:6] + struct.pack("<HH", vast, vast) + gif[10:],
        "vast.bmp": bmp[:18] + struct.pack("<ii", vast, vast) + bmp[26:],
        "vast.ppm": b"P6 60000 60000 255\n" + bytes(1000),
        "vast.tif": tiff,
    }
    for name, data in claims.items():
        yield Case(b"bombs/" + name.encode(), data, TOO_MANY)
    yield Case(
        b"bombs/vast.webp",
        b"RIFF" + struct.pack("<I", 4 + len(webp)) + b"WEBP" + webp,
        "^16383 x 16383 is more than 100,000,000 pixels$",
    )
    yield Case(b"bombs/wide.png", _png(100_000_001, 1), "^100000001 x 1 is more than|^more than ")
    yield Case(b"bombs/none.png", _png(0, 0), DAMAGED)
    yield Case(b"bombs/short.png", _png(9000, 9000), "^truncated PNG: ")
    bomb = zlib.compress(bytes(80 << 20), 6)
    yield Case(b"bombs/text.png", _png(WIDTH, HEIGHT, _chunk(b"zTXt", b"Comment\0\0" + bomb)), DAMAGED)
    yield Case(b"bombs/profile.png", _png(WIDTH, HEIGHT, _chunk(b"iCCP", b"ICC\0\0" + bomb), pixels=_rows()))
    yield Case(b"bombs/pixels.png", _png(WIDTH, HEIGHT, pixels=_rows() + bytes(50 << 20)))
    yield Case(b"bombs/large.png", _png(6000, 6000, pixels=bytes(6000 * (1 + 6000 * 3))))


def _rows() -> bytes:
    return bytes(HEIGHT * (1 + 3 * WIDTH))
