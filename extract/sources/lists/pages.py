"""Parquet files whose page headers are checked before pyarrow unpacks a page: a few kilobytes may claim gigabytes.

Page headers follow Parquet's `parquet.thrift`, in Thrift's compact protocol.
"""

import io
from collections.abc import Collection
from typing import Any

from headstart.extract.errors import PageError
from headstart.extract.sources.readers import Fetch

LARGEST_PAGE, LARGEST_RATIO = 256 << 20, 100
"""A page that unpacks to more bytes, and expands more, is not read: images hardly compress."""
DATA, DICTIONARY, DATA_V2 = 0, 2, 3
"""Types of pages."""
KIND, UNPACKED, PACKED = 1, 2, 3
"""Fields of a page's header."""
HEADER_OF = {DATA: 5, DICTIONARY: 7, DATA_V2: 8}
"""Fields that hold the header of each type of page, whose first field is the number of values."""
INT32, STRUCT = 5, 12
"""Thrift's types of what is looked at."""
LARGEST_HEADER = 16 << 20
"""Bytes that pyarrow reads at most; statistics may hold whole images."""


class CheckedFile(io.RawIOBase):
    """A file for pyarrow, whose every read is one request; reading a page raises `PageError` if it is too large."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        self._fetch, self._size, self._at = fetch, size, 0
        self._chunks: list[_Chunk] = []

    def check(self, group: Any, texts: Collection[str] = (), longest: int = 0) -> None:
        """Check the pages of a row group from now on; a column of `texts` may unpack to at most `longest` bytes."""
        columns = list(map(group.column, range(group.num_columns)))
        limits = [longest if column.path_in_schema in texts else None for column in columns]
        self._chunks = [_Chunk(*each, group.num_rows) for each in zip(columns, limits, strict=True)]

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
        data = self._fetch(self._at, end)
        for chunk in self._chunks:
            chunk.see(self._at, data)
        self._at += len(data)
        return data


class _Chunk:
    """The pages of a column in one row group, found as pyarrow finds them."""

    def __init__(self, column: Any, largest: int | None, rows: int) -> None:
        self._rows, self._largest, self._rest = rows, largest, b""
        start = column.data_page_offset
        if column.has_dictionary_page and 0 < column.dictionary_page_offset < start:
            start = column.dictionary_page_offset
        self._next, self._end = start, start + column.total_compressed_size
        self._values, self._unpacked, self._name = column.num_values, 0, column.path_in_schema

    def see(self, at: int, data: bytes) -> None:
        """Check every page whose header is complete with these bytes, read at an offset; pyarrow reads in order."""
        if at >= self._end:
            return
        begin, file = at - len(self._rest), io.BytesIO(self._rest + data if self._rest else data)
        self._rest = b""
        while self._values > 0 and self._next < min(self._end, at + len(data)):
            try:
                file.seek(self._next - begin)
                self._check(header := _struct(file))
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


def _struct(file: io.BytesIO) -> dict[int, Any]:
    """Read the 32-bit numbers and the structs of a Thrift struct by their field number; skip everything else."""
    fields: dict[int, Any] = {}
    number = 0
    while kind := _byte(file):
        number = number + (kind >> 4) if kind >> 4 else _number(file)
        value = _value(file, kind & 15, in_field=True)
        if kind & 15 in (INT32, STRUCT):
            fields[number] = value
    return fields


def _value(file: io.BytesIO, kind: int, *, in_field: bool = False) -> Any:
    """Read a value of one of Thrift's types; None if it is neither a whole number nor a struct."""
    if kind in (1, 2):  # true, false: within a field, the type is the value
        return None if in_field else _skip(file, 1)
    if kind in (4, INT32, 6):
        return _number(file, {4: 16, INT32: 32, 6: 64}[kind])
    if kind == STRUCT:
        return _struct(file)
    if kind in (9, 10):
        size = _byte(file)
        for _ in range(size >> 4 if size >> 4 < 15 else _length(file)):
            _value(file, size & 15)
        return None
    if kind not in (3, 7, 8):  # a map is not part of any page header
        raise ValueError(f"Thrift's type {kind}")
    return _skip(file, _length(file) if kind == 8 else {3: 1, 7: 8}[kind])


def _skip(file: io.BytesIO, size: int) -> None:
    if len(file.read(size)) < size:
        raise EOFError("it ends too early")


def _byte(file: io.BytesIO) -> int:
    data = file.read(1)
    if not data:
        raise EOFError("it ends too early")
    return data[0]


def _varint(file: io.BytesIO) -> int:
    value = shift = 0
    while (byte := _byte(file)) >= 128:
        value, shift = value | (byte & 127) << shift, shift + 7
    value |= byte << shift
    if value >= 1 << 64 or shift > 63:
        raise ValueError("a number of more than 64 bits")
    return value


def _length(file: io.BytesIO) -> int:
    length = _varint(file)
    if length >= 1 << 31:
        raise ValueError(f"a length of {length:,}")
    return length


def _number(file: io.BytesIO, bits: int = 64) -> int:
    value = _varint(file)
    if value >> bits:
        raise ValueError(f"a number of more than {bits} bits")
    return (value >> 1) ^ -(value & 1)
