"""JPEG files: which of them hold the whole picture, and how much memory they may take."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.extract.decoding import jpeg
from headstart.extract.decoding.decode import decode
from headstart.extract.decoding.isolated import IsolatedDecoder, Limits
from headstart.extract.decoding.jpeg import END, FEWER_SCANS, NO_END, SCAN
from headstart.extract.errors import DecodeError, OutOfMemoryError
from headstart.files.resize import ResizeRule

SMALL, LARGE = ResizeRule(48, 64), ResizeRule(400, 600)
"""A rule by which the picture is decoded at an eighth of its size, and one by which it is not made smaller."""
KINDS = {
    "baseline": {},
    "no subsampling": {"subsampling": 0},
    "restart markers": {"restart_marker_blocks": 5},
    "grey": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
    "progressive": {"progressive": True},
    "progressive grey": {"progressive": True, "mode": "L"},
}


def waves(mode: str = "RGB", size: tuple[int, int] = (811, 605)) -> Image.Image:
    y, x = np.mgrid[: size[1], : size[0]] / 40
    shades = np.stack([np.sin(x), np.sin(y + x / 2), np.cos(y)], axis=2) * 100 + 128
    noise = np.random.default_rng(0).normal(0, 8, shades.shape)
    return Image.fromarray(np.clip(shades + noise, 0, 255).astype(np.uint8)).convert(mode)


def saved(image: Image.Image, **options) -> bytes:
    held = io.BytesIO()
    image.save(held, "JPEG", **{"quality": 90, **options})
    return held.getvalue()


@pytest.fixture(scope="module")
def photos() -> dict[str, bytes]:
    options = {name: dict(kind) for name, kind in KINDS.items()}
    return {name: saved(waves(kind.pop("mode", "RGB")), **kind) for name, kind in options.items()}


def noted(data: bytes, rule: ResizeRule) -> tuple[np.ndarray, list[str]]:
    notes: list[str] = []
    return decode(data, rule, notes), notes


@pytest.mark.parametrize("rule", [SMALL, LARGE])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", [1, 2], ids=["python-pillow/Pillow#889", "python-pillow/Pillow#2038"])
def test_without_its_end_marker_a_photo_is_decoded_and_noted(photos, kind, rule, missing):
    whole, none = noted(photos[kind], rule)
    pixels, notes = noted(photos[kind][:-missing], rule)
    np.testing.assert_array_equal(pixels, whole)
    assert (notes, none) == ([NO_END], [])


@pytest.mark.parametrize("rule", [SMALL, LARGE])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95])
def test_a_photo_cut_off_in_its_data_is_refused(photos, kind, rule, share):  # python-pillow/Pillow#2717
    data = photos[kind][: int(len(photos[kind]) * share)]
    if "progressive" in kind and rule is SMALL and data.rfind(SCAN) == photos[kind].rfind(SCAN):
        # What is missing is finer than what is decoded.
        pixels, notes = noted(data, rule)
        assert notes == [NO_END]
        np.testing.assert_array_equal(pixels, decode(photos[kind], rule))
    else:
        with pytest.raises(DecodeError, match="truncated JPEG: part of the picture is missing"):
            decode(data, rule)


@pytest.mark.parametrize("rule", [SMALL, LARGE])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "progressive" not in kind])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_an_end_marker_behind_half_a_photo_does_not_make_it_whole(photos, kind, rule, share):
    """tensorflow/models#9424, ultralytics/yolov5#916: such a file is called a premature end, and its rest is grey."""
    data = photos[kind][: int(len(photos[kind]) * share)].rstrip(b"\xff") + END
    with pytest.raises(DecodeError, match="truncated JPEG"):
        decode(data, rule)


@pytest.mark.parametrize("kind", ["progressive", "progressive grey"])
@pytest.mark.parametrize("share", [0.4, 0.7, 1])
def test_a_progressive_photo_without_its_last_scans_is_noted(photos, kind, share):
    data = photos[kind][: int(photos[kind].rfind(SCAN) * share)].rstrip(b"\xff") + END
    pixels, notes = noted(data, SMALL)
    assert notes == [FEWER_SCANS]
    assert np.corrcoef(pixels.ravel(), decode(photos[kind], SMALL).ravel())[0, 1] > 0.97


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shade", [127, 128])
def test_a_whole_photo_that_is_grey_at_its_end_is_not_suspected(kind, shade):
    options = dict(KINDS[kind])
    data = saved(Image.new("RGB", (811, 605), (shade,) * 3).convert(options.pop("mode", "RGB")), **options)
    assert noted(data, SMALL)[1] == []
    assert noted(data[:-2], SMALL)[1] == [NO_END]


@pytest.mark.parametrize("behind", [b"\0" * 100, b"\xff\xd8\xff more", b"ftypmp42" * 500])
def test_what_stands_behind_the_end_does_not_matter(photos, behind):
    for data in photos.values():
        pixels, notes = noted(data + behind, SMALL)
        np.testing.assert_array_equal(pixels, decode(data, SMALL))
        assert notes == []


