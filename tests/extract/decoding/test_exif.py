"""What the EXIF block of a photo states, in every format that has one, and what is made of hostile blocks."""

import io
import math
import struct
import sys
from contextlib import closing

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from headstart.extract.decoding.exif import LONGEST_CAMERA, UNREADABLE, read_metadata
from headstart.extract.engines.decoders import open_decoder
from headstart.extract.metadata import Metadata
from headstart.files.resize import ResizeRule

MAKE, MODEL, CHANGED, EXIF, GPS, ORIGINAL, DIGITIZED = 0x10F, 0x110, 0x132, 0x8769, 0x8825, 0x9003, 0x9004
RULE = ResizeRule(32, 24)
BERN = {1: "N", 2: (46.0, 56.0, 52.8), 3: "E", 4: (7.0, 26.0, 51.0)}
STATED = Metadata("2024-05-01T12:30:00", "Apple iPhone 12", 46 + 56 / 60 + 52.8 / 3600, 7 + 26 / 60 + 51 / 3600)
pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow's about damaged blocks, as in production


def block(main: dict | None = None, times: dict | None = None, position: dict | None = None) -> Image.Exif:
    exif = Image.Exif()
    for tag, value in (main or {}).items():
        exif[tag] = value
    exif.get_ifd(EXIF).update(times or {})
    exif.get_ifd(GPS).update(position or {})
    return exif


def photo(exif: Image.Exif | bytes | None = None, form: str = "JPEG", **options) -> bytes:
    held = io.BytesIO()
    given = {} if exif is None else {"exif": exif if isinstance(exif, bytes) else exif.tobytes()}
    Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(held, form, **given, **options)
    return held.getvalue()


def read(data: bytes) -> Metadata:
    notes: list[str] = []
    found = read_metadata(data, notes)
    assert notes == []
    return found


def same(one: Metadata, other: Metadata) -> bool:
    numbers = [(m.latitude, m.longitude) for m in (one, other)]
    return (one.taken, one.camera) == (other.taken, other.camera) and np.allclose(*numbers, equal_nan=True)


whole = block({MAKE: "Apple", MODEL: "iPhone 12"}, {ORIGINAL: "2024:05:01 12:30:00"}, BERN)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "MPO"])
def test_every_format_with_an_exif_block_is_read(form):
    assert same(read(photo(whole, form)), STATED)


def test_heic_is_read():
    heif = pytest.importorskip("pillow_heif")
    held = io.BytesIO()
    heif.from_pillow(Image.new("RGB", (64, 64))).save(held, exif=whole.tobytes())
    assert same(read(held.getvalue()), STATED)


def test_a_block_behind_the_pixels_of_a_png_is_read():
    data = photo(whole, "PNG")
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    assert same(read(data[:start] + data[end:-12] + data[start:end] + data[-12:]), STATED)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "PPM", "JPEG2000"])
def test_a_photo_without_a_block_states_nothing(form):
    assert same(read(photo(form=form)), Metadata())


@pytest.mark.parametrize(
    ("main", "times", "taken"),
    [
        ({CHANGED: "2020:01:01 00:00:00"}, {DIGITIZED: "2021:01:01 00:00:00", ORIGINAL: "2022:01:01 00:00:00"}, "2022"),
        ({CHANGED: "2020:01:01 00:00:00"}, {DIGITIZED: "2021:01:01 00:00:00"}, "2021"),
        ({CHANGED: "2020:01:01 00:00:00"}, {}, "2020"),
        ({CHANGED: "2020:01:01 00:00:00"}, {ORIGINAL: "0000:00:00 00:00:00"}, "2020"),
        ({CHANGED: "2020:01:01 00:00:00"}, {ORIGINAL: "    :  :     :  :  "}, "2020"),
        ({CHANGED: "2020:13:01 00:00:00"}, {ORIGINAL: 7}, ""),
        ({}, {ORIGINAL: "2022:01:01 00:00:61"}, ""),
        ({}, {ORIGINAL: "2022-01-01T00:00:00+02:00"}, "2022"),
        ({}, {ORIGINAL: "2022/01/01 00:00", 0x9291: "45", 0x9011: "+02:00"}, "2022"),
        ({ORIGINAL: "2022:01:01 00:00:00"}, {}, "2022"),  # as TIFF/EP has it
    ],
)
def test_the_first_sound_time_counts_without_fractions_and_offset(main, times, taken):
    assert read(photo(block(main, times))).taken == (f"{taken}-01-01T00:00:00" if taken else "")


