"""HDF5 files that verify themselves: the format of embedding stores and checkpoints.

The HDF5 library never writes to disk here (on a full disk it can end the process). It lays out an empty file with
contiguous datasets in memory; its metadata and the values are then written in one checked pass, and hashed. The
digest is in the file's first 512 bytes, HDF5's user block, as one line of text:

    headstart-store 1 sha256 <64 hexadecimal digits of everything after these 512 bytes>
"""

import hashlib
import io
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.extract.errors import StoreError
from headstart.files.atomic import atomic_file, write_all
from headstart.files.kinds import kind_of

USER_BLOCK = 512
_MAGIC = b"headstart-store 1 sha256 "


@dataclass(frozen=True)
class Column:
    """A dataset to write: its dtype, its shape, and its values in row order, in any number of pieces."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    values: Iterable[NDArray[Any]]

    @classmethod
    def of(cls, values: NDArray[Any], dtype: np.dtype[Any] | None = None) -> "Column":
        """Make a column of one array; `dtype` may be an enumeration of the same bytes."""
        return cls(dtype or values.dtype, values.shape, [values])


def write_hdf5(path: Path, attributes: Mapping[str, Any], columns: Mapping[str, Column]) -> str:
    """Write a self-verifying HDF5 file, whole or not at all, and give its hexadecimal digest.

    Raises `OutputError` if the system refuses a write.
    """
    with atomic_file(path) as file:
        return write_into(file, attributes, columns)


def write_into(file: BinaryIO, attributes: Mapping[str, Any], columns: Mapping[str, Column]) -> str:
    """Write the same bytes into an empty raw file, and give the digest."""
    digest = hashlib.sha256()
    at = USER_BLOCK
    write_all(file, bytes(USER_BLOCK))
    for offset, data in _pieces(attributes, columns):
        for piece in (bytes(offset - at), data):
            digest.update(piece)
            write_all(file, piece)
        at = offset + memoryview(data).nbytes
    file.seek(0)
    write_all(file, _user_block(digest.hexdigest()))
    return digest.hexdigest()


@contextmanager
def verified(path: Path) -> Iterator[tuple[BinaryIO, str]]:
    """Open a file, compare its bytes with its digest, and give both, before HDF5 parses anything.

    Reading from the open file gives the verified bytes, even if another file takes its name.

    Raises `StoreError` if the file is missing, of another kind, cut off or altered.
    """
    with ExitStack() as opened:
        try:
            file = opened.enter_context(open(path, "rb"))
            head = file.read(USER_BLOCK)
            if not head.startswith(_MAGIC):
                raise StoreError(
                    f"{path}: expected an embedding store, found {kind_of(path)}; make one with `headstart embed`"
                )
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            raise StoreError(f"{path}: no such store; make one with `headstart embed IMAGES -o {path}`") from None
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error.strerror}") from None
        if head != _user_block(digest):
            raise StoreError(
                f"{path}: damaged (cut off or altered): its bytes do not match their digest; delete it and embed again"
            )
        yield file, digest


def verify(path: Path) -> str:
    """Compare a file's bytes with its digest, and give the digest; see `verified`."""
    with verified(path) as (_, digest):
        return digest


def own_dataset(file: h5py.File, name: str) -> h5py.Dataset:
    """Return a dataset whose values are bytes of this file, laid out as by `write_hdf5`; raises `StoreError` otherwise.

    HDF5 can also keep values in other files, behind links, or in filters that load plug-ins or unpack a hundred bytes
    into a hundred gigabytes. A digest, which anybody can compute, does not prevent that.
    """
    # Low-level calls: there may be ten thousand shards, and h5py's own take 0.2 ms per dataset.
    try:
        is_inside = file.id.links.get_info(name.encode()).type == h5py.h5l.TYPE_HARD
        dataset = h5py.h5o.open(file.id, name.encode()) if is_inside else None
    except (KeyError, RuntimeError):
        dataset = None
    if not isinstance(dataset, h5py.h5d.DatasetID):
        raise StoreError(f"expected a dataset {name!r} inside the file, found something else")
    plan, dtype = dataset.get_create_plist(), dataset.dtype
    size = math.prod(dataset.shape) * dtype.itemsize
    plain = dtype.kind in "iufS" and not dtype.hasobject
    if not plain or plan.get_layout() != h5py.h5d.CONTIGUOUS or plan.get_external_count() or plan.get_nfilters():
        raise StoreError(f"expected {name!r} as plain numbers or text in one piece of the file, found another layout")
    if size and ((offset := dataset.get_offset()) is None or offset + size > file.id.get_filesize()):
        raise StoreError(f"{name!r} claims {dataset.shape} values, more than the file holds")
    return h5py.Dataset(dataset)


