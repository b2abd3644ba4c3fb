"""A folder of the worst that a folder of images can hold, each with what must become of it."""

import io
import os
import re
import socket
import stat
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from extract import EngineOptions, embed

WIDTH, HEIGHT = 48, 36
CUTS = 20
"""Points at which each of `FORMATS` is cut off."""
FORMATS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95},
    "PNG": {},
    "WEBP": {"lossless": True},
    "GIF": {},
    "TIFF": {"compression": "tiff_lzw"},
    "AVIF": {"quality": 95},
}
DAMAGED = "^(damaged image: .|not an image of a known format|empty file)"
UNKNOWN = "^not an image of a known format"
TOO_MANY = "^(60000 x 60000 is more than 100,000,000|more than [0-9,]+) pixels"
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
"""How a picture lies in a file whose orientation makes it upright."""


@dataclass(frozen=True)
class Case:
    """One file.

    Attributes
    ----------
    name
        Its path in the folder.
    make
        Its bytes, or what puts it there.
    reason
        A pattern of the reason why it fails; empty where it must be embedded; None where it may be either.
    like
        Name of the case whose embedding it must have, where it has one.
    """

    name: bytes
    make: bytes | Callable[[bytes], None]
    reason: str | None = ""
    like: bytes = b""


def cases() -> list[Case]:
    """Make every case; those that this system cannot make are left out when they are put into a folder."""
    groups: tuple[Callable[[], Iterable[Case]], ...]
    groups = (_not_images, _cut_off, _kinds, _bombs, _broken_blocks, _turned, _special_files, _names)
    return [case for group in groups for case in group()]


def images(count: int, backbone: Path) -> dict[str, object]:
    """Embed the folder so many times, in as many ways, and count what does not become what it must.

    Returns
    -------
    files, inputs, embedded, failed: of each run; wrong: one line for each that is not as it must be.
    """
    figures: dict[str, object] = {}
    wrong: list[str] = []
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            options = EngineOptions(workers=1 + number % 3, batch_size=1 + 7 * number, isolate=number % 2 == 0)
            found, faults = check(Path(folder), backbone, options)
            figures |= found
            wrong += [f"run {number}: {fault}" for fault in faults]
    return {"runs": count, **figures, "wrong": wrong}


def check(folder: Path, backbone: Path, options: EngineOptions | None = None) -> tuple[dict[str, int], list[str]]:
    """Embed every case once, in this folder; give counts, and one line for each that is not as it must be."""
    put = {case.name: case for case in cases() if _put(folder / "photos", case)}
    store, summary = embed(folder / "photos", backbone, folder / "photos.h5", options=options)
    vectors, embedded = np.asarray(store.embeddings(), np.float32), np.asarray(store.is_embedded)
    row = {os.fsencode(path): number for number, path in enumerate(store.paths)}
    failures = {os.fsencode(path): reason for path, reason in store.failures.items()}
    wrong = [f"{name!r}: no row" for name in put.keys() - row.keys()]
    wrong += [f"{name!r}: a row, but no such file" for name in row.keys() - put.keys()]
    for name in put.keys() & row.keys():
        case, reason = put[name], failures.get(name, "")
        if bool(reason) == bool(embedded[row[name]]):
            wrong.append(f"{name!r}: neither embedded nor failed, or both")
        if case.reason is not None and not re.search(case.reason or "^$", reason):
            wrong.append(f"{name!r}: {reason!r}, expected {case.reason!r}")
        if not reason and case.like:
            distance = float(np.abs(vectors[row[name]] - vectors[row[case.like]]).max())
            if not distance < 0.05:
                wrong.append(f"{name!r}: {distance:.3f} from {case.like!r}")
    counts = {"files": len(put), "inputs": summary.inputs, "embedded": summary.embedded, "failed": summary.failed}
    if summary.inputs != summary.embedded + summary.failed or summary.inputs != len(put):
        wrong.append(f"counts do not add up: {counts}")
    return counts, sorted(wrong)


def _put(folder: Path, case: Case) -> bool:
    place = os.path.join(os.fsencode(folder), case.name)
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if callable(case.make):
        try:
            case.make(place)
        except (OSError, AttributeError):
            return False
        return True
    try:
        with open(place, "wb") as file:
            file.write(case.make)
    except OSError:  # not every file system takes every name
        return False
    return True


def picture(mode: str = "RGB", size: tuple[int, int] = (WIDTH, HEIGHT)) -> Image.Image:
    """Draw a picture that no turn leaves the same: one colour in each quarter."""
    quarters = np.array([[[230, 40, 20], [30, 200, 60]], [[40, 60, 220], [240, 220, 60]]], np.uint8)
    return Image.fromarray(quarters).resize(size, Image.Resampling.NEAREST).convert(mode)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    """Give the bytes of a file."""
    held = io.BytesIO()
    image.copy().save(held, form, **options)  # saving leaves settings behind in a picture
    return held.getvalue()


