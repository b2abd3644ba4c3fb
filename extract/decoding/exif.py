"""Bytes of an image file -> what its EXIF block states (CIPA DC-008, Exif 3.0), without decoding the picture."""

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from PIL.ExifTags import GPS, IFD, Base
from PIL.Image import Exif

from headstart.extract.decoding import png
from headstart.extract.decoding.decode import open_image
from headstart.extract.metadata import Metadata

UNREADABLE = "EXIF block that cannot be read, embedded without its metadata"
LONGEST_CAMERA = 100
"""Bytes: the longest name sets the width of the store's column."""
_TIMES = (Base.DateTimeOriginal, Base.DateTimeDigitized, Base.DateTime)
_TIME = re.compile(r"(\d{4})[:/.-](\d\d)[:/.-](\d\d)[ T](\d\d):(\d\d)(?::(\d\d))?", re.ASCII)


def read_metadata(data: bytes, notes: list[str]) -> Metadata:
    """Read the metadata of a JPEG, PNG, WebP, TIFF, AVIF or HEIC file; other formats have none.

    Parameters
    ----------
    notes
        Receives `UNREADABLE`, if there is a block that cannot be read.
    """
    try:
        if data.startswith(png.SIGNATURE):  # Pillow would decode the picture to look behind it
            exif = Exif()
            exif.load(png.find_chunk(data, b"eXIf"))
            return _metadata(exif)
        with open_image(data) as image:
            return _metadata(image.getexif())
    except Exception:  # on a hostile block Pillow may raise anything
        notes.append(UNREADABLE)
        return Metadata()


def _metadata(exif: Exif) -> Metadata:
    camera = _camera(_text(exif.get(Base.Make)), _text(exif.get(Base.Model)))
    times = exif.get_ifd(IFD.Exif)
    taken = _taken(times.get(tag, exif.get(tag)) for tag in _TIMES)
    return Metadata(taken, camera, *_position(exif.get_ifd(IFD.GPSInfo)))


def _text(value: Any) -> str:
    """Return a value as one line: UTF-8 as most write, else Latin-1, up to the first zero byte."""
    raw = value.encode("latin-1", "replace") if isinstance(value, str) else value if isinstance(value, bytes) else b""
    raw = raw.partition(b"\0")[0]
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _camera(make: str, model: str) -> str:
    """Join make and model; Canon and NIKON begin the model with the make."""
    repeated = make and model.lower().startswith(make.split()[0].lower())
    return (model if repeated else f"{make} {model}".strip()).encode()[:LONGEST_CAMERA].decode(errors="ignore")


def _taken(times: Iterable[Any]) -> str:
    for time in times:
        if match := _TIME.match(_text(time)):
            with suppress(ValueError):  # cameras whose clock is not set write zeros
                return datetime.fromisoformat("{}-{}-{}T{}:{}:{}".format(*match.groups("00"))).isoformat()
    return ""


def _position(tags: Mapping[int, Any]) -> tuple[float, float]:
    """Return latitude and longitude in degrees; NaN unless both are stated, with their hemispheres."""
    latitude = _degrees(tags.get(GPS.GPSLatitude), tags.get(GPS.GPSLatitudeRef), "NS", 90)
    longitude = _degrees(tags.get(GPS.GPSLongitude), tags.get(GPS.GPSLongitudeRef), "EW", 180)
    return (math.nan, math.nan) if math.isnan(latitude + longitude) else (latitude, longitude)


def _degrees(value: Any, hemisphere: Any, letters: str, most: int) -> float:
    """Turn degrees, minutes and seconds, each a fraction, into signed degrees."""
    parts = value if isinstance(value, tuple) else (value,)
    letter = _text(hemisphere)[:1].upper()
    if letter not in letters or not letter or len(parts) != 3:
        return math.nan
    degrees, minutes, seconds = map(float, parts)  # 0/0 is NaN
    total = degrees + minutes / 60 + seconds / 3600
    if not (0 <= minutes <= 60 and 0 <= seconds <= 60 and 0 <= total <= most):
        return math.nan
    return total if letter == letters[0] else -total
