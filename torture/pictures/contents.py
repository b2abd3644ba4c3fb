"""Contents of difficult files: no image, truncated images, every kind of pixels, broken metadata."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from torture.pictures.case import DAMAGED, HEIGHT, UNKNOWN, WIDTH, Case, picture, saved

CUTS = 20
"""Number of points at which each of `FORMATS` is truncated."""
FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95},
    "PNG": {},
    "WEBP": {"lossless": True},
    "GIF": {},
    "TIFF": {"compression": "tiff_lzw"},
    "AVIF": {"quality": 95},
}
_ORIENTATION = 0x0112
_T = Image.Transpose
STORED = {
    1: None,
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_90,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_270,
}
"""How a picture is stored for each EXIF orientation."""


def not_images() -> Iterator[Case]:
    """Yield files that are not images, or too short to tell."""
    yield Case(b"not/empty.jpg", b"", "^empty file$")
    for name, data in {
        "zeros.jpg": bytes(5000),
        "text.png": b"owls seen in May",
        "page.jpg": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "report.jpe": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "print.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
        "archive.jpg": b"PK\x03\x04" + bytes(100),
        "program.png": b"\x7fELF" + bytes(100),
        "one.jpg": b"\xff",
    }.items():
        yield Case(b"not/" + name.encode(), data, UNKNOWN)
    for name, data in {
        "start.jpg": b"\xff\xd8\xff",
        "start.png": b"\x89PNG\r\n\x1a\n",
        "start.gif": b"GIF89a",
        "start.tif": b"II*\0",
        "start.bmp": b"BM",
    }.items():
        yield Case(b"not/" + name.encode(), data, DAMAGED)


def cut_off() -> Iterator[Case]:
    """Yield truncated images. If they are embedded, their embedding must be that of the whole image."""
    for form, options in FORMATS.items():
        data = saved(picture(), form, **options)
        whole = f"cut/{form}/whole".encode()
        yield Case(whole, data, like=b"kinds/plain.png")
        for number in range(CUTS):
            size = 1 + (len(data) - 2) * number // (CUTS - 1)
            yield Case(f"cut/{form}/{number:02}.{form.lower()}".encode(), data[:size], f"{DAMAGED}|^$", whole)


def kinds() -> Iterator[Case]:
    """Yield one picture in every format and kind of pixels, and pixels without a defined range."""
    plain = b"kinds/plain.png"
    grey = picture("L")
    wide = np.asarray(grey).astype(np.uint16) * 257
    see_through = picture("RGBA")
    see_through.putalpha(255)
    palette = picture().quantize(8)
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue")]
    alike = {
        "plain.png": saved(picture(), "PNG"),
        "cmyk.jpg": saved(picture("CMYK"), "JPEG", quality=98),
        "cmyk.tif": saved(picture("CMYK"), "TIFF"),
        "ycbcr.tif": saved(picture("YCbCr"), "TIFF"),
        "palette.png": saved(palette, "PNG"),
        "palette.gif": saved(palette, "GIF"),
        "palette.bmp": saved(palette, "BMP"),
        "alpha.png": saved(see_through, "PNG"),
        "alpha.webp": saved(see_through, "WEBP", lossless=True),
        "progressive.jpg": saved(picture(), "JPEG", quality=98, subsampling=0, progressive=True),
        "wrong.gif": saved(picture(), "PNG"),
        "wrong.png": saved(picture(), "JPEG", quality=98, subsampling=0),
        "misnamed.dat": saved(picture(), "WEBP", lossless=True),
        "none": saved(picture(), "BMP"),
        "plain.ppm": saved(picture(), "PPM"),
        "plain.jp2": saved(picture(), "JPEG2000"),
        "plain.ico": saved(picture(size=(48, 36)), "ICO", sizes=[(48, 36)]),
        "behind.png": saved(picture(), "PNG") + b"and more behind its end",
    }
    for form, options in {"gif": {}, "png": {}, "webp": {"lossless": True}, "tiff": {}, "avif": {}}.items():
        alike[f"several.{form}"] = saved(picture(), form.upper(), save_all=True, append_images=frames, **options)
    alike["several.mpo"] = saved(picture(), "MPO", save_all=True, append_images=frames, quality=98)
    for name, data in alike.items():
        yield Case(b"kinds/" + name.encode(), data, like=plain)
    like_grey = b"kinds/grey.png"
    greys = {
        "grey.png": saved(grey, "PNG"),
        "grey16.png": saved(Image.fromarray(wide), "PNG"),
        "grey16.tif": saved(Image.fromarray(wide), "TIFF"),
        "grey16-big.tif": saved(Image.frombytes("I;16B", grey.size, wide.astype(">u2").tobytes()), "TIFF"),
        "grey32.tif": saved(Image.fromarray(wide.astype(np.int32)), "TIFF"),
    }
    for name, data in greys.items():
        yield Case(b"kinds/" + name.encode(), data, like=like_grey)
    for bits, mode in ((1, "1"), (2, "P"), (4, "P")):
        image = picture("1") if mode == "1" else picture().quantize(1 << bits)
        yield Case(f"kinds/{bits}bit.png".encode(), saved(image, "PNG", **({} if mode == "1" else {"bits": bits})))
    palette.info["transparency"] = 0
    yield Case(b"kinds/transparent.png", saved(palette, "PNG", transparency=0))
    yield Case(b"kinds/transparent.gif", saved(palette, "GIF", transparency=0))
    yield Case(b"kinds/float.tif", saved(picture("F"), "TIFF"), "^floating-point pixels have no stated range")
    beyond = Image.fromarray(np.full((HEIGHT, WIDTH), 70_000, np.int32))
    yield Case(b"kinds/beyond.tif", saved(beyond, "TIFF"), "^32-bit pixels beyond 0-65535")
    for size in ((1, 1), (1, 900), (900, 1)):
        yield Case(f"kinds/{size[0]}x{size[1]}.png".encode(), saved(picture(size=size), "PNG"))


def broken_blocks() -> Iterator[Case]:
    """Yield good images with invalid EXIF and colour profiles."""
    like = b"kinds/plain.png"
    options: dict[str, Any] = {"quality": 98, "subsampling": 0}
    for number, content in enumerate(
        (b"", b"II*\0\xff\xff\xff\xff", b"garbage", b"MM\0*\0\0\0\x08\xff\xff" + bytes(20))
    ):
        exif = b"Exif\0\0" + content
        yield Case(f"blocks/exif{number}.jpg".encode(), saved(picture(), "JPEG", exif=exif, **options), like=like)
        yield Case(f"blocks/exif{number}.png".encode(), saved(picture(), "PNG", exif=exif), like=like)
    for number, profile in enumerate((b"no profile", bytes(200), os.urandom(3000))):
        yield Case(
            f"blocks/icc{number}.jpg".encode(), saved(picture(), "JPEG", icc_profile=profile, **options), like=like
        )
        yield Case(f"blocks/icc{number}.png".encode(), saved(picture(), "PNG", icc_profile=profile), like=like)
    for value in (0, 9, 60_000):
        exif_ = Image.Exif()
        exif_[_ORIENTATION] = value
        yield Case(f"blocks/turned{value}.png".encode(), saved(picture(), "PNG", exif=exif_), like=like)


def turned() -> Iterator[Case]:
    """Yield rotated images whose EXIF orientation makes them upright."""
    for orientation, turn in STORED.items():
        exif = Image.Exif()
        exif[_ORIENTATION] = orientation
        stored = picture() if turn is None else picture().transpose(turn)
        kinds: dict[str, dict[str, Any]] = {
            "JPEG": {"quality": 98, "subsampling": 0},
            "PNG": {},
            "WEBP": {"lossless": True},
            "TIFF": {},
        }
        for form, options in kinds.items():
            name = f"turned/{orientation}.{form.lower()}".encode()
            yield Case(name, saved(stored, form, exif=exif, **options), like=b"kinds/plain.png")
