"""What a file is, by its bytes, for messages about a file of another kind than expected."""

import mmap
import os
import re

KINDS = {
    "an embedding store": rb"headstart-store ",
    "an HDF5 file": rb"\x89HDF\r\n",
    "an ONNX file": rb"\x08[\x01-\x20][\x12\x1a\x22\x2a\x32\x3a\x42]",  # its version, and the next field of protobuf
    "an image": rb"\xff\xd8\xff|\x89PNG\r\n|GIF8|RIFF....WEBP|BM.{6}\0{4}|II[*+]\0|MM\0[*+]|....ftyp(?:avi|he|mi)",
    "a ZIP archive": rb"PK\x03\x04",
    "a text file": rb"[^\0-\x08\x0e-\x1a\x1c-\x1f\x7f]+\Z",
}
"""Kind of file -> what its first bytes match; the first match counts."""


def kind_of(file: bytes | str | os.PathLike[str]) -> str:
    """Say what a file is, given as its bytes or its local path."""
    if isinstance(file, bytes):
        return _kind_of(file) if file else "an empty file"
    try:
        with open(file, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _kind_of(data)
    except ValueError:  # nothing to map
        return "an empty file"
    except OSError:
        return "a folder" if os.path.isdir(file) else "a file that cannot be read"


def _kind_of(data: bytes | mmap.mmap) -> str:
    kind = next((kind for kind, start in KINDS.items() if re.match(start, data[:1024], re.DOTALL)), "")
    if kind != "an ONNX file":
        return kind or "another kind of file"
    known = ("classifier", "backbone")  # in this order, as a classifier names its backbone too
    return next((f"a {name}" for name in known if data.find(f'"headstart-{name}"'.encode()) >= 0), kind)
