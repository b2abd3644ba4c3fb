"""The files that a store consists of, and how the rows of several become one table."""

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.extract.errors import StoreError
from headstart.extract.store.schema import REMOVED, ROW_DTYPES, Header, Rows
from headstart.files.urls import is_url, without_scheme

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


def joined(parts: Sequence[tuple[Header, Rows]], place: object) -> tuple[Header, Rows]:
    """Give the rows of several files one after the other, under one header.

    Raises
    ------
    StoreError
        Where they were not made by one model.
    """
    if len(parts) == 1:
        return parts[0]
    header, columns = _under_one_header(parts, place)
    return header, Rows(**{name: np.concatenate(columns[name]) for name in ROW_DTYPES})


def in_order(parts: list[tuple[Header, Rows]], place: object) -> tuple[Header, Rows, NDArray[np.int64]]:
    """Give the rows to be seen, in order of path, under one header with the classes that they have.

    With many rows every copy of them counts: `parts` is emptied, and each column of it let go once it is in order.

    Returns
    -------
    The header, the rows, and the number that each of them has, the parts one after the other.

    Raises
    ------
    StoreError
        As `joined`.
    """
    header, columns = _under_one_header(parts, place)
    parts.clear()
    numbers = latest_rows(*(np.concatenate(columns[name]) for name in ("path", "status")))
    place_of = np.full(sum(map(len, columns["path"])), -1)
    place_of[numbers] = np.arange(len(numbers))
    rows = Rows(**{name: _placed(columns.pop(name), place_of, len(numbers)) for name in ROW_DTYPES})
    return *only_used_classes(header, rows), numbers


def _under_one_header(
    parts: Sequence[tuple[Header, Rows]], place: object
) -> tuple[Header, dict[str, list[NDArray[Any]]]]:
    header = reduce(Header.merged, [own for own, _ in parts])
    for own, _ in parts:
        header.require_same_origin(own, place)
    columns = {name: [getattr(rows, name) for _, rows in parts] for name in ROW_DTYPES}
    columns["label"] = [relabelled(rows.label, own.classes, header.classes) for own, rows in parts]
    return header, columns


def _placed(parts: list[NDArray[Any]], place_of: NDArray[np.int64], n: int) -> NDArray[Any]:
    """Put each value of the parts, one after the other, at its place among n; those of place -1 are left out."""
    if len(parts) == 1 and n == len(place_of) and bool((place_of == np.arange(n)).all()):
        return parts[0]
    result = np.empty((n, *parts[0].shape[1:]), np.result_type(*{part.dtype for part in parts}))
    start = 0
    while parts:
        part = parts.pop(0)
        places = place_of[start : start + len(part)]
        result[places[places >= 0]] = part[places >= 0]
        start += len(part)
    return result


def latest_rows(path: NDArray[np.bytes_], status: NDArray[np.int8]) -> NDArray[np.int64]:
    """Pick the rows to be seen: in order of path, the last of each, without the removed."""
    if bool((path[1:] > path[:-1]).all()):  # as one finished file has them
        return np.flatnonzero(status != REMOVED)
    order = np.argsort(path, kind="stable")
    paths = path[order]
    is_last = np.append(paths[1:] != paths[:-1], True) if len(paths) else np.zeros(0, bool)
    del paths  # as large as what it was taken from
    present: NDArray[np.int64] = order[is_last & (status[order] != REMOVED)]
    return present
