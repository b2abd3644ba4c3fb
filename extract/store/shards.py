"""The files that a store consists of, their names, and how the rows of several files are joined."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from headstart.extract.errors import StoreError
from headstart.extract.store.schema import REMOVED, Header, Rows
from headstart.files.urls import is_url, without_scheme

SHARD = re.compile(r"part-(?P<number>\d{8,})-(?P<digest>[0-9a-f]{16})\.h5")
PARTS = ".parts"
"""Ends the name of the folder of shards that a run keeps next to a single-file store."""
MODEL_FILE = "model.onnx"
"""The model's name in a folder of shards; in a single file it is the dataset ``model``."""


def shard_name(number: int, digest: str) -> str:
    """Name a shard by its number, which orders the shards of a folder, and its digest."""
    return f"part-{number:08d}-{digest[:16]}.h5"


def next_number(folder: Path) -> int:
    """Return the number after those of all shards in a folder; the first is 1."""
    last = [SHARD.fullmatch(path.name) for path in shards_of(folder)[-1:]]
    return max((int(match["number"]) + 1 for match in last if match), default=1)


def shards_of(folder: Path) -> list[Path]:
    """List a folder's finished shards, in the order in which they were written."""
    try:
        return sorted(path for path in folder.iterdir() if SHARD.fullmatch(path.name))
    except FileNotFoundError:  # a run that finishes deletes the folder
        return []


def is_store(path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> TypeGuard[str | os.PathLike[str]]:
    """Tell an embedding store from a folder of images (a folder by its content, anything else by its name)."""
    if not isinstance(path, str | os.PathLike):  # several image files
        return False
    local = Path(without_scheme(os.fspath(path)))
    if is_url(path) and not local.is_absolute():
        return local.suffix in (".h5", ".hdf5", ".emb")
    return bool(shards_of(local)) if local.is_dir() else local.suffix in (".h5", ".hdf5")


def files_of(path: Path) -> list[Path]:
    """Return the files of a store: itself, or a folder's shards.

    Raises `StoreError` if there are no shards, or the run that writes the store has not finished.
    """
    if path.is_dir():
        if files := shards_of(path):
            return files
        raise StoreError(
            f"{path}: expected an embedding store, found a folder without finished shards; run `headstart embed`"
        )
    parts = path.with_name(path.name + PARTS)
    if not path.exists() and parts.is_dir():
        raise StoreError(
            f"{path}: its run has not finished; run the same embed command again, or read the rows so far from {parts}"
        )
    return [path]


def relabelled(labels: NDArray[np.int32], own: tuple[str, ...], classes: tuple[str, ...]) -> NDArray[np.int32]:
    """Turn codes into `own` into codes into `classes`; -1 for a class that is not among them."""
    if own == classes:
        return labels
    code = {name: number for number, name in enumerate(classes)}
    codes = np.array([*(code.get(name, -1) for name in own), -1], np.int32)  # the last one serves label -1
    result: NDArray[np.int32] = codes[labels]
    return result


def only_used_classes(header: Header, rows: Rows) -> tuple[Header, Rows]:
    """Drop the classes that no row has, and renumber the others."""
    used = set(np.unique(rows.label).tolist())
    classes = tuple(name for code, name in enumerate(header.classes) if code in used)
    return replace(header, classes=classes), replace(rows, label=relabelled(rows.label, header.classes, classes))


def joined(parts: Sequence[tuple[Header, Rows]], location: object) -> tuple[Header, Rows]:
    """Concatenate the rows of several files under one header.

    Raises `StoreError` if they were not made by one model.
    """
    if len(parts) == 1:
        return parts[0]
    header, columns = _under_one_header(parts, location)
    return header, Rows.of({name: np.concatenate(pieces) for name, pieces in columns.items()})


def in_order(
    parts: list[tuple[Header, Rows]], location: object, store_of: NDArray[np.int32] | None = None
) -> tuple[Header, Rows, NDArray[np.int64]]:
    """Return the latest row per path, in order of path, under one header with the classes that these rows have.

    `store_of` numbers the store of each row, if there are several (see `latest_rows`). To hold few copies of the rows,
    `parts` is emptied and each column is freed once it is in order. The third result is the position of each row in the
    concatenated parts. Raises as `joined`.
    """
    header, columns = _under_one_header(parts, location)
    parts.clear()
    positions = latest_rows(np.concatenate(columns["path"]), np.concatenate(columns["status"]), store_of)
    rank = np.full(sum(map(len, columns["path"])), -1)
    rank[positions] = np.arange(len(positions))
    rows = Rows.of({name: _by_rank(columns.pop(name), rank, len(positions)) for name in list(columns)})
    return *only_used_classes(header, rows), positions


def _under_one_header(
    parts: Sequence[tuple[Header, Rows]], location: object
) -> tuple[Header, dict[str, list[NDArray[Any]]]]:
    header = reduce(Header.merged, [own for own, _ in parts])
    for own, _ in parts:
        header.require_same_origin(own, location)
    with_metadata = any(rows.metadata for _, rows in parts)
    of_parts = [rows.columns(with_metadata=with_metadata) for _, rows in parts]
    columns = {name: [own[name] for own in of_parts] for name in of_parts[0]}
    columns["label"] = [relabelled(rows.label, own.classes, header.classes) for own, rows in parts]
    return header, columns


def _by_rank(parts: list[NDArray[Any]], rank: NDArray[np.int64], n: int) -> NDArray[Any]:
    """Sort the concatenated values of the parts by their rank among n; values of rank -1 are left out."""
    if len(parts) == 1 and n == len(rank) and bool((rank == np.arange(n)).all()):
        return parts[0]
    result = np.empty((n, *parts[0].shape[1:]), np.result_type(*{part.dtype for part in parts}))
    start = 0
    while parts:
        part = parts.pop(0)
        ranks = rank[start : start + len(part)]
        result[ranks[ranks >= 0]] = part[ranks >= 0]
        start += len(part)
    return result


def latest_rows(
    path: NDArray[np.bytes_], status: NDArray[np.int8], store_of: NDArray[np.int32] | None = None
) -> NDArray[np.int64]:
    """Return the positions, in order of path, of the last row per path, unless that row is `REMOVED`.

    If the rows come from several stores, in ascending order of `store_of`, a row that is marked as removed in one store
    has no effect on the rows of another.
    """
    if bool((path[1:] > path[:-1]).all()):  # true of a finished single file
        return np.flatnonzero(status != REMOVED)
    order = np.argsort(path, kind="stable")
    if store_of is not None:
        order = order[_is_last(path[order], store_of[order]) & (status[order] != REMOVED)]
    is_last = _is_last(path[order])
    present: NDArray[np.int64] = order[is_last & (status[order] != REMOVED)]
    return present


def _is_last(*sorted_columns: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell which rows are the last of those with the same values."""
    if not len(sorted_columns[0]):
        return np.zeros(0, bool)
    changes = np.logical_or.reduce([column[1:] != column[:-1] for column in sorted_columns])
    return np.append(changes, True)
