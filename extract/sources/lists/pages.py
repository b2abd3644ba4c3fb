"""Parquet files whose page headers are checked before pyarrow unpacks a page: a few kilobytes may claim gigabytes.

Page headers follow Parquet's `parquet.thrift`.
"""

import io
from collections.abc import Collection
from functools import cached_property
from typing import Any

from headstart.extract.errors import PageError
from headstart.extract.sources.lists.footer import TAIL, Chunk, Group, read_footer
from headstart.extract.sources.lists.thrift import read_struct, struct, whole
from headstart.extract.sources.readers import Fetch

LARGEST_PAGE, LARGEST_RATIO = 256 << 20, 100
"""A page that unpacks to more bytes, and expands more, is not read: images hardly compress."""
DATA, DICTIONARY, DATA_V2 = 0, 2, 3
"""Types of pages."""
KIND, UNPACKED, PACKED = 1, 2, 3
"""Fields of a page's header."""
HEADER_OF = {DATA: 5, DICTIONARY: 7, DATA_V2: 8}
"""Fields that hold the header of each type of page, whose first field is the number of values."""
HEADER = dict.fromkeys((KIND, UNPACKED, PACKED), whole()) | dict.fromkeys(HEADER_OF.values(), struct({1: whole()}))
"""What is looked at; see `Wanted`."""
LARGEST_HEADER = 16 << 20
"""Bytes that pyarrow reads at most; statistics may hold whole images."""


class CheckedFile(io.RawIOBase):
    """A file for pyarrow, whose every read is one request; reading a page raises `PageError` if it is too large."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        self._fetch, self._size, self._at = fetch, size, 0
        self._chunks: list[_Pages] = []
        self._end = b""

    @cached_property
    def groups(self) -> list[Group]:
        """The row groups; raises as `read_footer`."""
        return read_footer(self._part, self._size)

    def check(self, number: int, texts: Collection[str] = (), longest: int = 0) -> None:
        """Check the pages of a row group from now on; a column of `texts` may unpack to at most `longest` bytes."""
        group = self.groups[number]
        self._chunks = [_Pages(chunk, longest if chunk.name in texts else None, group.rows) for chunk in group.chunks]

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it has random access."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the offset."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        """Return the offset."""
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Read from the offset on, and check the pages that begin there."""
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        data = self._part(self._at, end)
        for chunk in self._chunks:
            chunk.see(self._at, data)
        self._at += len(data)
        return data

    def _part(self, start: int, end: int) -> bytes:
        """Read a part of the file; its end, which both pyarrow and `read_footer` ask for, is kept."""
        kept_from = self._size - len(self._end)
        if start >= kept_from:
            return self._end[start - kept_from : end - kept_from]
        data = self._fetch(start, end)
        if end == self._size and len(data) == end - start:
            self._end = data[-TAIL:]
        return data


class _Pages:
    """The pages of a column in one row group, found as pyarrow finds them."""

    def __init__(self, chunk: Chunk, largest: int | None, rows: int) -> None:
        self._rows, self._largest, self._rest = rows, largest, b""
        self._next, self._end = chunk.start, chunk.end
        self._values, self._unpacked, self._name = chunk.values, 0, chunk.name

    def see(self, at: int, data: bytes) -> None:
        """Check every page whose header is complete with these bytes, read at an offset; pyarrow reads in order."""
        if at >= self._end:
            return
        begin, file = at - len(self._rest), io.BytesIO(self._rest + data if self._rest else data)
        self._rest = b""
        while self._values > 0 and self._next < min(self._end, at + len(data)):
            try:
                file.seek(self._next - begin)
                self._check(header := read_struct(file, HEADER))
            except EOFError:
                file.seek(self._next - begin)
                self._rest = file.read()
                break
            except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
                raise PageError(
                    f"damaged table: the column {self._name!r} has a page without a header ({error})"
                ) from None
            self._next = begin + file.tell() + header[PACKED]
        if len(self._rest) > LARGEST_HEADER:
            raise PageError(f"damaged table: the column {self._name!r} has a page without a header")

    def _check(self, header: dict[int, Any]) -> None:
        kind, unpacked, packed = header[KIND], header[UNPACKED], header[PACKED]
        values = header.get(HEADER_OF.get(kind, 0), {}).get(1, 0)
        if not (min(unpacked, packed) >= 0 and 0 <= values <= (unpacked if kind == DICTIONARY else self._rows)):
            raise ValueError(f"{values:,} values of {unpacked:,} bytes in {packed:,}")
        self._values -= 0 if kind == DICTIONARY else values
        self._unpacked += unpacked
        if unpacked > LARGEST_PAGE and unpacked > LARGEST_RATIO * packed:
            raise PageError(f"its row group has a page of {unpacked:,} bytes in {packed:,}; write smaller row groups")
        if self._largest is not None and self._unpacked > self._largest:
            raise PageError(
                f"the column {self._name!r} holds more than {self._largest:,} bytes in one row group; "
                "write smaller row groups"
            )
