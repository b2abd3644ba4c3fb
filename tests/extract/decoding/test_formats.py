"""What is said about a file of every kind that Headstart cannot decode: one example for each entry of the table."""

import base64
import bz2
import gzip
import io
import lzma
import sys
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from headstart.extract.decoding.decode import decode
from headstart.extract.decoding.formats import KINDS, raw_name
from headstart.extract.decoding.isolated import IsolatedDecoder
from headstart.extract.errors import DecodeError, TryAgainError
from headstart.files.resize import ResizeRule

RULE = ResizeRule(16, 24)


def saved(form: str, mode: str = "RGB", size: tuple[int, int] = (32, 32), **options) -> bytes:
    held = io.BytesIO()
    Image.new(mode, size, 9).save(held, form, **options)
    return held.getvalue()


def packed(kind: str) -> bytes:
    held = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(held, "w") as file:
            file.writestr("1.jpg", b"x")
    else:
        with tarfile.open(fileobj=held, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("1.jpg"))
    return held.getvalue()


def box(brand: bytes, kind: bytes = b"ftyp") -> bytes:
    return b"\0\0\0\x18" + kind + brand + b"\0\0\0\0" + brand + b"isom" + bytes(200)


EXAMPLES: dict[str, list[bytes]] = {
    "JPEG-LS": [b"\xff\xd8\xff\xf7\0\x0b\x08\0\x20\0\x20\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\0\0" + bytes(40)],
    "JPEG XL": [b"\xff\x0a\xdd@$\x08", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40)],  # python-pillow/Pillow#4247
    "JPEG XR": [b"II\xbc\x01" + bytes(60)],
    "Photoshop (PSD)": [b"8BPS\0\x01" + bytes(60)],
    "GIMP (XCF)": [b"gimp xcf v011\0" + bytes(60)],
    "QOI": [saved("QOI")],
    "TGA": [saved("TGA"), saved("TGA", size=(600, 400))],
    "DDS": [saved("DDS")],
    "SGI": [saved("SGI")],
    "ICNS": [b"icns\0\0\0\x10" + bytes(60)],
    "OpenEXR": [b"\x76\x2f\x31\x01\x02\0\0\0" + bytes(60)],
    "Radiance HDR": [b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 4 +X 4\n" + bytes(64)],
    "PAM": [b"P7\nWIDTH 2\nHEIGHT 2\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n" + bytes(12)],
    "PFM": [b"PF\n2 2\n-1.0\n" + bytes(48)],
    "DICOM": [bytes(128) + b"DICM\2\0\0\0" + bytes(60)],
    "FITS": [b"SIMPLE  =                    T".ljust(2880)],
    "HEIF": [box(b"msf1")],
    "Canon CR2": [b"II*\0\x10\0\0\0CR\2\0" + bytes(100)],
    "Canon CR3": [box(b"crx ")],
    "Fujifilm RAF": [b"FUJIFILMCCD-RAW 0201" + bytes(100)],
    "Olympus ORF": [b"IIRO\x08\0\0\0" + bytes(100), b"IIRS\x08\0\0\0" + bytes(100)],
    "Panasonic RW2": [b"IIU\0\x18\0\0\0" + bytes(100)],
    "Sigma X3F": [b"FOVb\0\0\2\0" + bytes(100)],
    "Minolta MRW": [b"\0MRM\0\0\0\0" + bytes(100)],
    "a PDF document": [saved("PDF")],
    "a PostScript file": [saved("EPS"), b"\xc5\xd0\xd3\xc6" + bytes(60)],
    "an SVG drawing": [
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b'<?xml version="1.0"?>\n<!-- Inkscape -->\n<!DOCTYPE svg PUBLIC "x" "y">\n<svg width="4"/>',
    ],
    "a video": [
        box(b"isom"),
        box(b"qt  "),
        box(b"", b"moov"),
        b"\x1aE\xdf\xa3" + bytes(60),
        b"RIFF\0\0\0\0AVI " + bytes(60),
    ],
    "an MPEG, Flash or Ogg video": [b"\0\0\x01\xba" + bytes(60), b"FLV\x01" + bytes(60), b"OggS" + bytes(60)],
    "a ZIP archive": [packed("zip")],
    "a 7z, RAR or tar archive": [b"7z\xbc\xaf\x27\x1c" + bytes(60), b"Rar!\x1a\x07" + bytes(60), packed("tar")],
    "a compressed file (gzip, bzip2, xz or zstd)": [
        *(pack(saved("JPEG")) for pack in (gzip.compress, bz2.compress, lzma.compress)),
        b"\x28\xb5\x2f\xfd" + bytes(60),
    ],
    # micasense/imageprocessing#161, visit-dav/visit#18015
    "pointer": [b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 4711\n"],
    "base64": [base64.b64encode(saved("PNG")), b"data:image/jpeg;base64," + base64.b64encode(saved("JPEG"))],
    # salesforce/ALBEF#13
    "a web page (HTML)": [
        b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        b'\r\n<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml">',
    ],
    "a file of zero bytes": [bytes(5000), b"\0"],
    "a PNG that was copied as text": [saved("PNG").replace(b"\r\n", b"\n"), saved("PNG").replace(b"\n", b"\r\n")],
    "other bytes": [b"\n" + saved("PNG"), b"\0\0" + saved("JPEG"), b"\r\n\r\n" + saved("GIF", "P")],
    "JPEG": [b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(30) + b"\xff\xda" + bytes(30)],
    "GIF": [b"GIF89a"],
    "WebP": [b"RIFF\x04\0\0\0WEBP"],
    "JPEG 2000": [b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(30), b"\xff\x4f\xff\x51" + bytes(30)],
    "BMP": [b"BM" + bytes(60)],
    "PPM": [b"P6\nabc"],
    "AVIF": [box(b"avif")],
    "ICO": [b"\0\0\x01\0" + bytes(60)],
    "TIFF": [b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff" + bytes(30)],
    "a sound file": [b"ID3\4" + bytes(60), b"RIFF\0\0\0\0WAVEfmt " + bytes(60), b"fLaC" + bytes(60)],
    "an embedding store": [b"headstart-store 1 sha256 0"],
    "an HDF5 file": [b"\x89HDF\r\n\x1a\n"],
    "an ONNX file": [b"\x08\x08:\x89A\n"],
    "a text file": ["Eulen, gesehen im März\r\n".encode(), b"path,label\n1.jpg,a\n", b"<xml/>", b"{}"],
}
SAID = [(name, number) for name, examples in EXAMPLES.items() for number in range(len(examples))]
MESSAGE_OF = {name: message for message, kinds in KINDS.items() for name in kinds}


def refusal(data: bytes) -> str:
    with pytest.raises(DecodeError) as caught:
        decode(data, RULE)
    return str(caught.value)


def test_every_kind_has_an_example_and_every_message_a_remedy():
    # Whatever begins as a PNG has messages of its own, and HEIC needs its extra.
    assert set(EXAMPLES) | {"PNG", "HEIC"} == set(MESSAGE_OF)
    assert all("; " in message for message in KINDS)


@pytest.mark.parametrize(("name", "number"), SAID)
def test_a_failure_names_the_kind_of_file_and_what_to_do(name, number):
    message = refusal(EXAMPLES[name][number])
    assert name in message or "text" in message
    before, _, remedy = MESSAGE_OF[name].format(name).partition("; ")
    assert message.startswith(before)
    assert message.endswith(remedy)
    assert len(message) < 200


@pytest.mark.skipif(sys.platform == "win32", reason="isolation needs a POSIX system")
@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_a_worker_process_says_the_same():
    decoder = IsolatedDecoder(RULE)
    for examples in EXAMPLES.values():
        with pytest.raises(DecodeError) as caught:
            decoder.decode(examples[0])
        assert str(caught.value) == refusal(examples[0])
    decoder.close()


def test_only_a_damaged_file_is_called_damaged():
    assert {name for name, examples in EXAMPLES.items() if "damaged" in refusal(examples[0])} == {
        "JPEG", "GIF", "WebP", "JPEG 2000", "BMP", "PPM", "AVIF", "ICO", "TIFF",
    }  # fmt: skip


@pytest.mark.parametrize(("form", "name"), [("AVIF", "AVIF"), ("WEBP", "WebP"), ("JPEG2000", "JPEG 2000")])
def test_a_build_of_pillow_without_a_codec_is_named(monkeypatch, form, name):
    data = saved(form)
    monkeypatch.setattr("PIL.features.check", lambda feature: False)
    monkeypatch.setattr("headstart.extract.decoding.decode.FORMATS", ("PNG",))
    with pytest.raises(TryAgainError, match=f"{name} is not supported by this build of Pillow; install another"):
        decode(data, RULE)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("dtype", "samples", "layout"),
    [
        ("f8", 1, "1 x 64 bits, floating point"),
        ("u1", 6, "6 x 8 bits, unsigned integers"),
        ("i8", 1, "64 bits, signed"),
    ],
)
def test_a_tiff_of_another_layout_is_described(order, dtype, samples, layout):
    kind = {"u": 1, "i": 2, "f": 3}[dtype[0]]
    size = np.dtype(dtype).itemsize
    fields = {
        256: 4, 257: 4, 258: 8 * size, 259: 1, 262: 1, 273: 8, 277: samples, 278: 4,
        279: 16 * samples * size, 339: kind,
    }  # fmt: skip
    entries = b"".join(
        np.array([tag, 3], order + "u2").tobytes() + np.array([1], order + "u4").tobytes()
        + np.array([value, 0], order + "u2").tobytes()
        for tag, value in fields.items()
    )  # fmt: skip
    pixels = bytes(16 * samples * size)
    data = (
        {"<": b"II", ">": b"MM"}[order] + np.array([42], order + "u2").tobytes()
        + np.array([8 + len(pixels)], order + "u4").tobytes() + pixels
        + np.array([len(fields)], order + "u2").tobytes() + entries + bytes(4)
    )  # fmt: skip
    assert layout in refusal(data)
    assert "photometric 1) are not supported; save it" in refusal(data)


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ({50706: b"\1\4\0\0", 271: "NIKON CORPORATION"}, "DNG"),
        ({271: "NIKON CORPORATION"}, "Nikon NEF"),
        ({271: "SONY"}, "Sony ARW"),
        ({271: "Epson"}, ""),
        ({}, ""),
    ],
)
def test_a_raw_file_is_known_by_its_tags(tags, name):
    assert raw_name(tags) == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("jxl_named.jpg", "JPEG XL is not supported; convert it"),
        ("jpeg_12bit.jpg", "12-bit JPEG is not supported; convert it"),
        ("bad_text_crc.png", ""),
        ("no_end_mark.jpg", ""),
        ("jpeg_lossless.jpg", ""),
    ],
)
def test_the_cases_people_reported(shared, name, said):
    data = shared(f"cases/images/{name}").read_bytes()
    if said:
        assert said in refusal(data)
        return
    right = "right_grey.png" if "lossless" in name else "right.png"
    pixels, expected = decode(data, RULE), decode(shared(f"cases/images/{right}").read_bytes(), RULE)
    assert np.corrcoef(pixels.ravel(), expected.ravel())[0, 1] > 0.99
