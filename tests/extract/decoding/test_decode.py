import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import headstart.extract.decoding.decode
from headstart.extract.decoding.decode import decode
from headstart.extract.errors import DecodeError, OutOfMemoryError
from headstart.files.resize import ResizeRule

WIDTH, HEIGHT = 24, 16
AS_IT_IS = ResizeRule(HEIGHT, WIDTH)
"""The rule that leaves a picture of WIDTH x HEIGHT as it is."""


def corners(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Draw a picture that no turn or flip leaves the same: one colour in each quarter."""
    quarters = np.array([[[230, 40, 20], [30, 200, 60]], [[40, 60, 220], [240, 220, 60]]], np.uint8)
    return Image.fromarray(quarters.repeat(height // 2, axis=0).repeat(width // 2, axis=1))


def encoded(image: Image.Image, form: str, **options) -> bytes:
    held = io.BytesIO()
    image.save(held, form, **options)
    return held.getvalue()


def upright(image: Image.Image | None = None) -> np.ndarray:
    return np.asarray((image or corners()).convert("RGB"), dtype=int)


def distance(pixels: np.ndarray, expected: np.ndarray) -> float:
    assert (pixels.dtype, pixels.shape) == (np.uint8, expected.shape)
    return float(np.abs(pixels.astype(int) - expected).mean())


def refusal(data: bytes, rule: ResizeRule = AS_IT_IS) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(data, rule)
    message = str(caught.value)
    assert message
    assert "\n" not in message
    return message


def outcome(data: bytes) -> np.ndarray | str:
    try:
        return decode(data, AS_IT_IS)
    except DecodeError as error:
        return str(error)


# Formats and modes

LOSSLESS: dict[str, Callable[[Image.Image], bytes]] = {
    "PNG": lambda image: encoded(image, "PNG"),
    "PNG interlaced by palette": lambda image: encoded(image.quantize(4), "PNG"),
    "BMP": lambda image: encoded(image, "BMP"),
    "PPM": lambda image: encoded(image, "PPM"),
    "TIFF": lambda image: encoded(image, "TIFF"),
    "TIFF with LZW": lambda image: encoded(image, "TIFF", compression="tiff_lzw"),
    "TIFF with deflate": lambda image: encoded(image, "TIFF", compression="tiff_adobe_deflate"),
    "WEBP lossless": lambda image: encoded(image, "WEBP", lossless=True),
    "JPEG 2000": lambda image: encoded(image, "JPEG2000"),
    "GIF": lambda image: encoded(image.quantize(4), "GIF"),
    "ICO": lambda image: encoded(image, "ICO", sizes=[(WIDTH, HEIGHT)]),
}
LOSSY: dict[str, Callable[[Image.Image], bytes]] = {
    "JPEG": lambda image: encoded(image, "JPEG", quality=98, subsampling=0),
    "JPEG progressive": lambda image: encoded(image, "JPEG", quality=98, subsampling=0, progressive=True),
    "JPEG of CMYK": lambda image: encoded(image.convert("CMYK"), "JPEG", quality=98),
    "MPO": lambda image: encoded(image, "MPO", save_all=True, append_images=[Image.new("RGB", image.size)], quality=98),
    "WEBP": lambda image: encoded(image, "WEBP", quality=98),
    "AVIF": lambda image: encoded(image, "AVIF", quality=98),
    "TIFF with JPEG": lambda image: encoded(image, "TIFF", compression="jpeg"),
}


@pytest.mark.parametrize("form", LOSSLESS)
def test_a_lossless_format_gives_its_very_pixels(form):
    assert distance(decode(LOSSLESS[form](corners()), AS_IT_IS), upright()) == 0


@pytest.mark.parametrize("form", LOSSY)
def test_a_lossy_format_gives_nearly_its_pixels(form):
    assert distance(decode(LOSSY[form](corners()), AS_IT_IS), upright()) < 8


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P"])
def test_every_opaque_mode_is_seen_as_rgb(mode):
    image = corners().convert(mode)
    assert distance(decode(encoded(image, "PNG"), AS_IT_IS), upright(image)) == 0


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_transparent_parts_lie_over_white(form):
    image = corners().convert("RGBA")
    alpha = np.full((HEIGHT, WIDTH), 255, np.uint8)
    alpha[:, : WIDTH // 2] = 0
    image.putalpha(Image.fromarray(alpha))
    lossless = {"PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "AVIF": {"quality": 100, "subsampling": "4:4:4"}}
    pixels = decode(encoded(image, form, **lossless[form]), AS_IT_IS)
    expected = upright()
    expected[:, : WIDTH // 2] = 255
    assert distance(pixels, expected) <= (2 if form == "AVIF" else 0)


@pytest.mark.parametrize("rows", [1, 3, HEIGHT - 1, HEIGHT])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_laying_over_white_by_strips_is_laying_the_whole(monkeypatch, rows, mode):
    image = large(WIDTH, HEIGHT).convert("RGB" if mode == "P" else mode)
    image = image.quantize(16) if mode == "P" else image
    if mode in ("RGBA", "LA"):
        image.putalpha(large(WIDTH, HEIGHT).convert("L"))
        data = encoded(image, "PNG")
    else:
        data = encoded(image, "PNG", transparency=image.getpixel((2, 3)))
    monkeypatch.setattr(headstart.extract.decoding.decode, "STRIP_PIXELS", rows * WIDTH)
    with Image.open(io.BytesIO(data)) as stored:
        rgba = stored.convert("RGBA")
    expected = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    np.testing.assert_array_equal(decode(data, AS_IT_IS), np.asarray(expected))


@pytest.mark.parametrize(("alpha", "grey"), [(0, 255), (128, 177), (255, 100)])
def test_grey_with_alpha_is_blended_with_white(alpha, grey):
    image = Image.merge("LA", (Image.new("L", (WIDTH, HEIGHT), 100), Image.new("L", (WIDTH, HEIGHT), alpha)))
    assert np.unique(decode(encoded(image, "PNG"), AS_IT_IS)).tolist() == [grey]


@pytest.mark.parametrize(("form", "mode"), [("PNG", "P"), ("GIF", "P"), ("PNG", "RGB"), ("PNG", "L")])
def test_a_colour_declared_transparent_is_white(form, mode):
    image = Image.new(mode, (WIDTH, HEIGHT), 3 if mode != "RGB" else (9, 9, 9))
    image.paste(5 if mode != "RGB" else (50, 90, 7), (0, 0, WIDTH // 2, HEIGHT))
    if mode == "P":
        image.putpalette([value for shade in range(8) for value in (10 * shade, 0, 5 * shade)])
    data = encoded(image, form, transparency=3 if mode != "RGB" else (9, 9, 9))
    pixels = decode(data, AS_IT_IS)
    assert (pixels[:, WIDTH // 2 :] == 255).all()
    assert pixels[0, 0].tolist() == {"P": [50, 0, 25], "RGB": [50, 90, 7], "L": [5, 5, 5]}[mode]


def grey16(form: str, value: int) -> bytes:
    values = np.full((HEIGHT, WIDTH), value, np.uint16)
    if form == "TIFF, big-endian":
        return encoded(Image.frombytes("I;16B", (WIDTH, HEIGHT), values.astype(">u2").tobytes()), "TIFF")
    return encoded(Image.fromarray(values), form)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "TIFF, big-endian"])
@pytest.mark.parametrize(("value", "expected"), [(0, 0), (128, 0), (129, 1), (257, 1), (32768, 128), (65535, 255)])
def test_16_bits_are_scaled_to_8_not_clipped(form, value, expected):
    assert np.unique(decode(grey16(form, value), AS_IT_IS)).tolist() == [expected]


@pytest.mark.parametrize("value", [-1, 65536])
def test_32_bits_beyond_16_have_no_range(value):
    image = Image.fromarray(np.full((HEIGHT, WIDTH), value, np.int32))
    assert "beyond 0-65535" in refusal(encoded(image, "TIFF"))


def test_32_bits_within_16_are_scaled_like_them():
    image = Image.fromarray(np.full((HEIGHT, WIDTH), 32768, np.int32))
    assert np.unique(decode(encoded(image, "TIFF"), AS_IT_IS)).tolist() == [128]


def test_floating_point_pixels_are_refused():
    assert "no stated range" in refusal(encoded(Image.new("F", (WIDTH, HEIGHT), 0.5), "TIFF"))


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_of_several_frames_is_taken(form):
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert decode(data, AS_IT_IS)[0, 0].tolist() == [255, 0, 0]


# Orientation

T = Image.Transpose
UNDONE = {
    1: None,
    2: T.FLIP_LEFT_RIGHT,
    3: T.ROTATE_180,
    4: T.FLIP_TOP_BOTTOM,
    5: T.TRANSPOSE,
    6: T.ROTATE_90,
    7: T.TRANSVERSE,
    8: T.ROTATE_270,
}
"""How a picture must lie in a file so that this orientation makes it upright."""


def turned(form: str, orientation: int, image: Image.Image) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = image if UNDONE[orientation] is None else image.transpose(UNDONE[orientation])
    options = {
        "WEBP": {"lossless": True},
        "JPEG": {"quality": 98, "subsampling": 0},
        "LZW": {"compression": "tiff_lzw"},
    }
    return encoded(stored, "TIFF" if form == "LZW" else form, exif=exif, **options.get(form, {}))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF", "LZW", "AVIF"])
@pytest.mark.parametrize("orientation", UNDONE)
def test_a_picture_comes_out_upright(form, orientation):
    pixels = decode(turned(form, orientation, corners()), AS_IT_IS)
    assert distance(pixels, upright()) < {"JPEG": 8, "AVIF": 12}.get(form, 1e-9)


@pytest.mark.parametrize("fit", ["squash", "crop"])
@pytest.mark.parametrize("orientation", UNDONE)
def test_a_turned_picture_is_fitted_like_the_upright_one(fit, orientation):
    rule, image = ResizeRule(32, 20, fit), corners(90, 60)
    expected = decode(encoded(image, "PNG"), rule).astype(int)
    assert distance(decode(turned("PNG", orientation, image), rule), expected) < 1


@pytest.mark.parametrize("orientation", [0, 9, 700])
def test_an_unknown_orientation_is_upright(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert distance(decode(encoded(corners(), "PNG", exif=exif), AS_IT_IS), upright()) == 0


BROKEN_EXIF = [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0garbage garbage"]


@pytest.mark.parametrize("exif", BROKEN_EXIF)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_a_broken_exif_block_does_not_lose_the_picture(exif):
    data = encoded(corners(), "JPEG", quality=98, exif=exif)
    assert distance(decode(data, AS_IT_IS), upright()) < 8


def test_nothing_is_printed_about_what_is_passed_over(tmp_path):
    (tmp_path / "1.jpg").write_bytes(encoded(corners(), "JPEG", exif=BROKEN_EXIF[1]))
    names = "from headstart.extract.decoding.decode import *"
    script = f"import sys; {names}; decode(open(sys.argv[1], 'rb').read(), ResizeRule(9, 9))"
    run = subprocess.run([sys.executable, "-c", script, tmp_path / "1.jpg"], capture_output=True, check=False)
    assert (run.returncode, run.stderr) == (0, b"")


# Size and shape


def large(width: int = 2000, height: int = 1500) -> Image.Image:
    """Draw waves with some noise on them, as a camera would."""
    y, x = np.mgrid[:height, :width] / 100
    waves = np.stack([np.sin(x), np.sin(y + x / 2), np.cos(y)], axis=2) * 100 + 128
    noise = np.random.default_rng(0).normal(0, 8, waves.shape)
    return Image.fromarray(np.clip(waves + noise, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("size", "fit", "box", "read"),
    [
        ((2000, 1500), "squash", None, (500, 375)),
        ((2000, 1500), "crop", (250, 0, 1750, 1500), (500, 375)),
        ((1500, 2000), "squash", None, (375, 500)),
        ((1500, 2000), "crop", (0, 250, 1500, 1750), (375, 500)),
    ],
)
def test_a_large_jpeg_is_read_small_and_comes_out_alike(monkeypatch, size, fit, box, read):
    seen = []
    monkeypatch.setattr("headstart.extract.decoding.decode._to_rgb", lambda image, *_: seen.append(image.size) or image)
    data, rule = encoded(large(*size), "JPEG", quality=92), ResizeRule(224, 224, fit)
    with Image.open(io.BytesIO(data)) as image:
        whole = np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR, box=box), dtype=int)
    assert distance(decode(data, rule), whole) < 2
    assert seen == [read]


def test_a_crop_takes_the_middle_and_a_squash_the_whole():
    image = Image.new("RGB", (60, 20), "red")
    image.paste("blue", (20, 0, 40, 20))
    data = encoded(image, "PNG")
    assert np.unique(decode(data, ResizeRule(20, 20, "crop")).reshape(-1, 3), axis=0).tolist() == [[0, 0, 255]]
    squashed = decode(data, ResizeRule(20, 20, "squash"))
    assert squashed[10, [0, 10, 19]].tolist() == [[255, 0, 0], [0, 0, 255], [255, 0, 0]]


def test_a_crop_of_a_tall_picture_takes_its_middle():
    image = Image.new("RGB", (20, 60), "red")
    image.paste("blue", (0, 20, 20, 40))
    pixels = decode(encoded(image, "PNG"), ResizeRule(10, 10, "crop"))
    assert (pixels[1:-1] == [0, 0, 255]).all()  # the filter of the outermost rows reaches beyond the part


def test_shrinking_averages_rather_than_picks():
    stripes = np.zeros((160, 240, 3), np.uint8)
    stripes[:, ::2] = 255
    pixels = decode(encoded(Image.fromarray(stripes), "PNG"), AS_IT_IS)
    assert np.abs(pixels[:, 1:-1].astype(int) - 128).max() < 8


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 7)])
@pytest.mark.parametrize("fit", ["squash", "crop"])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_any_shape_is_fitted(size, fit, form):
    pixels = decode(encoded(Image.new("RGB", size, (200, 200, 200)), form), ResizeRule(9, 11, fit))
    assert pixels.shape == (9, 11, 3)
    assert np.abs(pixels.astype(int) - 200).max() <= 1


# What cannot be read


def test_an_empty_file_is_named_so():
    assert refusal(b"") == "empty file"


def test_unknown_content_is_shown_by_its_beginning():
    data = b"\0\x01\x02" * 40
    assert refusal(data) == f"not an image of a known format (begins with {data[:12]!r})"


def test_a_format_that_needs_another_program_is_not_opened():
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    assert "PostScript" in refusal(eps)


ALL_FORMS = LOSSLESS | LOSSY


@pytest.mark.parametrize("form", ALL_FORMS)
def test_a_truncated_file_is_refused_or_whole_never_padded(form):
    data = ALL_FORMS[form](corners())
    whole = decode(data, AS_IT_IS)
    results = [outcome(data[:cut]) for cut in np.unique(np.linspace(1, len(data) - 1, 60).astype(int))]
    given = [result for result in results if not isinstance(result, str)]
    assert len(given) < len(results) / 2
    for pixels in given:
        np.testing.assert_array_equal(pixels, whole)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "BMP"])
def test_too_many_pixels_are_refused_by_the_number(form, monkeypatch):
    monkeypatch.setattr(headstart.extract.decoding.decode, "MAX_PIXELS", WIDTH * HEIGHT - 1)
    assert refusal(encoded(corners(), form)) == "24 x 16 is more than 383 pixels"
    monkeypatch.setattr(headstart.extract.decoding.decode, "MAX_PIXELS", WIDTH * HEIGHT)
    assert decode(encoded(corners(), form), AS_IT_IS).shape == (HEIGHT, WIDTH, 3)


def test_a_jpeg_that_is_read_small_may_be_larger(monkeypatch):
    monkeypatch.setattr(headstart.extract.decoding.decode, "MAX_PIXELS", 500 * 375)
    data = encoded(large(), "JPEG")
    assert decode(data, ResizeRule(224, 224)).shape == (224, 224, 3)
    assert "2000 x 1500" in refusal(data, ResizeRule(1000, 1000))


@pytest.mark.parametrize(
    ("mode", "options", "kind"),
    [
        ("RGB", {}, b"VP8 "),
        ("RGB", {"lossless": True}, b"VP8L"),
        ("RGBA", {}, b"VP8X"),
        ("RGB", {"exif": b"x"}, b"VP8X"),
    ],
)
def test_a_webp_with_too_many_pixels_is_refused_before_its_decoder_takes_memory(monkeypatch, mode, options, kind):
    image = Image.new(mode, (WIDTH, HEIGHT), (9, 9, 9, 100)[: len(mode)])
    data = encoded(image, "WEBP", **options)
    assert data[12:16] == kind
    monkeypatch.setattr(headstart.extract.decoding.decode, "MAX_PIXELS", WIDTH * HEIGHT)
    assert decode(data, AS_IT_IS).shape == (HEIGHT, WIDTH, 3)
    monkeypatch.setattr(headstart.extract.decoding.decode, "MAX_PIXELS", WIDTH * HEIGHT - 1)
    monkeypatch.setattr("PIL.Image.open", None)
    assert refusal(data) == "24 x 16 is more than 383 pixels"


def png_claiming(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    idat = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (head, idat, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("data", [png_claiming(12_000, 9_000), png_claiming(60_000, 60_000)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_header_that_claims_a_vast_picture_is_refused(data):
    assert "more than 1" in refusal(data)
    assert refusal(data).endswith(" pixels")


@given(st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF with LZW", "GIF"])
def test_no_mutation_raises_anything_but_a_decode_error(form, data):
    held = bytearray(ALL_FORMS[form](corners()))
    changes = st.tuples(st.integers(0, len(held) - 1), st.integers(0, 255))
    for at, value in data.draw(st.lists(changes, min_size=1, max_size=12)):
        held[at] = value
    result = outcome(bytes(held))
    assert isinstance(result, str) or (result.dtype, result.shape) == (np.uint8, (HEIGHT, WIDTH, 3))


@given(
    st.binary(min_size=1, max_size=300), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"BM"])
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_no_bytes_raise_anything_but_a_decode_error(data, magic):
    refusal(magic + data)


def test_running_out_of_memory_is_a_reason(monkeypatch):
    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr("headstart.extract.decoding.decode._to_rgb", refuse)
    assert refusal(encoded(corners(), "PNG")) == "not enough memory to decode it"


@pytest.mark.parametrize("message", ["out of memory error when reading image file", "allocation failed: Out of memory"])
def test_a_decoder_that_says_it_lacked_memory_is_believed(monkeypatch, message):
    def refuse(*_):
        raise OSError(message)

    monkeypatch.setattr("headstart.extract.decoding.decode._to_rgb", refuse)
    with pytest.raises(OutOfMemoryError, match="not enough memory to decode it"):
        decode(encoded(corners(), "PNG"), AS_IT_IS)


def test_real_photos_come_out_as_pillow_shows_them(shared):
    rule = ResizeRule(224, 224)
    for path in sorted(shared("images/cats_vs_dogs/val/cats").iterdir())[:10]:
        with Image.open(path) as image:
            whole = np.asarray(image.resize((224, 224), Image.Resampling.BILINEAR), dtype=int)
        assert distance(decode(path.read_bytes(), rule), whole) < 1
