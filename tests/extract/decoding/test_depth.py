"""Every format by depth, photometric interpretation, planes, byte order, compression and alpha.

Each file gives the picture of an 8-bit PNG or is refused by the name of its format; none gives another picture.
"""

import io
import itertools
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headstart.extract.decoding.decode import decode
from headstart.extract.decoding.depth import UNUSED, UNUSED_IN_COLOUR
from headstart.extract.decoding.isolated import IsolatedDecoder
from headstart.extract.errors import DecodeError
from headstart.files.resize import ResizeRule

HEIGHT, WIDTH = 25, 40
RULE = ResizeRule(HEIGHT, WIDTH)


def picture() -> np.ndarray:
    """Draw waves of each colour, with a black, a white and a coloured part."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / 10
    waves = np.stack([np.sin(2 * x), np.sin(2 * y + x), np.cos(3 * y)], axis=2) * 127 + 128
    pixels = waves.clip(0, 255).astype(np.uint8)
    pixels[2:8, 3:12], pixels[10:20, 20:30], pixels[:6, 30:] = 255, 0, (250, 20, 40)
    return pixels


COLOUR = picture()
GREY = np.asarray(Image.fromarray(COLOUR).convert("L"))
ALPHA = np.where(np.arange(WIDTH) < 10, 0, 255) + np.zeros((HEIGHT, 1), int)
"""A transparent strip at the left."""


def on_white(pixels: np.ndarray) -> np.ndarray:
    shown = pixels.copy()
    shown[ALPHA == 0] = 255
    return shown


def likeness(pixels: np.ndarray, expected: np.ndarray) -> float:
    """Return the cosine around mid-grey: a negative gives -1, and a nearly black picture no more than 0.6."""
    if expected.ndim == 2:
        expected = np.repeat(expected[:, :, None], 3, axis=2)
    a, b = (np.asarray(each, float).ravel() - 127.5 for each in (pixels, expected))
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


# Writers


def packbits(data: bytes) -> bytes:
    return b"".join(bytes([len(part) - 1]) + part for part in (data[i : i + 128] for i in range(0, len(data), 128)))


def lzw(data: bytes) -> bytes:
    """Write every byte as a code of 9 bits, and clear the table before codes get longer."""
    codes = [code for i in range(0, len(data), 250) for code in (256, *data[i : i + 250])] + [257]
    bits = "".join(f"{code:09b}" for code in codes)
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


COMPRESSIONS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "none": (1, bytes),
    "LZW": (5, lzw),
    "deflate": (8, zlib.compress),
    "PackBits": (32773, packbits),
}
Tags = dict[int, tuple[int, ...]]


def directory(tags: Tags, order: str, start: int, following: int) -> bytes:
    """Write a TIFF directory that lies at `start`, with values behind it."""
    body, behind = b"", b""
    end = start + 2 + 12 * len(tags) + 4
    for tag, values in sorted(tags.items()):
        kind, letter = (4, "I") if max(values) > 65535 or tag in (273, 279, 330) else (3, "H")
        raw = struct.pack(f"{order}{len(values)}{letter}", *values)
        if len(raw) > 4:
            raw, behind = struct.pack(order + "I", end + len(behind)), behind + raw + bytes(len(raw) % 2)
        body += struct.pack(order + "HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    return struct.pack(order + "H", len(tags)) + body + struct.pack(order + "I", following) + behind


def tiff(pages: list[tuple[Tags, list[bytes]]], order: str = "<", sub: int | None = None) -> bytes:
    """Write pages of strips; with `sub` that page is a sub-image of the first."""
    data, places = b"", []
    for _, strips in pages:
        places.append([8 + len(data) + sum(map(len, strips[:i])) for i in range(len(strips))])
        data += b"".join(strips) + bytes(sum(map(len, strips)) % 2)
    starts, at = [], 8 + len(data)
    tables = [
        tags | {273: tuple(place), 279: tuple(map(len, strips))}
        for (tags, strips), place in zip(pages, places, strict=True)
    ]
    if sub is not None:
        tables[0][330] = (1,)
    for tags in tables:
        starts.append(at)
        at += len(directory(tags, order, at, 0))
    if sub is not None:
        tables[0][330] = (starts[sub],)
    chained = [start for number, start in enumerate(starts) if number != sub]
    following = dict(itertools.pairwise(chained))
    body = b"".join(
        directory(tags, order, start, following.get(start, 0)) for tags, start in zip(tables, starts, strict=True)
    )
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", starts[0])
    return head + data + body


def packed(samples: np.ndarray, bits: int, order: str) -> bytes:
    """Write rows of samples, each row from a whole byte on."""
    if bits >= 8 and bits % 8 == 0 and bits != 24:
        return samples.astype(f"{order}{samples.dtype.kind}{bits // 8}").tobytes()
    digits = (samples.reshape(len(samples), -1)[..., None].astype(np.uint32) >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(digits.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()


def page(samples: np.ndarray, photometric: int, bits: int, compression="none", order="<", planar=1, **tags) -> tuple:
    """Write samples, (height, width, channels), as one page of one strip per plane."""
    code, compress = COMPRESSIONS[compression]
    channels = samples.shape[2]
    planes = [samples] if planar == 1 else [samples[:, :, i] for i in range(channels)]
    entries: Tags = {
        256: (samples.shape[1],), 257: (samples.shape[0],), 258: (bits,) * channels, 259: (code,),
        262: (photometric,), 277: (channels,), 278: (samples.shape[0],), 284: (planar,),
    }  # fmt: skip
    return entries | {int(tag[1:]): value for tag, value in tags.items()}, [
        compress(packed(plane, bits, order)) for plane in planes
    ]


def widened(values: np.ndarray, bits: int) -> np.ndarray:
    """Scale 0-255 to 0 .. 2^bits - 1."""
    return np.round(values.astype(float) * ((1 << bits) - 1) / 255).astype(np.uint32)


Case = tuple[bytes, np.ndarray]


def shown(values: np.ndarray, bits: int) -> np.ndarray:
    return np.round(widened(values, bits) * 255 / ((1 << bits) - 1)).astype(np.uint8)


def grey_tiffs() -> Iterator[tuple[str, Case]]:
    depths, orders, photometrics = (1, 2, 4, 8, 10, 12, 14, 16, 32), "<>", (0, 1)
    for bits, order, photometric, compression in itertools.product(depths, orders, photometrics, COMPRESSIONS):
        samples = widened(GREY, bits)
        samples = samples if photometric else (1 << bits) - 1 - samples
        name = f"TIFF grey {bits} bits {order} photometric {photometric} {compression}"
        data = tiff([page(samples[:, :, None], photometric, bits, compression, order)], order)
        yield name, (data, shown(GREY, bits))


def colour_tiffs() -> Iterator[tuple[str, Case]]:
    for bits, order, planar, compression, extra, channels in itertools.product(
        (8, 16, 32), "<>", (1, 2), COMPRESSIONS, (None, 0, 1, 2), (1, 3)
    ):
        base = COLOUR if channels == 3 else GREY[:, :, None]
        if channels == 1 and extra is None:
            continue
        tags = {} if extra is None else {"t338": (extra,)}
        visible = base if extra in (None, 0) else on_white(base)
        stored = base if extra is None else np.dstack([base * (ALPHA[:, :, None] > 0) if extra == 1 else base, ALPHA])
        samples = widened(stored, bits)
        name = f"TIFF {channels} channels {bits} bits {order} planar {planar} {compression} extra {extra}"
        data = tiff([page(samples, 2 if channels == 3 else 1, bits, compression, order, planar, **tags)], order)
        yield name, (data, visible[:, :, 0] if channels == 1 else visible)


def other_tiffs() -> Iterator[tuple[str, Case]]:
    signed8 = (GREY.astype(int) - 128).astype(np.int8)[:, :, None]
    signed16 = (GREY.astype(int) * 257 - 32768).astype(np.int16)[:, :, None]
    for order in "<>":
        yield f"TIFF signed 8 {order}", (tiff([page(signed8, 1, 8, order=order, t339=(2,))], order), GREY)
        yield f"TIFF signed 16 {order}", (tiff([page(signed16, 1, 16, order=order, t339=(2,))], order), GREY)
        yield f"TIFF positive 16 {order}", (
            tiff([page((GREY.astype(np.int16) * 128)[:, :, None], 1, 16, order=order, t339=(2,))], order), GREY,
        )  # fmt: skip
        for bits, scale in ((16, 1), (32, 1), (64, 255)):
            floats = (GREY / scale).astype(f"f{bits // 8}")[:, :, None]
            yield f"TIFF float {bits} {order}", (tiff([page(floats, 1, bits, order=order, t339=(3,))], order), GREY)


def kinds_of_tiff() -> Iterator[tuple[str, Case]]:
    """Yield palettes and the other interpretations of colour."""
    from PIL import ImageCms

    paletted = Image.fromarray(COLOUR).quantize(200)
    colours = np.array(paletted.getpalette()).reshape(-1, 3)
    colours = np.vstack([colours, np.zeros((256 - len(colours), 3), int)])
    seen = np.asarray(paletted.convert("RGB"))
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    to_lab = ImageCms.buildTransformFromOpenProfiles(srgb, lab, "RGB", "LAB")
    as_lab = ImageCms.applyTransform(Image.fromarray(COLOUR), to_lab)
    in_lab = np.frombuffer(as_lab.tobytes(), np.uint8).reshape(HEIGHT, WIDTH, 3)
    ycc = np.asarray(Image.fromarray(COLOUR).convert("YCbCr"))
    cmyk = np.asarray(Image.fromarray(COLOUR).convert("CMYK"))
    for order, compression in itertools.product("<>", COMPRESSIONS):
        how = f"{order} {compression}"
        for most in (1, 257):  # python-pillow/Pillow#2157
            tags = {"t320": tuple((colours * most).T.ravel())}
            samples = np.asarray(paletted)[:, :, None]
            data = tiff([page(samples, 3, 8, compression, order, **tags)], order)
            yield f"TIFF palette to {255 * most} {how}", (data, seen)
        for planar in (1, 2):
            for bits in (8, 16):
                data = tiff([page(widened(cmyk, bits), 5, bits, compression, order, planar)], order)
                yield f"TIFF CMYK {bits} bits planar {planar} {how}", (data, COLOUR)
            for subsampling in (1, 2):
                data = tiff([page(ycc, 6, 8, compression, order, planar, t530=(subsampling,) * 2)], order)
                if subsampling == 1:
                    yield f"TIFF YCbCr planar {planar} {how}", (data, COLOUR)
            for name, photometric in (("CIELab", 8), ("ICCLab", 9), ("ITULab", 10)):  # ImageMagick/ImageMagick#4105
                data = tiff([page(in_lab, photometric, 8, compression, order, planar)], order)
                yield f"TIFF {name} planar {planar} {how}", (data, COLOUR)
        # python-pillow/Pillow#1270
        whole = ycc[: HEIGHT - 1].reshape(HEIGHT // 2, 2, WIDTH // 2, 2, 3)
        whole = np.concatenate(
            [whole[..., :1], whole[..., 1:].mean((1, 3), keepdims=True).astype(np.uint8) + 0 * whole[..., 1:]], axis=4
        )
        whole = whole.reshape(HEIGHT - 1, WIDTH, 3)
        expected = np.asarray(
            Image.frombytes("YCbCr", whole.shape[1::-1], whole.tobytes())
            .convert("RGB")
            .resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
        )
        blocks = [
            bytes(block[:, :, 0].ravel()) + bytes(block[:, :, 1:].mean((0, 1)).astype(np.uint8))
            for y in range(0, HEIGHT - 1, 2) for x in range(0, WIDTH, 2)
            for block in [ycc[y : y + 2, x : x + 2]]
        ]  # fmt: skip
        entries, _ = page(ycc[: HEIGHT - 1], 6, 8, compression, order, t530=(2, 2))
        data = tiff([(entries, [COMPRESSIONS[compression][1](b"".join(blocks))])], order)
        yield f"TIFF YCbCr subsampled {how}", (data, expected)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples: np.ndarray, bits: int, colours: int, *chunks: bytes) -> bytes:
    """Write samples, (height, width, channels), with chunks before the pixels."""
    rows = packed(samples, bits, ">")
    size = len(rows) // len(samples)
    raw = b"".join(b"\0" + rows[i : i + size] for i in range(0, len(rows), size))
    head = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], bits, colours, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(raw))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def pngs() -> Iterator[tuple[str, Case]]:
    for bits in (1, 2, 4, 8, 16):
        grey = widened(GREY, bits)[:, :, None]
        expected = shown(GREY, bits)
        yield f"PNG grey {bits} bits", (png(grey, bits, 0), expected)
        key = int(grey[0, 0, 0])  # python-pillow/Pillow#9281
        clear = np.where(grey[:, :, 0] == key, 255, expected).astype(np.uint8)
        yield f"PNG grey {bits} bits with a key", (png(grey, bits, 0, chunk(b"tRNS", struct.pack(">H", key))), clear)
        if bits < 8:
            shades = b"".join(bytes([value * 255 // ((1 << bits) - 1)] * 3) for value in range(1 << bits))
            yield f"PNG palette {bits} bits", (png(grey, bits, 3, chunk(b"PLTE", shades)), expected)
    for bits in (8, 16):
        colour = widened(COLOUR, bits)
        key = struct.pack(">HHH", *map(int, colour[0, 0]))
        clear = np.where((COLOUR[0, 0] == COLOUR).all(axis=2)[:, :, None], 255, COLOUR).astype(np.uint8)
        with_alpha = widened(np.dstack([COLOUR, ALPHA]), bits)
        grey = widened(np.dstack([GREY, ALPHA]), bits)
        yield f"PNG colour {bits} bits", (png(colour, bits, 2), COLOUR)
        yield f"PNG colour {bits} bits with a key", (png(colour, bits, 2, chunk(b"tRNS", key)), clear)
        yield f"PNG colour {bits} bits with alpha", (png(with_alpha, bits, 6), on_white(COLOUR))
        yield f"PNG grey {bits} bits with alpha", (png(grey, bits, 4), on_white(GREY))


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    held = io.BytesIO()
    image.save(held, form, **options)
    return held.getvalue()


def with_jp2_depth(data: bytes, bits: int) -> bytes:
    """State another depth in the SIZ segment of a JPEG 2000 codestream; Pillow writes colour of 8 bits only."""
    start = data.find(b"\xff\x4f\xff\x51")
    components = data[start + 41]
    stated = b"".join(
        bytes([bits - 1]) + data[at + 1 : at + 3] for at in range(start + 42, start + 42 + 3 * components, 3)
    )
    return data[: start + 42] + stated + data[start + 42 + 3 * components :]


def pillow_files() -> Iterator[tuple[str, Case]]:
    colour, grey = Image.fromarray(COLOUR), Image.fromarray(GREY)
    deep = Image.fromarray(widened(GREY, 16).astype(np.uint16))
    with_alpha = Image.fromarray(np.dstack([COLOUR, ALPHA]).astype(np.uint8))
    grey_alpha = Image.merge("LA", (grey, Image.fromarray(ALPHA.astype(np.uint8))))
    for suffix in ("jp2", "j2k"):
        name, kwargs = f"JPEG 2000 {suffix}", {"no_jp2": suffix == "j2k"}
        for what, image, expected in (
            ("colour", colour, COLOUR), ("grey", grey, GREY), ("grey 16 bits", deep, GREY),
            ("alpha", with_alpha, on_white(COLOUR)), ("grey with alpha", grey_alpha, on_white(GREY)),
        ):  # fmt: skip
            data = encoded(image, "JPEG2000", **kwargs)
            yield f"{name} {what}", (data, expected)
            if what not in ("grey", "grey 16 bits"):
                for bits in (4, 10, 12, 16):
                    yield f"{name} {what} {bits} bits", (with_jp2_depth(data, bits), expected)
    best = {"lossless": True}
    for what, image, expected in (("colour", colour, COLOUR), ("alpha", with_alpha, on_white(COLOUR))):
        yield f"WebP {what}", (encoded(image, "WEBP", **best), expected)
        yield f"AVIF {what}", (encoded(image, "AVIF", quality=100, subsampling="4:4:4"), expected)
        yield f"ICO {what}", (encoded(image, "ICO", sizes=[image.size]), expected)
    data = encoded(with_alpha, "ICO", sizes=[with_alpha.size], bitmap_format="bmp")
    yield "ICO of BMP", (data, on_white(COLOUR))
    clear = Image.fromarray(np.dstack([COLOUR, 0 * ALPHA]).astype(np.uint8))
    yield "ICO of BMP, alpha all 0", (encoded(clear, "ICO", sizes=[clear.size], bitmap_format="bmp"), COLOUR)
    for mode in ("RGB", "L", "CMYK"):
        image = colour.convert(mode)
        data = encoded(image, "JPEG", quality=100, **({"subsampling": 0} if mode == "RGB" else {}))
        yield f"JPEG {mode}", (data, GREY if mode == "L" else COLOUR)
    quantized = colour.quantize(250)
    yield "GIF", (encoded(quantized, "GIF"), np.asarray(quantized.convert("RGB")))


def maps() -> Iterator[tuple[str, Case]]:
    """Yield PBM, PGM and PPM of several greatest values, as bytes and as text."""
    for most in (1, 15, 255, 1023, 4095, 65535):
        for letter, samples in ((b"5", GREY), (b"6", COLOUR)):
            values = np.round(samples.astype(float) * most / 255)
            expected = np.round(values * 255 / most).astype(np.uint8)
            head = b" %d %d %d\n" % (WIDTH, HEIGHT, most)
            data = values.astype(">u2" if most > 255 else "u1").tobytes()
            yield f"PPM P{letter.decode()} {most}", (b"P" + letter + head + data, expected)
            plain = " ".join(str(int(value)) for value in values.ravel()).encode()
            yield f"PPM plain P{letter.decode()} {most}", (b"P%d" % (int(letter) - 3) + head + plain, expected)
    bits = (GREY > 127).astype(np.uint8)
    yield "PPM P4", (b"P4 %d %d\n" % (WIDTH, HEIGHT) + np.packbits(1 - bits, axis=1).tobytes(), bits * 255)


def bmp(bits: int, compression: int, masks: tuple[int, ...], alpha: int | None, header: int, height: int) -> bytes:
    """Write the picture with bit fields, BITMAPINFOHEADER or BITMAPV5HEADER; a negative height is top-down."""
    values = np.zeros((HEIGHT, WIDTH), np.uint64)
    fields = masks if compression == 3 else (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    channels = [*np.moveaxis(COLOUR, 2, 0), np.full((HEIGHT, WIDTH), alpha or 0)]
    for mask, channel in zip(fields, channels, strict=True):
        if mask:
            width, shift = bin(mask).count("1"), (mask & -mask).bit_length() - 1
            values |= widened(channel, width).astype(np.uint64) << np.uint64(shift)
    rows = values if height < 0 else values[::-1]
    pixels = np.ascontiguousarray(rows).astype(f"<u{bits // 8}").tobytes()
    info = struct.pack("<IiiHHIIiiII", header, WIDTH, height, 1, bits, compression, len(pixels), 2835, 2835, 0, 0)
    if header == 124:
        info += struct.pack("<IIII", *masks) + b"BGRs" + bytes(64)
    elif compression == 3:
        info += struct.pack("<III", *masks[:3])
    start = 14 + len(info)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + info + pixels


def bmps() -> Iterator[tuple[str, Case]]:
    layouts = {  # python-pillow/Pillow#2534, image-rs/image#539, SixLabors/ImageSharp#369, python-pillow/Pillow#8594
        "565": (16, 3, (0xF800, 0x7E0, 0x1F, 0), None, 40),
        "555": (16, 3, (0x7C00, 0x3E0, 0x1F, 0), None, 40),
        "444": (16, 3, (0xF00, 0xF0, 0xF, 0), None, 40),
        "10:10:10": (32, 3, (0x3FF00000, 0xFFC00, 0x3FF, 0), None, 124),
        "BGRX": (32, 0, (0, 0, 0, 0), 0, 40),
        "BGRA": (32, 3, (0xFF0000, 0xFF00, 0xFF, 0xFF000000), 255, 124),
        "BGRA, all 0": (32, 3, (0xFF0000, 0xFF00, 0xFF, 0xFF000000), 0, 124),
        "RGBA": (32, 3, (0xFF000000, 0xFF0000, 0xFF00, 0xFF), 255, 124),
        "RGBA, all 0": (32, 3, (0xFF000000, 0xFF0000, 0xFF00, 0xFF), 0, 124),
        "no alpha": (32, 3, (0xFF0000, 0xFF00, 0xFF, 0), None, 124),
    }
    for (name, layout), height in itertools.product(layouts.items(), (HEIGHT, -HEIGHT)):
        yield f"BMP {name} {'top-down' if height < 0 else ''}", (bmp(*layout, height), COLOUR)
    for mode in ("RGB", "L", "1"):
        image = Image.fromarray(COLOUR).convert(mode)
        yield f"BMP {mode}", (encoded(image, "BMP"), np.asarray(image.convert("RGB")))


MAKERS = (grey_tiffs, colour_tiffs, other_tiffs, kinds_of_tiff, pngs, pillow_files, maps, bmps)


@cache
def cases() -> dict[str, Case]:
    return dict(itertools.chain.from_iterable(make() for make in MAKERS))


RIGHT, REFUSED = "its picture", "a reason"


def outcome(name: str) -> str:
    data, expected = cases()[name]
    form = "this" if name.startswith("TIFF") else name.split()[0]
    try:
        found = likeness(decode(data, RULE), expected)
    except DecodeError as error:
        is_clear = any(word in str(error) for word in (form, "bits", "BMP")) and "; " in str(error)
        return REFUSED if is_clear else f"unclear: {error}"
    return RIGHT if found >= 0.999 else f"another picture: {found:.3f}"


@cache
def outcomes() -> dict[str, str]:
    return {name: outcome(name) for name in cases()}


def test_no_file_gives_another_picture():
    assert len(outcomes()) > 120
    assert {name: found for name, found in outcomes().items() if found not in (RIGHT, REFUSED)} == {}


ALWAYS_RIGHT = (
    "TIFF grey 1 ", "TIFF grey 8 ", "TIFF grey 16 bits < ", "TIFF grey 12 bits < photometric 1",
    "TIFF 3 channels 8 bits < planar 1", "TIFF 3 channels 16 ",
    "TIFF 1 channels 8 bits < planar 1", "TIFF CMYK", "TIFF palette",
    "TIFF CIELab planar 1", "PNG grey", "PNG colour 8", "PNG colour 16 bits with alpha", "PNG palette",
    "JPEG 2000 jp2 grey 16", "WebP", "AVIF", "ICO", "GIF", "PPM", "BMP BGRA", "BMP RGBA", "BMP 565", "JPEG RGB",
    "JPEG CMYK",
)  # fmt: skip


@pytest.mark.parametrize("beginning", ALWAYS_RIGHT)
def test_what_people_have_is_read(beginning):
    found = {name: outcome for name, outcome in outcomes().items() if name.startswith(beginning)}
    assert found
    assert set(found.values()) == {RIGHT}


@pytest.mark.parametrize("fault", ["negative", "dark", "mirrored"])
def test_the_measure_sees_another_picture(fault):
    other = {"negative": 255 - COLOUR, "dark": COLOUR // 16, "mirrored": COLOUR[:, ::-1]}[fault]
    assert likeness(other, COLOUR) < 0.9


# The page that holds the picture

SMALL = page(COLOUR[::5, ::5] // 2, 2, 8, t254=(1,))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("sub", [None, 1])
def test_a_thumbnail_before_the_picture_is_passed_over(order, sub):
    small, full = (page(pixels, 2, 8, order=order) for pixels in (COLOUR[::5, ::5] // 2, COLOUR))
    small[0][254] = (1,)
    np.testing.assert_array_equal(decode(tiff([small, full], order, sub), RULE), COLOUR)


def test_a_thumbnail_after_the_picture_does_no_harm():
    np.testing.assert_array_equal(decode(tiff([page(COLOUR, 2, 8), SMALL], sub=1), RULE), COLOUR)


def refusal(data: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(data, RULE)
    return str(caught.value)


def test_a_thumbnail_alone_is_no_picture():
    assert "nothing but a thumbnail" in refusal(tiff([SMALL]))


@pytest.mark.parametrize(("tags", "name"), [({50706: (1, 4, 0, 0)}, "DNG"), ({}, "TIFF")])
def test_camera_raw_is_named_and_its_preview_not_taken(tags, name):
    preview, sensor = SMALL[0] | tags, page(widened(GREY, 16)[:, :, None], 32803, 16)
    assert refusal(tiff([(preview, SMALL[1]), sensor], sub=1)).startswith(f"camera raw ({name}) is not supported; ")


def test_directories_in_a_loop_come_to_an_end():
    data = bytearray(tiff([SMALL, SMALL]))
    data[-4:] = data[4:8]
    assert refusal(bytes(data))


def test_an_array_saved_along_the_wrong_axis_is_no_picture():
    slices = [page(np.full((HEIGHT, 2, 1), 9 * number), 1, 16) for number in range(5)]
    assert "channels last" in refusal(tiff(slices))


# 10, 12 and 14 bits in samples of 16


def grey16(bits: int, form: str, stated: bool) -> bytes:
    samples = widened(GREY, bits)[:, :, None]
    if form == "TIFF":
        return tiff([page(samples, 1, 16, **({"t281": ((1 << bits) - 1,)} if stated else {}))])
    return png(samples, 16, 0, *([chunk(b"sBIT", bytes([bits]))] if stated else []))


@pytest.mark.parametrize("form", ["TIFF", "PNG"])
@pytest.mark.parametrize("bits", [9, 10, 12, 14])
def test_a_stated_depth_is_scaled_by(form, bits):
    notes: list[str] = []
    assert likeness(decode(grey16(bits, form, True), RULE, notes), GREY) >= 0.999
    assert not notes


@pytest.mark.parametrize("form", ["TIFF", "PNG"])
@pytest.mark.parametrize("bits", [10, 12, 14])
def test_bits_that_nobody_uses_are_noted_and_scaled_on_request(form, bits):
    data, notes, none = grey16(bits, form, False), [], []
    assert likeness(decode(data, RULE, notes), GREY) < 0.9
    assert notes == [UNUSED.format(bits)]
    assert likeness(decode(data, ResizeRule(HEIGHT, WIDTH, "squash", bits), none), GREY) >= 0.999
    assert not none


@pytest.mark.parametrize("form", ["TIFF", "PNG"])
@pytest.mark.parametrize("grey_bits", [8, 12, 16])
def test_an_image_with_greater_values_is_scaled_by_16_bits(form, grey_bits):
    """A conforming PNG of 12 significant bits uses all of the range (PNG, 11.3.2.7)."""
    samples = widened(GREY, 16)[:, :, None]
    data = (
        tiff([page(samples, 1, 16, t281=(4095,))]) if form == "TIFF" else png(samples, 16, 0, chunk(b"sBIT", b"\x0c"))
    )
    notes: list[str] = []
    assert likeness(decode(data, ResizeRule(HEIGHT, WIDTH, "squash", grey_bits), notes), GREY) >= 0.999
    assert not notes


@pytest.mark.parametrize("bits", [12, 14, 16])
@pytest.mark.parametrize("form", ["TIFF", "PNG"])
def test_colour_that_uses_only_lower_bits_is_noted(form, bits):
    samples, notes = widened(COLOUR, bits), []
    decode(png(samples, 16, 2) if form == "PNG" else tiff([page(samples, 2, 16)]), RULE, notes)
    assert notes == ([UNUSED_IN_COLOUR] if bits < 16 else [])


def test_the_request_leaves_other_images_alone():
    rule = ResizeRule(HEIGHT, WIDTH, "squash", 8)
    for name in ("PNG grey 8 bits", "TIFF 3 channels 16 bits < planar 1 none extra None", "JPEG RGB"):
        np.testing.assert_array_equal(decode(cases()[name][0], rule), decode(cases()[name][0], RULE))


@pytest.mark.skipif(sys.platform == "win32", reason="isolation needs a POSIX system")
def test_a_worker_process_scales_and_notes_alike():
    data, notes = grey16(12, "PNG", False), []
    for bits in (16, 12):
        rule = ResizeRule(HEIGHT, WIDTH, "squash", bits)
        decoder = IsolatedDecoder(rule)
        np.testing.assert_array_equal(decoder.decode(data, notes), decode(data, rule))
        decoder.close()
    assert notes == [UNUSED.format(12)]


# Files that people had

HAD = (
    "planar_16.tif", "jp2_12.jp2", "jp2_16.jp2", "grey16_transparent_key.png", "grey_alpha_16.tif", "raw_camera.dng",
    "thumbnail_first.tif", "float64.tif", "six_bands.tif", "grey_12_of_16.png", "grey_10_of_16.tif",
)  # fmt: skip


@pytest.mark.parametrize("name", HAD)
def test_a_file_that_went_wrong(shared, name):
    data = shared(f"cases/images/{name}").read_bytes()
    right = shared(f"cases/images/{'right_grey' if 'grey' in name else 'right'}.png").read_bytes()
    bits = int(name.split("_")[1]) if "_of_16" in name else 16
    rule = ResizeRule(30, 40, "squash", bits)
    try:
        pixels = decode(data, rule)
    except DecodeError as error:
        found = str(error)
        assert any(form in found for form in ("TIFF", "JPEG 2000", "DNG")) and "; " in found  # noqa: PT018
    else:
        expected = decode(right, rule).astype(float)
        if "key" in name:
            expected[pixels == 255] = 255
        assert likeness(pixels, expected) >= 0.99


def test_upper_bits_that_are_the_significant_ones_stay_where_they_are():
    """ISO 15948, 11.3.2.7: samples span all 16 bits whatever sBIT says; a dark frame must not become bright."""
    samples = np.full((8, 8), 0x0FF0, "<u2")
    dark = decode(png(samples.astype(">u2"), 16, 0, chunk(b"sBIT", b"\x0c")), ResizeRule(8, 8))
    assert 14 <= dark.min() <= dark.max() <= 17