@pytest.mark.parametrize(
    ("make", "model", "camera"),
    [
        ("Canon", "Canon EOS 5D", "Canon EOS 5D"),
        ("NIKON CORPORATION", "NIKON D90", "NIKON D90"),
        ("Apple", "iPhone 12", "Apple iPhone 12"),
        ("Leica", "", "Leica"),
        ("", "M9", "M9"),
        (" Sony \x1b[31m\r\n", "A7\x00hidden", "Sony [31m A7"),
        ("Zürich".encode(), b"\xe4", "Zürich ä"),
        ("", "\u202eevil".encode(), "evil"),
        (b"\xff\xfe", "x", "ÿþ x"),
        (3, 4, "3 4"),
    ],
)
def test_a_camera_is_make_and_model_as_one_plain_line(make, model, camera):
    assert read(photo(block({MAKE: make, MODEL: model}))).camera == camera


def test_the_longest_camera_has_a_limit():
    camera = read(photo(block({MODEL: "ü".encode() * 20_000}))).camera
    assert len(camera.encode()) == LONGEST_CAMERA
    assert set(camera) == {"ü"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({1: "S", 3: "W"}, (-STATED.latitude, -STATED.longitude)),
        ({1: "n", 3: "e"}, (STATED.latitude, STATED.longitude)),
        ({2: (90.0, 0.0, 0.0), 4: (180.0, 0.0, 0.0)}, (90, 180)),
        ({2: (90.0, 0.0, 1.0)}, None),
        ({4: (180.0, 0.0, 1.0)}, None),
        ({2: (46.0, 61.0, 0.0)}, None),
        ({2: (46.0, 0.0, IFDRational(0, 0))}, None),
        ({2: (IFDRational(1, 0), 0.0, 0.0)}, None),
        ({2: (46.0, 56.0)}, None),
        ({2: 46.0}, None),
        ({1: ""}, None),
        ({1: 5, 3: b"\xff\0"}, None),
        ({3: "X"}, None),
        ({1: "NS"}, (STATED.latitude, STATED.longitude)),
    ],
)
def test_a_position_has_two_sound_angles_with_their_hemispheres(change, expected):
    found = read_metadata(photo(block(position=BERN | change)), [])
    assert np.allclose((found.latitude, found.longitude), expected or (math.nan, math.nan), equal_nan=True)


@pytest.mark.parametrize("tag", [1, 2, 3, 4])
def test_half_a_position_is_none(tag):
    found = read(photo(block(position={key: value for key, value in BERN.items() if key != tag})))
    assert math.isnan(found.latitude)
    assert math.isnan(found.longitude)


def directory(*entries: tuple[int, int, int, int], start: int = 8) -> bytes:
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", start, len(entries)) + packed + bytes(4)


HOSTILE = {
    "cut off": whole.tobytes()[:40],
    "no block": b"Exif\0\0nothing",
    "a directory that is its own": directory((EXIF, 4, 1, 8), (GPS, 4, 1, 8)),
    "directories beyond the end": directory((EXIF, 4, 1, 1 << 31), (GPS, 4, 1, (1 << 32) - 1)),
    "a text of four gigabytes": directory((MODEL, 2, (1 << 32) - 1, 8)),
    "pointers of another type": directory((EXIF, 2, 4, 0x41414141), (GPS, 5, 1, 8)),
    "many values over each other": directory(*((tag, 3, 30_000, 8) for tag in range(4000))) + bytes(12_000),
    "a thousand pointers": directory(*((GPS, 4, 1, 8) for _ in range(1000))),
    "noise": np.random.default_rng(0).bytes(5000),
}


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_block_states_nothing_and_harms_nothing(name, form):
    notes: list[str] = []
    assert same(read_metadata(photo(HOSTILE[name], form), notes), Metadata())
    assert set(notes) <= {UNREADABLE}


@pytest.mark.skipif(sys.platform == "win32", reason="worker processes need POSIX")
def test_a_worker_process_reads_the_same():
    with closing(open_decoder(RULE, isolate=True)) as decoder:
        pixels = decoder.decode(photo(whole)).copy()
        assert same(decoder.metadata(photo(whole), []), STATED)
        for one in HOSTILE.values():
            assert same(decoder.metadata(photo(one), []), Metadata())
        assert np.array_equal(decoder.decode(photo(whole)), pixels)


@pytest.mark.skipif(sys.platform == "win32", reason="worker processes need POSIX")
@pytest.mark.parametrize("line", ["", "a\tb\tc\td", "a\tb\t1"])
def test_a_reply_that_makes_no_sense_is_noted(line, monkeypatch):
    with closing(open_decoder(RULE, isolate=True)) as decoder:
        monkeypatch.setattr(decoder, "_answer", lambda *_: (0, line))
        notes: list[str] = []
        assert same(decoder.metadata(b"", notes), Metadata())
        assert notes == [UNREADABLE]
