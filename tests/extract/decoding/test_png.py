"""PNG files whose metadata are damaged or oversized, and whose picture is fine."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from headstart.extract.decoding.decode import decode
from headstart.extract.decoding.png import BAD_METADATA
from headstart.extract.errors import DecodeError
from headstart.files.resize import ResizeRule

RULE = ResizeRule(24, 32)


def chunk(kind: bytes, data: bytes, crc: int | None = None) -> bytes:
    return (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data) if crc is None else crc)
    )


@pytest.fixture
def plain(picture) -> bytes:
    return picture(3, size=(32, 24))


def with_chunks(data: bytes, *chunks: bytes, at: int = 33) -> bytes:
    """Insert chunks, by default behind IHDR."""
    return data[:at] + b"".join(chunks) + data[at:]


BIG = zlib.compress(bytes(2 << 20))


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param([chunk(b"iCCP", b"x\0\0" + BIG)], id="python-pillow/Pillow#2445"),
        pytest.param([chunk(b"zTXt", b"prompt\0\0" + BIG)], id="python-pillow/Pillow#8363"),
        pytest.param([chunk(b"iTXt", b"prompt\0\1\0\0\0" + BIG)], id="iTXt"),
        pytest.param([chunk(b"zTXt", b"p\0\0" + zlib.compress(bytes(1_000_000)))] * 70, id="KatherLab/STAMP#76"),
    ],
)
@pytest.mark.parametrize("at_end", [False, True])
def test_large_metadata_do_not_keep_a_picture_from_being_decoded(plain, chunks, at_end):
    notes: list[str] = []
    data = with_chunks(plain, *chunks, at=len(plain) - 12 if at_end else 33)
    np.testing.assert_array_equal(decode(data, RULE, notes), decode(plain, RULE))
    assert notes == []


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(chunk(b"iCCP", b"x\0\0" + zlib.compress(b"profile"), crc=1), id="python-pillow/Pillow#5631"),
        pytest.param(chunk(b"pHYs", bytes(9), crc=1), id="python-pillow/Pillow#5978"),
        pytest.param(chunk(b"iTXt", b"a\0\0\0\0\0b", crc=1), id="python-pillow/Pillow#1991"),
        pytest.param(chunk(b"tEXt", b"a\0b", crc=1), id="tEXt"),
        pytest.param(chunk(b"eXIf", b"II*\0", crc=1), id="eXIf"),
    ],
)
def test_metadata_with_a_wrong_checksum_are_left_out_and_noted(plain, bad):
    notes: list[str] = []
    np.testing.assert_array_equal(decode(with_chunks(plain, bad, bad), RULE, notes), decode(plain, RULE))
    assert notes == [BAD_METADATA]


def test_the_orientation_is_kept(picture):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = picture(3, size=(32, 24), exif=exif)
    assert (decode(data, RULE) != decode(picture(3, size=(32, 24)), RULE)).any()
    np.testing.assert_array_equal(decode(with_chunks(data, chunk(b"tEXt", b"a\0b", crc=1)), RULE), decode(data, RULE))


def test_transparency_is_kept():
    held = io.BytesIO()
    Image.new("L", (32, 24), 7).save(held, "PNG", transparency=7)
    assert (decode(with_chunks(held.getvalue(), chunk(b"tEXt", b"a\0b", crc=1)), RULE) == 255).all()


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"tRNS"])
def test_a_chunk_of_the_picture_with_a_wrong_checksum_is_named(kind):
    held = io.BytesIO()
    Image.new("P", (32, 24), 1).save(held, "PNG", transparency=1)
    data = bytearray(held.getvalue())
    at = data.index(kind)
    data[at + 4 + int.from_bytes(data[at - 4 : at], "big")] ^= 1
    with pytest.raises(DecodeError, match=f"damaged PNG: the checksum of its {kind.decode()} chunk is wrong"):
        decode(bytes(data), RULE)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_file_that_ends_early_is_called_truncated(plain, share):
    with pytest.raises(DecodeError, match="truncated PNG: part of the picture is missing; copy or download"):
        decode(plain[: 12 + int((len(plain) - 40) * share)], RULE)
