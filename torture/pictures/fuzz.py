"""Fuzzing: change bytes in valid files of every image format, and decode them as a run does."""

import io
import random
import struct
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from headstart.extract.decoding.formats import FORMATS
from headstart.extract.decoding.isolated import IsolatedDecoder, Limits
from headstart.extract.errors import DecodeError, OutOfMemoryError, TryAgainError
from headstart.files.cores import cores
from headstart.files.resize import ResizeRule

RULE = ResizeRule(32, 24)
LIMITS = Limits(memory=1 << 30, seconds=10, patience=60)
STEP = 500
"""Mutants per part; after each part, the memory of the decoder is measured."""
NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


@dataclass
class Figures:
    """The results of all mutants.

    Attributes
    ----------
    mutants, decoded, refused
        Counts; a refused mutant has a reason for the user.
    out_of_memory
        Refused mutants that needed more memory than allowed.
    escaped
        Numbers of the mutants that ended a process (a crash, or an exception other than `DecodeError`), with reasons.
    hung
        Mutants that took more CPU time than allowed, or gave no answer.
    slowest
        CPU seconds of the slowest mutant, if the system counts them.
    most_memory
        Peak memory of a decoder, MB.
    """

    mutants: int = 0
    decoded: int = 0
    refused: int = 0
    out_of_memory: int = 0
    escaped: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    slowest: float = 0.0
    most_memory: int = 0
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Figures") -> None:
        """Add the results of another thread."""
        for name in ("mutants", "decoded", "refused", "out_of_memory"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.escaped += other.escaped
        self.hung += other.hung
        self.slowest = max(self.slowest, other.slowest)
        self.most_memory = max(self.most_memory, other.most_memory)
        self.reasons += other.reasons


def fuzz(count: int, start: int = 0) -> dict[str, object]:
    """Decode the mutants `start` to `start + count` on every core; a number always gives the same mutant."""
    started, figures = time.perf_counter(), Figures()
    parts = [range(i, min(i + STEP, start + count)) for i in range(start, start + count, STEP)]
    with ThreadPoolExecutor(cores()) as pool:
        for part in pool.map(_decode_part, parts):
            figures.add(part)
    figures.seconds = round(time.perf_counter() - started, 1)
    found = vars(figures) | {"reasons": dict(figures.reasons.most_common(12))}
    return found | {"per_second": round(count / max(figures.seconds, 1e-9))}


def mutant(number: int) -> bytes:
    """Return one damaged file: a seed with one to four changes."""
    rng = random.Random(number)
    data = bytearray(rng.choice(seeds()))
    for _ in range(rng.randint(1, 4)):
        rng.choice(_CHANGES)(data, rng)
    return bytes(data)


@cache
def seeds() -> tuple[bytes, ...]:
    """Return valid files of every accepted format, in several variants."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8)).resize((56, 40), Image.Resampling.BICUBIC)
    wide = Image.fromarray(rng.integers(0, 65536, (30, 40), np.uint16))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    several = {"save_all": True, "append_images": [smooth.transpose(Image.Transpose.ROTATE_180)]}
    rgba, grey, palette = smooth.convert("RGBA"), smooth.convert("L"), smooth.quantize(16)
    rgba.putalpha(grey)
    plain: list[tuple[Image.Image, str, dict[str, Any]]] = [(smooth, form, {}) for form in FORMATS]
    more: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (smooth, "JPEG", {"progressive": True, "exif": exif}),
        (smooth, "JPEG", {"icc_profile": bytes(range(256)), "optimize": True, "restart_marker_blocks": 2}),
        (grey, "JPEG", {}),
        (smooth.convert("CMYK"), "JPEG", {}),
        (smooth, "MPO", several),
        (rgba, "PNG", {"exif": exif}),
        (palette, "PNG", {"transparency": 3}),
        (wide, "PNG", {}),
        (grey.convert("1"), "PNG", {}),
        (smooth, "PNG", several),
        (rgba, "WEBP", {"lossless": True, "exif": exif}),
        (rgba, "WEBP", {"quality": 60}),
        (smooth, "WEBP", several),
        (palette, "GIF", {"transparency": 2, "interlace": 1}),
        (smooth, "GIF", several),
        (palette, "BMP", {}),
        (grey, "BMP", {}),
        (rgba, "TIFF", {"compression": "tiff_lzw", "exif": exif}),
        (smooth, "TIFF", {"compression": "jpeg"}),
        (smooth, "TIFF", {"compression": "tiff_adobe_deflate"} | several),
        (grey.convert("1"), "TIFF", {"compression": "group4"}),
        (palette, "TIFF", {"compression": "packbits"}),
        (wide, "TIFF", {}),
        (grey, "PPM", {}),
        (wide, "PPM", {}),
        (rgba, "AVIF", {"exif": exif}),
        (smooth, "AVIF", several),
        (rgba, "JPEG2000", {}),
        (grey, "JPEG2000", {"irreversible": True, "tile_size": (16, 16)}),
        (rgba, "ICO", {"sizes": [(16, 16), (32, 32)]}),
        (smooth, "ICO", {"sizes": [(16, 16)], "bitmap_format": "bmp"}),
    ]
    return tuple(_saved(*one) for one in plain + more)


def _saved(image: Image.Image, form: str, options: dict[str, Any]) -> bytes:
    held = io.BytesIO()
    # Copies, because saving changes settings of a picture.
    more = {"append_images": [one.copy() for one in options.get("append_images", [])]}
    image.copy().save(held, form, **options | more)
    return held.getvalue()


def _decode_part(numbers: range) -> Figures:
    figures, decoder = Figures(), IsolatedDecoder(RULE, LIMITS)
    try:
        for number in numbers:
            _decode_one(number, decoder, figures)
        figures.most_memory = max(figures.most_memory, _megabytes(decoder.pid))
    finally:
        decoder.close()
    return figures


def _decode_one(number: int, decoder: IsolatedDecoder, figures: Figures) -> None:
    data, before = mutant(number), _processor_seconds(decoder.pid)
    figures.mutants += 1
    try:
        decoder.decode(data)
        figures.decoded += 1
    except DecodeError as error:
        reason = str(error)
        figures.refused += 1
        figures.reasons[" ".join(reason.split()[:5])] += 1
        if "processor time" in reason or reason.startswith("no answer"):
            figures.hung.append(f"{number}: {reason}")
        elif isinstance(error, OutOfMemoryError):
            figures.out_of_memory += 1
        elif isinstance(error, TryAgainError) or reason.startswith("the decoder"):
            figures.escaped.append(f"{number}: {reason}")
    figures.slowest = max(figures.slowest, round(_processor_seconds(decoder.pid) - before, 2))


def _processor_seconds(pid: int | None) -> float:
    with suppress(OSError, ValueError):  # without /proc
        return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e9
    return 0.0


def _megabytes(pid: int | None) -> int:
    with suppress(OSError):
        said = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
        return int(said.partition("VmHWM:")[2].split()[0]) >> 10
    return 0


def _flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 16)):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set_bytes(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 8)):
        if data:
            data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _edit_number(data: bytearray, rng: random.Random) -> None:
    """Write a boundary value where a length, size or offset may be; most are in the first bytes."""
    form, most = rng.choice(((">H", 0xFFFF), ("<H", 0xFFFF), (">I", 0xFFFFFFFF), ("<I", 0xFFFFFFFF)))
    width = struct.calcsize(form)
    if len(data) > width:
        at = rng.randrange(min(len(data) - width, rng.choice((40, 400, 1 << 30))))
        value = rng.choice((*NUMBERS, len(data), rng.randrange(20_000), struct.unpack_from(form, data, at)[0] + 1))
        struct.pack_into(form, data, at, value & most)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _remove(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    del data[at : at + rng.randint(1, 64)]


def _repeat(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = data[at : at + rng.randint(1, 64)] * rng.randint(1, 20)


def _splice(data: bytearray, rng: random.Random) -> None:
    other = rng.choice(seeds())
    start, at = rng.randrange(len(other)), rng.randrange(len(data) + 1)
    data[at : at + rng.choice((0, 200))] = other[start : start + rng.randint(1, 400)]


_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip_bits,
    _flip_bits,
    _set_bytes,
    _edit_number,
    _edit_number,
    _edit_number,
    _cut,
    _remove,
    _repeat,
    _splice,
)