def states_digest(file: BinaryIO, digest: str) -> bool:
    """Tell whether an open file is the one that was verified, by its user block alone."""
    file.seek(0)
    return file.read(USER_BLOCK) == _user_block(digest)


def _user_block(digest: str) -> bytes:
    return (_MAGIC + digest.encode() + b"\n").ljust(USER_BLOCK, b"\0")


def _pieces(attributes: Mapping[str, Any], columns: Mapping[str, Column]) -> Iterator[tuple[int, Any]]:
    """Return the content after the user block as (offset, bytes), in order of offset."""
    layout = _Recorder()
    starts: dict[int, Column] = {}
    with _empty_file(layout) as file:
        for name, value in attributes.items():
            file.attrs[name] = value
        for name, column in columns.items():
            start = _allocate(file, name, column)
            if start is not None:
                starts[start] = column
    metadata = layout.writes
    for start in sorted([*metadata, *starts]):
        if start in metadata:
            yield start, metadata[start]
        else:
            yield from _values(start, starts[start])


def _empty_file(layout: "_Recorder") -> h5py.File:
    """Begin a file without timestamps, so that the same content gives the same bytes."""
    creation = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    creation.set_userblock(USER_BLOCK)
    creation.set_obj_track_times(False)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    access.set_fclose_degree(h5py.h5f.CLOSE_STRONG)
    access.set_fileobj_driver(h5py.h5fd.fileobj_driver, layout)
    return h5py.File(h5py.h5f.create(b"store", h5py.h5f.ACC_TRUNC, creation, access))


def _allocate(file: h5py.File, name: str, column: Column) -> int | None:
    """Create an empty contiguous dataset and give the offset of its values (None if it has none)."""
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    plan.set_obj_track_times(False)
    kind = h5py.h5t.py_create(column.dtype, logical=True)
    dataset = h5py.h5d.create(file.id, name.encode(), kind, h5py.h5s.create_simple(column.shape), plan)
    offset: int | None = dataset.get_offset()
    return offset if 0 not in column.shape else None


def _values(start: int, column: Column) -> Iterator[tuple[int, Any]]:
    at, size = start, int(np.prod(column.shape)) * column.dtype.itemsize
    for piece in column.values:
        data = np.ascontiguousarray(piece)
        if data.dtype.itemsize != column.dtype.itemsize or data.shape[1:] != column.shape[1:]:
            raise ValueError(f"a piece of {data.dtype} {data.shape} does not fit {column.dtype} {column.shape}")
        if data.size:
            yield at, data.reshape(-1).view(np.uint8)
        at += data.nbytes
    if at != start + size:
        raise ValueError(f"{at - start} bytes of values for a column of {size}")


class _Recorder(io.RawIOBase):
    """A file in memory that keeps each write by offset; HDF5 writes only metadata to it."""

    def __init__(self) -> None:
        self.writes: dict[int, bytes] = {}
        self._at = self._end = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def write(self, data: Any) -> int:
        self.writes[self._at] = bytes(data)
        self._at += len(data)
        self._end = max(self._end, self._at)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        self._end = self._at if size is None else size
        return self._end

    def readinto(self, buffer: Any) -> int:
        """Read metadata back; HDF5 does so for an attribute beyond 64 KiB (thousands of class names)."""
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))
        for offset, data in self.writes.items():
            first, last = max(offset, self._at), min(offset + len(data), self._at + len(view))
            if first < last:
                view[first - self._at : last - self._at] = data[first - offset : last - offset]
        self._at += len(view)
        return len(view)
