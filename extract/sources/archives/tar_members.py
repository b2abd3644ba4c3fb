"""The members of a tar archive, from its headers: POSIX.1-2001, and what GNU tar does otherwise.

A header gives the length of its member, so that listing reads about 2 KB per member; small members are read through,
with few requests.
"""

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from headstart.extract.errors import TryAgainError
from headstart.extract.sources.names import TAR
from headstart.extract.sources.readers import Fetch
from headstart.extract.sources.sidecars import LABEL_SUFFIX, MAX_LABEL

BLOCK = tarfile.BLOCKSIZE
WINDOW, LARGEST_WINDOW = 4 * BLOCK, 512 * BLOCK
"""Bytes per request: a header, and often the small members after it; doubled while the next header is near."""
MAX_EXTENDED = 1 << 20
"""Largest accepted size of an extended header, in bytes."""
GNU = b"ustar  \0"
DUMPED_FOLDER, VOLUME_LABEL, CONTINUED = b"D", b"V", b"M"
"""GNU tar's types for a folder's list of files (of incremental archives), for an archive's label, and for the end of a
file that begins in another archive."""
KINDS = {
    **dict.fromkeys((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"), "compressed archive"),
    b"PK\x03\x04": "zip archive",
    b"7z\xbc\xaf": "7z archive",
    b"Rar!": "rar archive",
}
"""First bytes of other archives, which may be called .tar."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Attributes
    ----------
    name
        As the archive has it.
    start, size
        Where its bytes lie in the archive.
    reason
        Why it cannot be read (empty for a readable file).
    link
        For a hard link, the name of the earlier member whose bytes it has.
    text
        The bytes of a label file.
    """

    name: bytes
    start: int
    size: int
    reason: str = ""
    link: bytes = b""
    text: bytes = b""


class ArchiveDamage(Exception):
    """The archive cannot be read any further."""


class NotATar(ArchiveDamage):
    """The file is an archive of another kind."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"a {kind} inside the archive; unpack it first")
        self.kind = kind


def members_of(fetch: Fetch, size: int) -> Iterator[Member]:
    """Follow the headers of an archive of so many bytes; archives in it are folders, called like them without `.tar`.

    Raises `ArchiveDamage` once it cannot be read any further, and `DecodeError` as `fetch`.
    """
    window = _Window(fetch)
    for member in _members(window, 0, size):
        is_archive = member.name.lower().endswith(TAR) and not (member.reason or member.link)
        if not is_archive:
            yield member
            continue
        folder = member.name[: -len(TAR)] + b"/"
        try:
            for inner in _members(window, member.start, member.start + member.size):
                yield replace(inner, name=folder + inner.name, link=inner.link and folder + inner.link)
        except ArchiveDamage as damage:
            yield replace(member, reason=str(damage))


class _Window:
    """Bytes of the archive; each request reads a little more than was asked for."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._start, self._data, self._ahead = 0, b"", WINDOW // 2

    def read(self, start: int, size: int, end: int) -> bytes:
        """Read from an archive that ends at `end`."""
        if start + size > end:
            raise ArchiveDamage(f"the archive is cut off at byte {end:,}; the rest is lost")
        at = start - self._start
        if at < 0 or at + size > len(self._data):
            is_near = 0 <= at <= len(self._data) + WINDOW
            self._ahead = min(2 * self._ahead, LARGEST_WINDOW) if is_near else WINDOW // 2
            self._start, at = start, 0
            is_last = end - start <= tarfile.RECORDSIZE  # the end mark, and what fills the last record
            self._data = self._fetch(start, end if is_last else min(end, start + max(size, WINDOW, self._ahead)))
        if len(self._data) < at + size:
            raise TryAgainError("the archive was cut off meanwhile")
        return self._data[at : at + size]

    def skip_zeros(self, at: int, end: int) -> int:
        """Return where the next block lies that is not empty, or `end`."""
        size = BLOCK
        while at < end:
            data = self.read(at, min(size, end - at), end)
            if rest := data.lstrip(b"\0"):
                return at + (len(data) - len(rest)) // BLOCK * BLOCK
            at, size = at + len(data), min(2 * size, LARGEST_WINDOW)
        return end


def _members(window: _Window, begin: int, end: int) -> Iterator[Member]:
    """Follow headers to the end, past end marks: `cat 1.tar 2.tar` makes an archive that has several."""
    at, extended = begin, dict[bytes, bytes]()
    if begin == end:
        raise ArchiveDamage("the archive is cut off at byte 0; it is empty")
    while (block_at := window.skip_zeros(at, end)) < end or extended:
        is_first, is_after_end = block_at == begin, block_at > at
        block = window.read(block_at, min(BLOCK, end - block_at) if is_first or is_after_end else BLOCK, end)
        header = _header(block, block_at, is_first, is_after_end)
        start, length, first = block_at + BLOCK, header.size, block
        if header.type in _EXTENDED:
            if length > MAX_EXTENDED:
                raise ArchiveDamage(f"the archive is damaged: a header of {length:,} bytes at byte {block_at:,}")
            extended |= _EXTENDED[header.type](window.read(start, length, end), block_at)
        else:
            if extended.get(b"size", b"").isdigit():
                length = int(extended[b"size"][:20])
            while header.type == tarfile.GNUTYPE_SPARSE and block[-BLOCK:][482 if start == block_at + BLOCK else 504]:
                block, start = window.read(start, BLOCK, end), start + BLOCK
            if not header.isreg() and header.type in tarfile.SUPPORTED_TYPES:
                length = 0  # links and devices have no content, whatever the header says
            if not (header.isdir() or header.type in (DUMPED_FOLDER, VOLUME_LABEL)):
                extended = {b"path": _name(first, header)} | extended
                yield _member(window, header, extended, start, length, end)
            extended = {}
        at = start + -(-length // BLOCK) * BLOCK
    if at > end:
        raise ArchiveDamage(f"the archive is cut off at byte {end:,}; the rest is lost")


def _header(block: bytes, at: int, is_first: bool, is_after_end: bool) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        if is_first:
            for beginning, kind in KINDS.items():
                if block.startswith(beginning):
                    raise NotATar(kind) from None
            if len(block) < BLOCK:
                raise ArchiveDamage(f"the archive is cut off at byte {at + len(block):,}; the rest is lost") from None
            raise ArchiveDamage(f"not a tar archive (begins with {block[:12]!r})") from None
        if is_after_end:
            raise ArchiveDamage(f"behind the end of the archive, at byte {at:,}, other data follow; not read") from None
        raise ArchiveDamage(f"the archive is damaged at byte {at:,} ({error}); the rest is not read") from None
    if header.size < 0:
        raise ArchiveDamage(f"the archive is damaged at byte {at:,} (a size below 0); the rest is not read")
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
            raise ArchiveDamage(f"the archive is damaged: an unreadable extended header at byte {at:,}")
        name, _, value = data[space + 1 : begin + length - 1].partition(b"=")
        records[name] = value
        begin += length
    return records


_EXTENDED: dict[bytes, Callable[[bytes, int], dict[bytes, bytes]]] = {
    tarfile.XHDTYPE: _records,
    tarfile.SOLARIS_XHDTYPE: _records,
    tarfile.XGLTYPE: lambda data, at: {},  # concerns no single member
    tarfile.GNUTYPE_LONGNAME: lambda data, at: {b"path": data.rstrip(b"\0")},
    tarfile.GNUTYPE_LONGLINK: lambda data, at: {b"linkpath": data.rstrip(b"\0")},
}


def _name(block: bytes, header: tarfile.TarInfo) -> bytes:
    """Return the name in a header; where POSIX has its first part, GNU tar keeps times and offsets."""
    name = header.name.encode("utf-8", "surrogateescape")
    return block[:100].partition(b"\0")[0] if block[257:265] == GNU else name


def _member(
    window: _Window, header: tarfile.TarInfo, extended: dict[bytes, bytes], start: int, length: int, end: int
) -> Member:
    is_sparse = header.type == tarfile.GNUTYPE_SPARSE or any(name.startswith(b"GNU.sparse.") for name in extended)
    name = extended.get(b"GNU.sparse.name", extended[b"path"])
    link = extended.get(b"linkpath", header.linkname.encode("utf-8", "surrogateescape")) if header.islnk() else b""
    reason = ""
    if header.issym():
        reason = "a symbolic link inside an archive; not followed"
    elif header.type == CONTINUED:
        reason = "the end of a file that begins in another archive; not read"
    elif is_sparse:
        reason = "a sparse file inside an archive; not read"
    elif header.type in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE):
        reason = "not a regular file but a device or pipe"
    elif start + length > end:
        reason = f"cut off: the archive ends {start + length - end:,} bytes too early"
    text = b""
    if name.lower().endswith(LABEL_SUFFIX) and not reason and length <= MAX_LABEL:
        text = window.read(start, length, end)
    return Member(name, start, min(length, 1 << 62), reason, link, text)
