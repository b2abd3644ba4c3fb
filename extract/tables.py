"""The files that a store consists of: which they are, and the columns of one, checked as it is read."""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from extract.errors import StoreError, one_line
from extract.hdf5 import own_dataset, read_whole, verify
from extract.remote import is_url, without_scheme
from extract.schema import DTYPES, EMBEDDED, REMOVED, ROW_DTYPES, Header, Rows
from extract.source import SPLITS

SHARD = re.compile(r"part-\d{8,}-([0-9a-f]{16})\.h5")
PARTS = ".parts"
"""What is added to a single file's name for the folder of its shards, while a run is under way."""
MODEL_FILE = "model.onnx"
"""The model's name in a folder of shards; in a single file it is the dataset ``model``."""


def is_store(place: str | os.PathLike[str]) -> bool:
    """Tell an embedding store from a folder of images: by its name, or a folder by what lies in it."""
    found = Path(without_scheme(os.fspath(place)))
    if is_url(place) and not found.is_absolute():
        return found.suffix in (".h5", ".hdf5", ".emb")
    return bool(shards_of(found)) if found.is_dir() else found.suffix in (".h5", ".hdf5")


def files_of(path: str | os.PathLike[str]) -> list[Path]:
    """Give the files that a store consists of: itself, or a folder's shards.

    Raises
    ------
    StoreError
        Where its run has not finished.
    """
    place = Path(path)
    if place.is_dir():
        return shards_of(place)
    parts = place.with_name(place.name + PARTS)
    if not place.exists() and parts.is_dir():
        raise StoreError(
            f"{place}: its run has not finished; run the same embed command again, or read the rows so far from {parts}"
        )
    return [place]


def shards_of(folder: Path) -> list[Path]:
    """List a folder's finished shards, in the order in which they were written."""
    try:
        return sorted(path for path in folder.iterdir() if SHARD.fullmatch(path.name))
    except FileNotFoundError:  # a run that finishes deletes it
        return []


def read_table(file: Path) -> tuple[str, Header, Rows]:
    """Give a file's digest, header and columns (but for the vectors), once it has been compared with its digest.

    Raises
    ------
    StoreError
        Where it is damaged, gone, or not of this schema.
    """
    digest = verify(file)
    named = SHARD.fullmatch(file.name)
    if named and named[1] != digest[:16]:
        raise StoreError(f"{file}: its name does not match its digest; delete it and embed again")
    try:
        with h5py.File(file, "r") as table:
            header = Header.from_attributes(table.attrs)
            rows = Rows(**{name: _column(table, name, kind) for name, kind in ROW_DTYPES.items()})
            vectors = own_dataset(table, header.output)
            shape, dtype = vectors.id.shape, vectors.id.dtype
    except StoreError as error:
        raise StoreError(f"{file}: {error}; embed again with this version") from None
    except FileNotFoundError:
        raise StoreError(
            f"{file}: is gone since it was listed, as its run has finished; open the store again"
        ) from None
    except (LookupError, OSError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError) as error:
        raise StoreError(f"{file}: not an embedding store of this version ({one_line(error)}); embed again") from None
    lengths = {len(getattr(rows, name)) for name in ROW_DTYPES} | {shape[0]}
    if lengths != {len(rows)} or shape[1:] != header.shape or dtype != DTYPES.get(header.dtype):
        raise StoreError(f"{file}: its columns differ in length or do not fit its header; embed again")
    for name, values, least, most in (
        ("label", rows.label, -1, len(header.classes)),
        ("split", rows.split, 0, len(SPLITS)),
        ("status", rows.status, EMBEDDED, REMOVED + 1),
    ):
        if len(rows) and not (least <= values.min() and values.max() < most):
            raise StoreError(f"{file}: its column {name!r} has codes that mean nothing; embed again")
    return digest, header, rows


def _column(table: h5py.File, name: str, kind: str) -> NDArray[Any]:
    found = own_dataset(table, name)
    if found.id.dtype.kind != np.dtype(kind).kind:
        raise StoreError(f"expected {name!r} as {kind}, found {found.id.dtype}")
    values: NDArray[Any] = read_whole(found).astype(kind, copy=False)
    return values


def relabelled(labels: NDArray[np.int32], own: tuple[str, ...], classes: tuple[str, ...]) -> NDArray[np.int32]:
    """Give label codes into `classes` for codes into `own`; -1 for a class that is not there."""
    if own == classes:
        return labels
    code = {name: number for number, name in enumerate(classes)}
    codes = np.array([*(code.get(name, -1) for name in own), -1], np.int32)  # the last one serves label -1
    result: NDArray[np.int32] = codes[labels]
    return result


def only_used_classes(header: Header, rows: Rows) -> tuple[Header, Rows]:
    """Drop the classes that no row has, and number the others anew."""
    used = set(np.unique(rows.label).tolist())
    classes = tuple(name for code, name in enumerate(header.classes) if code in used)
    return replace(header, classes=classes), replace(rows, label=relabelled(rows.label, header.classes, classes))


def latest_rows(path: NDArray[np.bytes_], status: NDArray[np.int8]) -> NDArray[np.int64]:
    """Pick the rows to be seen: in order of path, the last of each, without the removed."""
    order = np.argsort(path, kind="stable")
    paths = path[order]
    last = np.append(paths[1:] != paths[:-1], True) if len(paths) else np.zeros(0, bool)
    seen: NDArray[np.int64] = order[last]
    present: NDArray[np.int64] = seen[status[seen] != REMOVED]
    return present
