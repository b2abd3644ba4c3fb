"""The images of a tar archive, listed from its headers alone; nothing is ever unpacked.

A header gives the length of its member, so that listing reads about 2 KB per member; small members are read through,
with few requests. Names are grouped as in WebDataset: `a/7.jpg`, `a/7.cls` and `a/7.json` are one sample, whose label
is in the `.cls` file.
"""

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os.path import splitext

from headstart.extract.errors import DecodeError, SourceError, TryAgainError
from headstart.extract.sources.items import UNLISTED, Item, shown
from headstart.extract.sources.labels import class_name
from headstart.extract.sources.names import is_hidden
from headstart.files.errors import one_line

BLOCK = tarfile.BLOCKSIZE
WINDOW, LARGEST_WINDOW = 4 * BLOCK, 512 * BLOCK
"""Bytes per request: a header, and often the small members after it; doubled while the next header is near."""
MAX_NAME, MAX_EXTENDED, MAX_LABEL = 4096, 1 << 20, 256
"""Largest accepted sizes, in bytes, of a name (the limit of most systems), of an extended header, and of a label."""

IMAGE_SUFFIXES = frozenset(
    b".apng .avif .avifs .bmp .dib .gif .ico .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .pbm .pfm .pgm "
    b".png .pnm .ppm .tif .tiff .webp".split()
)
OTHER_IMAGES = frozenset(b".arw .cr2 .cr3 .dng .heic .heif .jxl .nef .orf .psd .raf .rw2 .svg .tga".split())
"""Image formats that are not accepted: they become failure rows, and are never sidecar files of an image."""

Fetch = Callable[[int, int], bytes]
"""Gives the bytes of a file from a start to an end offset, fewer if the file ends before."""


@dataclass(frozen=True, slots=True)
class _Member:
    name: bytes
    start: int
    size: int
    reason: str
    text: bytes = b""


class _Damage(Exception):
    """The archive cannot be read any further."""


def compressed_archive(name: str) -> SourceError:
    """Return the error for a compressed archive."""
    return SourceError(
        f"{name}: expected an uncompressed .tar archive, found a compressed one; unpack it with gunzip or the like "
        "(photos hardly compress)"
    )


def tar_items(container: Item, fetch: Fetch, name: str) -> list[Item]:
    """List the images of an archive, with the labels of `.cls` files.

    Every member becomes an item, except folders, hidden names, and sidecar files of an image with the same key. If the
    archive is cut off or damaged, a failed item with the archive's own path says so. Raises `SourceError` if the
    archive is compressed, or a `.cls` file holds no label.
    """
    members: list[_Member] = []
    problem = ""
    try:
        for member in _members(fetch, container.size):
            if not any(is_hidden(part) for part in member.name.split(b"/") if part not in (b".", b"..")):
                members.append(member)
    except _Damage as damage:
        problem = str(damage)
        if problem.startswith(COMPRESSED):
            raise compressed_archive(name) from None
    except DecodeError as error:
        problem = f"{UNLISTED}: {one_line(error)}"
    keys = {_key(member.name) for member in members if is_image_name(member.name)}
    labels = {_key(m.name): _label(m, name) for m in members if m.name.endswith(b".cls") and _key(m.name) in keys}
    images = [m for m in members if is_image_name(m.name) or _key(m.name) not in keys]
    items = _distinct(container, images, labels)
    return items + [Item(container.path, container.size, container.mtime_ns, reason=problem)] * bool(problem)


def is_image_name(name: bytes) -> bool:
    """Tell whether a name ends as those of images do."""
    suffix = splitext(name)[1].lower()
    return suffix in IMAGE_SUFFIXES or suffix in OTHER_IMAGES


def _key(name: bytes) -> bytes:
    folder, slash, base = name.rpartition(b"/")
    return folder + slash + base.partition(b".")[0]


def _label(member: _Member, archive: str) -> str | None:
    text = member.text.decode("utf-8", "surrogateescape").strip()
    if member.reason or member.size > MAX_LABEL or "\0" in text:
        raise SourceError(
            f"{archive}: expected a class of at most {MAX_LABEL} bytes in the member {shown(member.name)!r}, found "
            "something else; correct the member, or remove it from the archive"
        )
    return class_name(text)


def _distinct(container: Item, members: list[_Member], labels: dict[bytes, str | None]) -> list[Item]:
    """Make items with unique paths: of members with one name the last one counts, as with tar, and the others fail."""
    items: dict[bytes, Item] = {}
    for member in reversed(members):
        path, reason = container.path + b"/" + member.name, member.reason
        while path in items:
            path, reason = path + b"~", "a later member of the archive has the same name"
        label = labels.get(_key(member.name))
        items[path] = Item(path, member.size, container.mtime_ns, label, "", reason, container.path, member.start)
    return list(items.values())


COMPRESSED = "compressed"
_BEGINNINGS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")


