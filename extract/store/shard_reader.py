"""The columns of one store file: where they lie, which HDF5 says, and their values, which are read from there.

HDF5 takes some milliseconds a file, and a store may have ten thousand. Shards of one run mostly differ in nothing but
values; what HDF5 said of one then holds for the next, whose other bytes are the same.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.extract.errors import StoreError
from headstart.extract.sources.items import SPLITS
from headstart.extract.store.hdf5 import USER_BLOCK, own_dataset, verified
from headstart.extract.store.schema import DTYPES, EMBEDDED, REMOVED, ROW_DTYPES, Header, Rows
from headstart.extract.store.shards import SHARD
from headstart.files.errors import one_line

COMPARED_BYTES = 16 << 20
"""Shards up to this size are compared with those before them; larger ones are few, and parsed each by itself."""
SUPERBLOCK = 48
"""Bytes at the beginning that say where HDF5 goes on."""
REMEMBERED = 64
"""Layouts: shards of one run mostly have one of a few sizes."""


@dataclass(frozen=True, slots=True)
class Span:
    """The values of one dataset: bytes of the file, in one piece, in C order."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def end(self) -> int:
        """Byte of the file after the last one."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def read(self, file: BinaryIO, first: int = 0, rows: int | None = None) -> NDArray[Any]:
        """Read rows, by default all, into an array of their own.

        Raises
        ------
        ValueError
            Where the file ends before.
        """
        values = np.empty((self.shape[0] if rows is None else rows, *self.shape[1:]), self.dtype)
        file.seek(self.offset + first * math.prod(self.shape[1:]) * self.dtype.itemsize)
        if file.readinto(values.reshape(-1).view(np.uint8).data) != values.nbytes:  # type: ignore[attr-defined]
            raise ValueError("the file ends before its values do")
        return values


@dataclass(frozen=True)
class Table:
    """A store file that was compared with its digest: its header, its columns, and where its vectors lie."""

    digest: str
    header: Header
    rows: Rows
    vectors: Span


@dataclass(frozen=True)
class _Layout:
    """What HDF5 said of a file, and the bytes, by offset, that it said so from: all but the values."""

    header: Header
    columns: Mapping[str, Span]
    vectors: Span
    others: Mapping[int, bytes]

    def is_of(self, data: memoryview) -> bool:
        return all(data[start : start + len(same)] == same for start, same in self.others.items())


class ShardReader:
    """Reads store files one after the other; HDF5 parses those that differ from the ones before in more than values."""

    def __init__(self) -> None:
        self._layouts: dict[int, _Layout] = {}

    def read(self, path: Path) -> Table:
        """Read a file's header and columns (but for the vectors), once it has been compared with its digest.

        Raises
        ------
        StoreError
            Where it is damaged, gone, or not of this schema.
        """
        named = SHARD.fullmatch(path.name)
        if named and not path.exists():
            raise StoreError(f"{path}: is gone since it was listed, as its run has finished; open the store again")
        with verified(path) as (file, digest):
            if named and named["digest"] != digest[:16]:
                raise StoreError(f"{path}: its name does not match its digest; delete it and embed again")
            try:
                layout = self._layout(file, is_shard=named is not None)
                rows = Rows(
                    **{
                        name: span.read(file).astype(ROW_DTYPES[name], copy=False)
                        for name, span in layout.columns.items()
                    }
                )
                _require_codes(layout.header, rows)
            except StoreError as error:
                raise StoreError(f"{path}: {error}; embed again with this version") from None
            except (LookupError, OSError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError) as error:
                if isinstance(error, OSError) and error.errno:  # the system's, not HDF5's
                    raise StoreError(f"{path}: cannot be read: {error.strerror}") from None
                raise StoreError(
                    f"{path}: not an embedding store of this version ({one_line(error)}); embed again"
                ) from None
        return Table(digest, layout.header, rows, layout.vectors)

    def _layout(self, file: BinaryIO, is_shard: bool) -> _Layout:
        size = file.seek(0, 2)
        if not is_shard or size > COMPARED_BYTES:
            return _parsed(file, memoryview(b""))
        file.seek(0)
        data = memoryview(file.read())
        known = self._layouts.get(size)
        if known is None or not known.is_of(data):
            if len(self._layouts) >= REMEMBERED:
                self._layouts.clear()
            known = self._layouts[size] = _parsed(file, data)
        return known


def _parsed(file: BinaryIO, data: memoryview) -> _Layout:
    """Ask HDF5 where everything lies; `data` are the file's bytes, if it is to be compared with others."""
    with h5py.File(file, "r") as table:
        header = Header.from_attributes(table.attrs)
        columns = {name: _span(table, name, np.dtype(kind).kind) for name, kind in ROW_DTYPES.items()}
        vectors = _span(table, header.output, "f")
    if vectors.shape[1:] != header.shape or vectors.dtype != DTYPES.get(header.dtype):
        raise StoreError(f"its {header.output} does not fit its header")
    for name, span in columns.items():
        if span.shape[1:] != ((32,) if name == "sha256" else ()):
            raise StoreError(f"its column {name!r} is of another shape")
    if len({span.shape[0] for span in (*columns.values(), vectors)}) > 1:
        raise StoreError("its columns differ in length")
    others, at = {}, USER_BLOCK
    for span in sorted((*columns.values(), vectors), key=lambda span: span.offset):
        if span.end > span.offset:
            if span.offset < max(at, USER_BLOCK + SUPERBLOCK):
                raise StoreError("two of its columns lie in the same place")
            others[at] = bytes(data[at : span.offset])
            at = span.end
    return _Layout(header, columns, vectors, others | {at: bytes(data[at:])})


def _span(table: h5py.File, name: str, kind: str) -> Span:
    found = own_dataset(table, name).id
    if found.dtype.kind != kind:
        raise StoreError(f"expected {name!r} as {kind}, found {found.dtype}")
    if not found.get_type().equal(h5py.h5t.py_create(found.dtype, logical=True)):
        raise StoreError(f"expected {name!r} as {found.dtype}, found another layout of numbers or text")
    return Span(found.get_offset() or USER_BLOCK, found.shape, found.dtype)


def _require_codes(header: Header, rows: Rows) -> None:
    for name, values, least, most in (
        ("label", rows.label, -1, len(header.classes)),
        ("split", rows.split, 0, len(SPLITS)),
        ("status", rows.status, EMBEDDED, REMOVED + 1),
    ):
        if len(rows) and not (least <= values.min() and values.max() < most):
            raise StoreError(f"its column {name!r} has codes that mean nothing")
