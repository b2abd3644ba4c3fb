"""HEIC photos, through the extra or without it."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from headstart.extract import EngineOptions, embed
from headstart.extract.decoding.decode import decode
from headstart.extract.decoding.isolated import IsolatedDecoder, Limits
from headstart.extract.errors import DecodeError, OutOfMemoryError, TryAgainError
from headstart.extract.thumbnails import thumbnail
from headstart.files.resize import ResizeRule

RULE = ResizeRule(48, 64)
HINT = 'HEIC photo, which needs an extra: pip install "headstart[heif]", or convert it to JPEG'


def waves(mode: str = "RGB", size: tuple[int, int] = (256, 192)) -> Image.Image:
    y, x = np.mgrid[: size[1], : size[0]] / 40
    return Image.fromarray(
        (np.stack([np.sin(x), np.sin(y + x / 2), np.cos(y)], axis=2) * 100 + 128).astype(np.uint8)
    ).convert(mode)


@pytest.fixture(scope="module")
def heic():
    """Write a picture as HEIC."""
    pytest.importorskip("pillow_heif").register_heif_opener()

    def write(image: Image.Image, **options) -> bytes:
        held = io.BytesIO()
        image.save(held, "HEIF", **{"quality": 90, **options})
        return held.getvalue()

    return write


def distance(pixels: np.ndarray, image: Image.Image, rule: ResizeRule = RULE) -> float:
    held = io.BytesIO()
    image.save(held, "PNG")
    return float(np.abs(pixels.astype(int) - decode(held.getvalue(), rule)).mean())


@pytest.fixture
def without_extra(monkeypatch):
    for package in ("pillow_heif", "pi_heif"):
        monkeypatch.setitem(sys.modules, package, None)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_heic_photo_is_decoded_whatever_its_name(heic, mode):  # photopea/photopea#5055
    assert distance(decode(heic(waves(mode)), RULE), waves(mode)) < 3


def test_transparent_parts_lie_over_white(heic):
    image = waves("RGBA")
    image.putalpha(Image.new("L", image.size, 0))
    assert (decode(heic(image), RULE) > 250).all()


def test_ten_bits_are_scaled_to_eight(heic):
    plugin = pytest.importorskip("pillow_heif")
    values = np.asarray(waves()).astype(np.uint16) * 257
    held = io.BytesIO()
    plugin.from_bytes("RGB;16", waves().size, values.tobytes()).save(held, quality=95)
    assert distance(decode(held.getvalue(), RULE), waves()) < 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_comes_out_upright(heic, orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    jpeg = io.BytesIO()
    waves().save(jpeg, "JPEG", quality=98, exif=exif)
    data = heic(Image.open(jpeg))
    rule = ResizeRule(192, 256)
    assert np.abs(decode(data, rule).astype(int) - decode(jpeg.getvalue(), rule)).mean() < 3
    (tmp_path / "1.heic").write_bytes(data)
    with Image.open(io.BytesIO(thumbnail(tmp_path, b"1.heic"))) as small:
        assert (small.width > small.height) == (orientation < 5)


def test_the_photo_is_decoded_and_not_its_thumbnail(heic):
    plugin = pytest.importorskip("pillow_heif")
    file = plugin.from_pillow(waves(size=(1024, 768)))
    held = io.BytesIO()
    file.save(held, quality=90, thumbnails=[256])
    with Image.open(io.BytesIO(decode_to_png(held.getvalue(), ResizeRule(96, 128)))) as pixels:
        assert distance(np.asarray(pixels), waves(size=(1024, 768)), ResizeRule(96, 128)) < 2
    assert plugin.options.THUMBNAILS is False


def decode_to_png(data: bytes, rule: ResizeRule) -> bytes:
    held = io.BytesIO()
    Image.fromarray(decode(data, rule)).save(held, "PNG")
    return held.getvalue()


def test_a_worker_process_decodes_the_same_with_one_thread(heic):
    decoder = IsolatedDecoder(RULE)
    for size in ((256, 192), (2000, 1500)):
        data = heic(waves(size=size))
        np.testing.assert_array_equal(decoder.decode(data), decode(data, RULE))
    for data in (heic(waves())[:-2000], heic(waves())[:60]):
        failures = []
        for decode_one in (decoder.decode, lambda data: decode(data, RULE)):
            with pytest.raises(DecodeError) as caught:
                decode_one(data)
            failures.append((type(caught.value), str(caught.value)))
        assert failures[0] == failures[1]
        assert failures[0][1].startswith("this HEIC file is damaged, or of a rare kind (")
    decoder.close()


def test_too_many_pixels_are_refused_by_the_number(heic, monkeypatch):
    data = heic(waves())
    monkeypatch.setattr("headstart.extract.decoding.decode.MAX_PIXELS", 256 * 192 - 1)
    with pytest.raises(DecodeError, match="256 x 192 is more than"):
        decode(data, RULE)


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory by RLIMIT_DATA")
def test_want_of_memory_is_named_so(heic):
    decoder = IsolatedDecoder(RULE, Limits(memory=24 << 20))
    with pytest.raises(OutOfMemoryError):
        decoder.decode(heic(Image.new("RGB", (4000, 3000), "red")))
    decoder.close()


def test_without_the_extra_the_failure_names_it(without_extra):
    for brand in (b"heic", b"heix", b"mif1"):
        data = b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1miaf" + bytes(100)
        with pytest.raises(TryAgainError) as caught:
            decode(data, RULE)
        assert str(caught.value) == HINT


def test_once_the_extra_is_installed_the_next_run_reads_the_photo(heic, backbone, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").write_bytes(heic(waves()))
    (tmp_path / "photos" / "2.jpg").write_bytes(heic(waves("L")))
    options = EngineOptions(isolate=False)
    with monkeypatch.context() as patch:
        for package in ("pillow_heif", "pi_heif"):
            patch.setitem(sys.modules, package, None)
        store, _ = embed(tmp_path / "photos", backbone, tmp_path / "a.h5", options=options)
        assert store.failures == {"1.jpg": HINT, "2.jpg": HINT}
    _, summary = embed(tmp_path / "photos", backbone, tmp_path / "a.h5", options=options)
    assert (summary.embedded, summary.computed) == (2, 2)


def test_the_package_without_an_encoder_will_do(heic, monkeypatch):
    data = heic(waves())
    plugin = sys.modules["pillow_heif"]
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setitem(sys.modules, "pi_heif", plugin)
    assert distance(decode(data, RULE), waves()) < 3


def test_a_phone_photo_with_another_suffix(heic, shared):
    photo, right = (shared(f"cases/images/{name}").read_bytes() for name in ("phone_heic.jpg", "right.png"))
    pixels, expected = decode(photo, RULE), decode(right, RULE)
    assert np.corrcoef(pixels.ravel(), expected.ravel())[0, 1] > 0.99