class _Window:
    """Bytes of the archive; each request reads a little more than was asked for."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        self._fetch, self._size = fetch, size
        self._start, self._data, self._ahead = 0, b"", WINDOW // 2

    def read(self, start: int, size: int) -> bytes:
        if start + size > self._size:
            raise _Damage(f"the archive is cut off at byte {self._size:,}; the rest is lost")
        at = start - self._start
        if at < 0 or at + size > len(self._data):
            is_near = 0 <= at <= len(self._data) + WINDOW
            self._ahead = min(2 * self._ahead, LARGEST_WINDOW) if is_near else WINDOW // 2
            self._start, at = start, 0
            self._data = self._fetch(start, min(self._size, start + max(size, WINDOW, self._ahead)))
        if len(self._data) < at + size:
            raise TryAgainError("the archive was cut off meanwhile")
        return self._data[at : at + size]


def _members(fetch: Fetch, size: int) -> Iterator[_Member]:
    """Follow the headers (POSIX.1-2001, and GNU's for long names) to the end mark."""
    window = _Window(fetch, size)
    at, extended = 0, dict[bytes, bytes]()
    while any(block := window.read(at, BLOCK)):
        header = _header(block, at)
        start, length = at + BLOCK, header.size
        if header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
            if length > MAX_EXTENDED:
                raise _Damage(f"the archive is damaged: a header of {length:,} bytes at byte {at:,}")
            data = window.read(start, length)
            if header.type == tarfile.GNUTYPE_LONGNAME:
                extended[b"path"] = data.rstrip(b"\0")
            elif header.type != tarfile.XGLTYPE:  # a global header concerns no single member
                extended |= _records(data, at)
        elif header.type != tarfile.GNUTYPE_LONGLINK:
            if extended.get(b"size", b"").isdigit():
                length = int(extended[b"size"][:20])
            while header.type == tarfile.GNUTYPE_SPARSE and block[-BLOCK:][482 if start == at + BLOCK else 504]:
                block, start = window.read(start, BLOCK), start + BLOCK
            if not header.isreg() and header.type in tarfile.SUPPORTED_TYPES:
                length = 0  # links and devices have no content, whatever the header says
            if not header.isdir():
                yield _member(window, header, extended, start, length, size)
            extended = {}
        at = start + -(-length // BLOCK) * BLOCK


def _header(block: bytes, at: int) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        if not at and block.startswith(_BEGINNINGS):
            raise _Damage(COMPRESSED) from None
        if not at:
            raise _Damage(f"not a tar archive (begins with {block[:12]!r})") from None
        raise _Damage(f"the archive is damaged at byte {at:,} ({error}); the rest is not read") from None
    if header.size < 0:
        raise _Damage(f"the archive is damaged at byte {at:,} (a size below 0); the rest is not read")
    return header


def _records(data: bytes, at: int) -> dict[bytes, bytes]:
    """Parse the records of an extended header: `27 path=…` and a newline, the number being the record's length."""
    records: dict[bytes, bytes] = {}
    begin = 0
    while begin < len(data):
        space = data.find(b" ", begin, begin + 20)
        digits = data[begin : max(space, begin)]
        length = int(digits) if digits.isdigit() else 0
        if not 0 < length <= len(data) - begin:
            raise _Damage(f"the archive is damaged: an unreadable extended header at byte {at:,}")
        name, _, value = data[space + 1 : begin + length - 1].partition(b"=")
        records[name] = value
        begin += length
    return records


def _member(
    window: _Window, header: tarfile.TarInfo, extended: dict[bytes, bytes], start: int, length: int, end: int
) -> _Member:
    sparse = header.type == tarfile.GNUTYPE_SPARSE or any(name.startswith(b"GNU.sparse.") for name in extended)
    name = extended.get(b"GNU.sparse.name", extended.get(b"path", header.name.encode("utf-8", "surrogateescape")))
    while name.startswith(b"./"):
        name = name[2:].lstrip(b"/")
    reason = ""
    if len(name) > MAX_NAME:
        name, reason = name[:MAX_NAME], f"a name of more than {MAX_NAME:,} bytes"
    elif not name or b"\0" in name or name.startswith(b"/") or b".." in name.split(b"/"):
        name, reason = name.replace(b"\0", b"?"), "a name that leads out of the archive; not read"
    elif header.islnk() or header.issym():
        reason = "a link inside an archive; not followed"
    elif sparse or not (header.isreg() or header.type not in tarfile.SUPPORTED_TYPES):
        reason = "a sparse file inside an archive; not read" if sparse else "not a regular file but a device or pipe"
    elif start + length > end:
        reason = f"cut off: the archive ends {start + length - end:,} bytes too early"
    text = b""
    if name.endswith(b".cls") and not reason and length <= MAX_LABEL:
        text = window.read(start, length)
    return _Member(name, start, min(length, 1 << 62), reason, text)