def _not_images() -> Iterator[Case]:
    yield Case(b"not/empty.jpg", b"", "^empty file$")
    for name, data in {
        "zeros.jpg": bytes(5000),
        "text.png": b"owls seen in May",
        "page.jpg": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        "report.pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
        "page.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n",
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


def _cut_off() -> Iterator[Case]:
    for form, options in FORMATS.items():
        data = saved(picture(), form, **options)
        whole = f"cut/{form}/whole".encode()
        yield Case(whole, data, like=b"kinds/plain.png")
        for number in range(CUTS):
            size = 1 + (len(data) - 2) * number // (CUTS - 1)
            yield Case(f"cut/{form}/{number:02}.{form.lower()}".encode(), data[:size], f"{DAMAGED}|^$", whole)


def _kinds() -> Iterator[Case]:
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
        "wrong.txt": saved(picture(), "WEBP", lossless=True),
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


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, *more: bytes, pixels: bytes = bytes(1000)) -> bytes:
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + _chunk(b"IDAT", zlib.compress(pixels)) + _chunk(b"IEND", b"")


@cache
def _bombs() -> tuple[Case, ...]:
    return tuple(_make_bombs())


def _make_bombs() -> Iterator[Case]:
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
    yield Case(b"bombs/short.png", _png(9000, 9000), "^damaged image: ")
    bomb = zlib.compress(bytes(80 << 20), 6)
    yield Case(b"bombs/text.png", _png(WIDTH, HEIGHT, _chunk(b"zTXt", b"Comment\0\0" + bomb)), DAMAGED)
    yield Case(b"bombs/profile.png", _png(WIDTH, HEIGHT, _chunk(b"iCCP", b"ICC\0\0" + bomb), pixels=_rows()), DAMAGED)
    yield Case(b"bombs/pixels.png", _png(WIDTH, HEIGHT, pixels=_rows() + bytes(50 << 20)))
    yield Case(b"bombs/large.png", _png(6000, 6000, pixels=bytes(6000 * (1 + 6000 * 3))))


def _rows() -> bytes:
    return bytes(HEIGHT * (1 + 3 * WIDTH))


def _broken_blocks() -> Iterator[Case]:
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


def _turned() -> Iterator[Case]:
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


def _special_files() -> Iterator[Case]:
    def link(target: bytes) -> Callable[[bytes], None]:
        return lambda place: os.symlink(target, place)

    def listen(place: bytes) -> None:
        held = os.open(b".", os.O_RDONLY)
        try:
            os.chdir(os.path.dirname(place))  # a socket's path may have 107 bytes
            with socket.socket(socket.AF_UNIX) as one:
                one.bind(os.path.basename(place))
        finally:
            os.fchdir(held)
            os.close(held)

    def closed(place: bytes) -> None:
        with open(place, "wb") as file:
            file.write(saved(picture(), "PNG"))
        os.chmod(place, 0)

    def folder(place: bytes) -> None:
        os.makedirs(place)

    def device(place: bytes) -> None:
        os.mknod(place, stat.S_IFCHR | 0o600, os.makedev(1, 5))

    yield Case(b"special/pipe.jpg", os.mkfifo, "^not a regular file but a pipe$")
    yield Case(b"special/socket.jpg", listen, "^not a regular file but a socket$")
    yield Case(b"special/device.jpg", device, "^not a regular file but a device$")
    yield Case(b"special/endless.jpg", link(b"/dev/zero"), "^link that leads out of the folder; not followed$")
    yield Case(b"special/outside.jpg", link(b"/etc/passwd"), "^link that leads out of the folder; not followed$")
    yield Case(b"special/dangling.jpg", link(b"nowhere.jpg"), "^no such file$")
    yield Case(b"special/loop.jpg", link(b"loop.jpg"), "^cannot be looked at: ")
    yield Case(b"special/round1.jpg", link(b"round2.jpg"), "^cannot be looked at: ")
    yield Case(b"special/round2.jpg", link(b"round1.jpg"), "^cannot be looked at: ")
    yield Case(b"special/folder-link.jpg", link(b"../kinds"), "^link to a folder; not followed$")
    yield Case(b"special/pipe-link.jpg", link(b"pipe.jpg"), "^not a regular file but a pipe$")
    yield Case(b"special/link.jpg", link(b"../kinds/plain.png"), like=b"kinds/plain.png")
    yield Case(b"special/folder.jpg/inside.png", saved(picture(), "PNG"), like=b"kinds/plain.png")
    reader = hasattr(os, "geteuid") and os.geteuid() == 0  # who may read everything
    yield Case(b"special/closed.png", closed, "" if reader else "^cannot be read: permission denied$")
    with suppress(ValueError):
        yield Case(b"special/sparse.jpg", _sparse, "^[0-9,]+ bytes; more than [0-9,]+ are not read$")


def _sparse(place: bytes) -> None:
    with open(place, "wb") as file:
        file.truncate(300 << 20)


def _names() -> Iterator[Case]:
    data = saved(picture(), "PNG")
    for name in (
        b"new\nline.png",
        b"tab\t and  spaces .png",
        b"\xff\xfe\x80.png",
        b"half\xc3.png",
        b"n" * 251 + b".png",
        "\u202egnp.\u202c\u200f.png".encode(),
        "e\u0301 \u00e9 \U0001f431.png".encode(),
        b"-rf *.png",
        b"quote'\"`$(x);.png",
        b"a,b.png",
        b"=1+1.png",
        b"back\\slash.png",
        b"\x01\x1b[31m\x7f.png",
        b"CON.png",
        b" .png",
        b"100%s.png",
    ):
        yield Case(b"names/" + name, data, like=b"kinds/plain.png")
        yield Case(b"names/broken-" + name[8 if len(name) > 200 else 0 :], data[:60], DAMAGED)
