"""The accepted formats, and what to do about a file of another: one table, by the first bytes of the file."""

import io
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from PIL import features
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from headstart.files.errors import one_line
from headstart.files.kinds import KINDS as OTHERS

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO")
"""Accepted formats, recognised by content. Formats that need another program (EPS) or hold no photos are left out."""

CONVERT = "{} is not supported; convert it to JPEG or PNG"
DEVELOP = "camera raw ({}) is not supported; develop it to JPEG or TIFF with a raw converter"
EXPORT = "not a photo but {}; export it as JPEG or PNG"
UNPACK = "not an image but {}; unpack it, and give the folder"
TEXT = "a text file"
LEAVE_OUT = "not an image but {}; leave it out"
GET_AGAIN = "not an image but {}; copy or download the file again"
AS_TEXT = "{} is an image as text; decode it to bytes"
TRUNCATED = "truncated {}: part of the picture is missing; copy or download the file again"
SAVE_AGAIN = "this {} file is damaged, or of a rare kind; open it in an image editor and save it as PNG"

IMAGE = rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|RIFF....WEBP|....ftyp(?:avif|hei[cx]|mif1)"
KINDS: dict[str, dict[str, bytes]] = {
    CONVERT: {
        "JPEG-LS": rb"\xff\xd8\xff\xf7",
        "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL ",
        "JPEG XR": rb"II\xbc",
        "Photoshop (PSD)": rb"8BPS",
        "GIMP (XCF)": rb"gimp xcf",
        "QOI": rb"qoif",
        "TGA": rb".*TRUEVISION-XFILE\.\0\Z",
        "DDS": rb"DDS ",
        "SGI": rb"\x01\xda[\0\x01][\x01\x02]",
        "ICNS": rb"icns",
        "OpenEXR": rb"\x76\x2f\x31\x01",
        "Radiance HDR": rb"#\?R",
        "PAM": rb"P7\n",
        "PFM": rb"P[Ff]\n",
        "DICOM": rb".{128}DICM",
        "FITS": rb"SIMPLE  =",
        "HEIF": rb"....ftyp(?:he|mi|ms)",
    },
    DEVELOP: {
        "Canon CR2": rb"II\*\0....CR",
        "Canon CR3": rb"....ftypcrx ",
        "Fujifilm RAF": rb"FUJIFILMCCD-RAW",
        "Olympus ORF": rb"IIR[OS]|MMOR",
        "Panasonic RW2": rb"IIU\0",
        "Sigma X3F": rb"FOVb",
        "Minolta MRW": rb"\0MRM",
    },
    EXPORT: {
        "a PDF document": rb"%PDF-",
        "a PostScript file": rb"%!PS|\xc5\xd0\xd3\xc6",
        "an SVG drawing": rb"\s*(?:<(?:\?xml|!DOCTYPE svg|!--)[^>]*>\s*)*<svg",
        "a video": rb"....ftyp(?:iso|mp[47]|M4|qt|3g|avc|MSNV|dash)|....(?:moov|mdat|wide)|\x1aE\xdf\xa3|RIFF....AVI ",
        "an MPEG, Flash or Ogg video": rb"\0\0\x01[\xba\xb3]|FLV|OggS",
    },
    UNPACK: {
        "a ZIP archive": rb"PK\x03\x04|PK\x05\x06",
        "a 7z, RAR or tar archive": rb"7z\xbc\xaf|Rar!|.{257}ustar",
        "a compressed file (gzip, bzip2, xz or zstd)": rb"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd",
    },
    "not an image but a git-LFS {}; fetch the images with: git lfs pull": {"pointer": rb"version https://git-lfs"},
    AS_TEXT: {"base64": rb"\s*(?:iVBORw0KGgo|/9j/|R0lGOD|UklGR|data:image/)"},
    GET_AGAIN: {
        "a web page (HTML)": rb"\s*(?i:<\?xml[^>]*>\s*)?(?i:<!doctype html|<html|<head)",
        "a file of zero bytes": rb"\0+\Z",
        "a PNG that was copied as text": rb"\x89PNG\n|\x89PNG\r\r\n",
    },
    "{} stand before the image; copy or download the file again": {"other bytes": rb".{1,64}?(?:" + IMAGE + rb")"},
    SAVE_AGAIN: {
        "JPEG": rb"\xff\xd8\xff",
        "PNG": rb"\x89PNG\r\n",
        "GIF": rb"GIF8",
        "WebP": rb"RIFF....WEBP",
        "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
        "BMP": rb"BM.{6}\0{4}|BM.{4}\0{4}",
        "PPM": rb"P[1-6]\s",
        "AVIF": rb"....ftypavi",
        "ICO": rb"\0\0\x01\0",
        "HEIC": rb"....ftyp(?:he|mi)",
        "TIFF": rb"II[*+]\0|MM\0[*+]",
    },
    LEAVE_OUT: {
        **{kind: OTHERS[kind] for kind in ("an embedding store", "an HDF5 file", "an ONNX file")},
        "a sound file": rb"ID3|RIFF....WAVE|fLaC",
        TEXT: rb"[^\0-\x08\x0e-\x1a\x1c-\x1f\x7f]+\Z",
    },
}
"""What to say -> kind of file -> what its beginning, followed by its end, matches; the first match counts."""