def test_data_that_nobody_reads_do_not_make_a_photo_suspect():
    grey = saved(Image.new("RGB", (811, 605), (128,) * 3))
    assert noted(grey[:-2] + bytes(228) + END, SMALL)[1] == []


def test_other_layouts_are_named(photos):
    data = bytearray(photos["baseline"])
    data[data.index(b"\xff\xc0") + 4] = 12  # libvips/libvips#664, libgd/libgd#356
    with pytest.raises(DecodeError, match="12-bit JPEG is not supported; convert it to PNG or 8-bit JPEG"):
        decode(bytes(data), SMALL)
    data = bytearray(photos["baseline"])
    data[data.index(b"\xff\xc0") + 9] = 2  # python-pillow/Pillow#1960
    with pytest.raises(DecodeError, match="2-layer JPEG is not supported"):
        decode(bytes(data), SMALL)


def test_a_lossless_jpeg_is_decoded_in_its_full_size(shared):  # pydicom/pydicom#813
    photo, right = (shared(f"cases/images/{name}").read_bytes() for name in ("jpeg_lossless.jpg", "right_grey.png"))
    for rule in (ResizeRule(16, 24), ResizeRule(120, 160), ResizeRule(224, 224)):
        np.testing.assert_array_equal(decode(photo, rule), decode(right, rule))


# Size and memory


def claiming(width: int, height: int, data: bytes) -> bytes:
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


SCRIPT = """
import resource, sys
from pathlib import Path
from headstart.extract.decoding.decode import decode
from headstart.files.resize import ResizeRule
data = Path(sys.argv[1]).read_bytes()
decode(data, ResizeRule(9, 9))  # of the first file, so that every module is there
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pixels = decode(Path(sys.argv[2]).read_bytes(), ResizeRule(224, 224))
print(pixels.mean(), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_200_megapixels_take_the_memory_of_3(tmp_path, photos):
    """mpetroff/pannellum#596, saimn/sigal#332: panoramas and photos of phones are larger than Pillow's limit."""
    (tmp_path / "first.jpg").write_bytes(photos["grey"])
    Image.new("L", (16_320, 12_288), 77).save(tmp_path / "large.jpg", "JPEG")
    command = [sys.executable, "-c", SCRIPT, tmp_path / "first.jpg", tmp_path / "large.jpg"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    mean, megabytes = map(float, done.stdout.split())
    assert mean == 77
    assert megabytes < 60
    with pytest.raises(DecodeError, match="16320 x 12288 is more than 100,000,000 pixels"):
        decode((tmp_path / "large.jpg").read_bytes(), ResizeRule(6000, 6000))


@pytest.mark.parametrize("kind", KINDS)
def test_a_header_may_not_claim_more_than_its_file_can_hold(photos, kind):
    with pytest.raises(DecodeError, match="60000 x 60000 are more pixels than its"):
        decode(claiming(60_000, 60_000, photos[kind]), SMALL)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_costs_neither_memory_nor_the_process(photos, kind):
    decoder = IsolatedDecoder(SMALL, Limits(memory=300 << 20))
    bomb = claiming(60_000, 60_000, photos[kind]) + bytes(8 << 20)  # as many bytes as the pixels need at least
    with pytest.raises(DecodeError):
        decoder.decode(bomb)
    np.testing.assert_array_equal(decoder.decode(photos[kind]), decode(photos[kind], SMALL))
    decoder.close()


def test_the_scans_of_a_progressive_photo_have_a_limit_together(photos, monkeypatch):
    monkeypatch.setattr(jpeg, "LARGEST_BUFFER", 2 * 811 * 605)
    assert decode(photos["progressive grey"], SMALL).shape == SMALL.shape
    assert decode(photos["baseline"], SMALL).shape == SMALL.shape
    with pytest.raises(DecodeError, match="811 x 605 pixels of a progressive JPEG take 1 MB; save it smaller"):
        decode(photos["progressive"], SMALL)


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory by RLIMIT_DATA")
def test_a_lack_of_memory_for_the_scans_is_named_so(tmp_path):
    decoder = IsolatedDecoder(SMALL, Limits(memory=30 << 20))
    with pytest.raises(OutOfMemoryError):
        decoder.decode(saved(Image.new("RGB", (4000, 4000), "red"), progressive=True))
    decoder.close()


def test_notes_and_failures_are_those_of_a_worker_process(photos):
    decoder = IsolatedDecoder(SMALL)
    for data in photos.values():
        half = data[: len(data) // 2].rstrip(b"\xff")
        for version in (data, data[:-2], half, half + END):
            results = []
            for decode_one in (decoder.decode, lambda data, notes: decode(data, SMALL, notes)):
                notes: list[str] = []
                try:
                    results.append((decode_one(version, notes).tobytes(), notes))
                except DecodeError as error:
                    results.append((type(error), str(error)))
            assert results[0] == results[1]
    decoder.close()


def test_a_photo_of_a_camera_is_not_suspected(shared):
    for path in sorted(Path(shared("images/cats_vs_dogs/val/cats")).iterdir())[:20]:
        assert noted(path.read_bytes(), ResizeRule(224, 224))[1] == []
