"""Reads one store file: HDF5 says where its columns lie, and their values are read from there.

HDF5 takes some milliseconds per file, and a store may have ten thousand files. The shards of one run mostly differ in
their values alone, so that the layout of one shard holds for the next if all other bytes are the same. Ten thousand
shards open four times as fast that way.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.extract.errors import StoreError
from headstart.extract.sources.items import SPLITS
from headstart.extract.store.hdf5 import USER_BLOCK, own_dataset, verified
from headstart.extract.store.schema import (
    COLUMN_DTYPES,
    DTYPES,
    EMBEDDED,
    METADATA_DTYPES,
    REMOVED,
    ROW_DTYPES,
    Header,
    Rows,
)
from headstart.extract.store.shards import SHARD
from headstart.files.errors import one_line

SUPERBLOCK = 48
"""Bytes at the beginning that say where HDF5 goes on."""
LAYOUTS = 64
"""Layouts kept: shards of one run mostly have one of a few sizes."""


@dataclass(frozen=True, slots=True)
class Span:
    """The values of one dataset: bytes of the file, in one piece, in C order."""

    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def end(self) -> int:
        """Offset of the byte after the last one."""
        return self.offset + math.prod(self.shape) * self.dtype.itemsize

    def read(self, file: BinaryIO, first: int = 0, rows: int | None = None) -> NDArray[Any]:
        """Read rows, by default all, into an array of their own; raises `ValueError` if the file ends before."""
        values = np.empty((self.shape[0] if rows is None else rows, *self.shape[1:]), self.dtype)
        file.seek(self.offset + first * math.prod(self.shape[1:]) * self.dtype.itemsize)
        if file.readinto(values.reshape(-1).view(np.uint8).data) != values.nbytes:  # type: ignore[attr-defined]
            raise ValueError("the file ends before its values do")
        return values


@dataclass(frozen=True)
class Shard:
    """A store file whose bytes match its digest: the header, the columns, and where the vectors lie."""

    digest: str
    header: Header
    rows: Rows
    vectors: Span


@dataclass(frozen=True)
class _Layout:
    header: Header
    columns: Mapping[str, Span]
    vectors: Span
    rest: Mapping[int, bytes] = field(default_factory=dict)
    """All bytes of the file but the values, by offset."""

    def fits(self, file: BinaryIO) -> bool:
        return all(_bytes_at(file, offset, len(same)) == same for offset, same in self.rest.items())


class ShardReader:
    """Reads store files one after the other; HDF5 parses a file unless an earlier one differs in values alone."""

    def __init__(self) -> None:
        self._layouts: dict[int, _Layout] = {}

    def read(self, path: Path) -> Shard:
        """Verify a file, and read its header and columns (except the vectors).

        Raises `StoreError` if it is damaged, gone, or not of this schema.
        """
        name = SHARD.fullmatch(path.name)
        if name and not path.exists():
            raise StoreError(f"{path}: this shard was removed because its run finished; reopen the store")
        with verified(path) as (file, digest):
            if name and name["digest"] != digest[:16]:
                raise StoreError(f"{path}: its name does not match its digest; delete it and embed again")
            try:
                layout = self._layout(file) if name else _parse(file)
                columns = {name: span.read(file) for name, span in layout.columns.items()}
                rows = Rows.of({n: column.astype(COLUMN_DTYPES[n], copy=False) for n, column in columns.items()})
                _require_codes(layout.header, rows)
            except StoreError as error:
                raise StoreError(f"{path}: {error}; embed again with this version") from None
            except (LookupError, OSError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError) as error:
                if isinstance(error, OSError) and error.errno:  # the system's, not HDF5's
                    raise StoreError(f"{path}: cannot be read: {error.strerror}") from None
                raise StoreError(
                    f"{path}: not an embedding store of this version ({one_line(error)}); embed again"
                ) from None
        return Shard(digest, layout.header, rows, layout.vectors)

    def _layout(self, file: BinaryIO) -> _Layout:
        size = file.seek(0, 2)
        layout = self._layouts.get(size)
        if layout is None or not layout.fits(file):
            layout = _parse(file)
            gaps = _gaps((*layout.columns.values(), layout.vectors), size)
            if len(self._layouts) >= LAYOUTS:
                self._layouts.clear()
            layout = replace(layout, rest={start: _bytes_at(file, start, end - start) for start, end in gaps})
            self._layouts[size] = layout
        return layout


def _bytes_at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _parse(file: BinaryIO) -> _Layout:
    """Ask HDF5 where everything lies, and refuse anything but the schema."""
    with h5py.File(file, "r") as opened:
        header = Header.from_attributes(opened.attrs)
        has_metadata = any(opened.id.links.exists(name.encode()) for name in METADATA_DTYPES)
        expected = COLUMN_DTYPES if has_metadata else ROW_DTYPES
        columns = {name: _span(opened, name, np.dtype(kind).kind) for name, kind in expected.items()}
        vectors = _span(opened, header.output, "f")
    if vectors.shape[1:] != header.shape or vectors.dtype != DTYPES.get(header.dtype):
        raise StoreError(f"its {header.output} does not fit its header")
    for name, span in columns.items():
        if span.shape[1:] != ((32,) if name == "sha256" else ()):
            raise StoreError(f"its column {name!r} has another shape")
    if len({span.shape[0] for span in (*columns.values(), vectors)}) > 1:
        raise StoreError("its columns differ in length")
    list(_gaps((*columns.values(), vectors), vectors.end))  # refuses columns that overlap
    return _Layout(header, columns, vectors)


def _gaps(spans: tuple[Span, ...], size: int) -> Iterator[tuple[int, int]]:
    """Return the pieces of a file of this size, as (start, end), in which no values lie."""
    at = USER_BLOCK
    for span in sorted(spans, key=lambda span: span.offset):
        if span.end > span.offset:
            if span.offset < max(at, USER_BLOCK + SUPERBLOCK):
                raise StoreError("two of its columns lie in the same place")
            yield at, span.offset
            at = span.end
    yield at, size


def _span(opened: h5py.File, name: str, kind: str) -> Span:
    dataset = own_dataset(opened, name).id
    if dataset.dtype.kind != kind:
        raise StoreError(f"expected {name!r} as {kind}, found {dataset.dtype}")
    if not dataset.get_type().equal(h5py.h5t.py_create(dataset.dtype, logical=True)):
        raise StoreError(f"expected {name!r} as {dataset.dtype}, found another layout of numbers or text")
    return Span(dataset.get_offset() or USER_BLOCK, dataset.shape, dataset.dtype)


def _require_codes(header: Header, rows: Rows) -> None:
    for name, values, least, most in (
        ("label", rows.label, -1, len(header.classes)),
        ("split", rows.split, 0, len(SPLITS)),
        ("status", rows.status, EMBEDDED, REMOVED + 1),
    ):
        if len(rows) and not (least <= values.min() and values.max() < most):
            raise StoreError(f"its column {name!r} has codes without a meaning")