CODECS = {"AVIF": "avif", "WebP": "webp", "JPEG 2000": "jpg_2000"}
"""Formats that Pillow can be built without, and its names for their codecs."""
MAKERS = {"NIKON": "Nikon NEF", "SONY": "Sony ARW", "PENTAX": "Pentax PEF", "SAMSUNG": "Samsung SRW"}
_MAKE, _BITS, _PHOTOMETRIC, _SAMPLES, _FORMAT, _DNG = 271, 258, 262, 277, 339, 50706
_NUMBERS = {2: "signed integers", 3: "floating point", 5: "complex integers", 6: "complex numbers"}


def explain(data: bytes) -> str:
    """Say what a file is that Pillow does not recognise, and what to do about it."""
    sample = data[:1024] + data[1024:][-18:]
    if layout := _tiff_layout(data):
        return f"this TIFF's pixels ({layout}) are not supported; save it as RGB or grey with 8 or 16 bits"
    for message, kinds in KINDS.items():
        if name := _matching(kinds, sample):
            return message.format(name)
    return f"not an image of a known format (begins with {data[:12]!r})"


def looks_like_image(beginning: bytes) -> bool:
    """Tell whether bytes begin like an image of a known format, accepted or not; text that happens to does not."""
    images = {message: _matching(KINDS[message], beginning) for message in (AS_TEXT, CONVERT, DEVELOP, SAVE_AGAIN)}
    return bool(images[AS_TEXT]) or (any(images.values()) and not is_text(beginning))


def is_text(beginning: bytes) -> bool:
    """Tell whether bytes hold no control characters, as text does."""
    return bool(_matching({TEXT: KINDS[LEAVE_OUT][TEXT]}, beginning))


def explain_failure(data: bytes, error: Exception) -> str:
    """Say which image a decoder failed on, why, and what to do about it."""
    name = _matching(KINDS[SAVE_AGAIN], data[:1024]) or "image"
    if "truncated" in str(error).lower():
        return TRUNCATED.format(name)
    return SAVE_AGAIN.format(name).replace("; ", f" ({one_line(error, 150)}); ")


def missing_codec(data: bytes) -> str:
    """Say which codec this build of Pillow lacks for a file; empty if it lacks none."""
    name = _matching(KINDS[SAVE_AGAIN], data[:1024])
    if name not in CODECS or features.check(CODECS[name]):
        return ""
    return f"{name} is not supported by this build of Pillow; install another: pip install --force-reinstall pillow"


def _matching(kinds: Mapping[str, bytes], sample: bytes) -> str:
    return next((name for name, pattern in kinds.items() if re.match(pattern, sample, re.DOTALL)), "")


def raw_name(tags: Mapping[int, Any]) -> str:
    """Return which camera's raw file has these tags on its first page, if that holds only a preview; otherwise ''."""
    maker = str(tags.get(_MAKE, "")).upper()
    return "DNG" if _DNG in tags else next((name for word, name in MAKERS.items() if maker.startswith(word)), "")


def _tiff_layout(data: bytes) -> str:
    """Describe the pixels of a TIFF (TIFF 6.0); empty for another file, or a damaged one."""
    with suppress(Exception):  # on hostile bytes it may raise anything
        tags, file = ImageFileDirectory_v2(data[:8]), io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
        numbers = _NUMBERS.get(tags.get(_FORMAT, (1,))[0], "unsigned integers")
        bits, photometric = tags.get(_BITS, (1,))[0], tags[_PHOTOMETRIC]
        return f"{tags.get(_SAMPLES, 1)} x {bits} bits, {numbers}, photometric {photometric}"
    return ""
