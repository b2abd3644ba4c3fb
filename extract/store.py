"""Reading an embedding store: one HDF5 file, or a folder of them, seen as one table in order of path."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from extract.errors import StoreError, one_line
from extract.hdf5 import own_dataset, read_whole, states_digest, verify
from extract.model import Model, parse_model
from extract.schema import DTYPES, EMBEDDED, FAILED, REMOVED, ROW_DTYPES, Header, Rows
from extract.source import SPLITS

SHARD = re.compile(r"part-\d{8,}-([0-9a-f]{16})\.h5")
PARTS = ".parts"
"""What is added to a single file's name for the folder of its shards, while a run is under way."""
BLOCK_ROWS, SCATTERED_BYTES = 1024, 256 << 20
MODEL_FILE = "model.onnx"
"""The model's name in a folder of shards; in a single file it is the dataset ``model``."""


@dataclass(frozen=True)
class Store:
    """An embedding store that has been opened for reading: all of its rows but the vectors are in memory.

    Rows are in order of path. A later row for a path takes the place of an earlier one.

    Attributes
    ----------
    place
        The file or folder.
    header
        What holds for every row.
    rows
        The columns, `Rows`, of length n.
    files, roots
        What it consists of, and the folder of images that each file was written for.
    """

    place: Path
    header: Header = field(repr=False)
    rows: Rows = field(repr=False)
    files: tuple[Path, ...] = field(repr=False)
    _digests: tuple[str, ...] = field(repr=False)
    roots: tuple[str, ...] = field(repr=False)
    _file: NDArray[np.int32] = field(repr=False)
    _position: NDArray[np.int32] = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of the label codes."""
        return list(self.header.classes)

    @property
    def paths(self) -> list[str]:
        """Paths of all rows, relative to the root, as Python names files (undecodable bytes as lone surrogates)."""
        return [os.fsdecode(path) for path in self.rows.path.tolist()]

    @property
    def labels(self) -> NDArray[np.int32]:
        """int32, (n,): label codes; -1 without a label."""
        return self.rows.label

    @property
    def splits(self) -> NDArray[np.str_]:
        """Text, (n,): ``""``, ``"train"``, ``"val"`` or ``"test"``."""
        return np.array(SPLITS)[self.rows.split]

    @property
    def is_embedded(self) -> NDArray[np.bool_]:
        """bool, (n,): False where the image failed."""
        embedded: NDArray[np.bool_] = self.rows.status == EMBEDDED
        return embedded

    @property
    def failures(self) -> dict[str, str]:
        """Path -> reason, of the images that failed."""
        failed = np.flatnonzero(self.rows.status == FAILED)
        return {os.fsdecode(self.rows.path[i]): self.rows.reason[i].decode("utf-8", "replace") for i in failed}

    def root_of(self, row: int) -> str:
        """Give the root that a row was written for; after a run that was cut off it may differ from the header's."""
        return self.roots[int(self._file[row])]

    def embeddings(self, which: NDArray[Any] | None = None) -> NDArray[np.float32]:
        """Read vectors.

        Parameters
        ----------
        which
            Row numbers, or a mask of length n; all rows by default.

        Returns
        -------
        float32, (m, d), in the order asked for; NaN for a row that failed.

        Raises
        ------
        StoreError
            Where another run has replaced the store since it was opened.
        """
        chosen = np.arange(len(self)) if which is None else np.asarray(which)
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        result = np.empty((len(chosen), self.header.dim), np.float32)
        files = self._file[chosen]
        order = np.argsort(files, kind="stable")  # one file after the other, each looked at once
        for mine in np.split(order, np.flatnonzero(np.diff(files[order])) + 1) if len(order) else ():
            number = int(files[mine[0]])
            file, digest = self.files[number], self._digests[number]
            result[mine] = _read_vectors(file, digest, self.header.output, self._position[chosen[mine]])
        return result

    def batches(self, size: int = 4096) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Give (row numbers, vectors) in order, at most `size` rows at a time."""
        for start in range(0, len(self), size):
            chosen = np.arange(start, min(start + size, len(self)))
            yield chosen, self.embeddings(chosen)

    def blocks(self, which: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        """Give the vectors of rows a block at a time.

        Of `BLOCK_ROWS`, or of `SCATTERED_BYTES` where neighbours lie in many files: each is opened for every block.
        """
        changes = np.count_nonzero(np.diff(self._file[which]))
        many = SCATTERED_BYTES // (4 * self.header.dim)
        size = BLOCK_ROWS if changes * 64 < len(which) else max(BLOCK_ROWS, many)
        for start in range(0, len(which), size):
            yield self.embeddings(which[start : start + size])

    def model(self) -> Model:
        """Give the model that made this store, which it carries.

        Raises
        ------
        StoreError
            Where it is not there, or not the one that the rows were made with.
        """
        model = parse_model(_model_bytes(self.place), f"{self.place} (the model inside)")
        if model.sha256 != self.header.model_sha256:
            raise StoreError(f"{self.place}: the model that it carries is not the one that made its rows; embed again")
        return model


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a store: a file, or a folder of shards.

    Every file is compared with its digest before it is parsed.

    Raises
    ------
    StoreError
        Where there is none, or a file is damaged, unfinished or of another schema.
    """
    return open_files(Path(path), files_of(path))


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


def open_files(place: Path, files: Sequence[Path]) -> Store:
    """Open store files as one, the later before the earlier where both have a path.

    Raises
    ------
    StoreError
        As `open_store`; also where they were not made by one model.
    """
    if not files:
        raise StoreError(
            f"{place}: expected an embedding store, found a folder without finished shards; run `headstart embed`"
        )
    digests: list[str] = []
    headers: list[Header] = []
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in ROW_DTYPES}
    for file in files:
        digest, own, part = _read_table(file)
        digests.append(digest)
        headers.append(own)
        for name, values in columns.items():
            values.append(getattr(part, name))
    header = reduce(Header.merged, headers)
    for own in headers:
        header.require_same_origin(own, place)
    columns["label"] = [
        relabelled(labels, own.classes, header.classes) for labels, own in zip(columns["label"], headers, strict=True)
    ]
    counts = [len(part) for part in columns["path"]]
    # With many rows every copy of them counts: each column is joined and put in order by itself, its parts let go.
    path, status = (np.concatenate(columns[name]) for name in ("path", "status"))
    keep = _latest(path, status)
    whole = slice(None) if len(keep) == len(path) and bool((keep == np.arange(len(path))).all()) else keep
    del path, status
    rows = Rows(**{name: np.concatenate(columns.pop(name))[whole] for name in ROW_DTYPES})
    header, rows = only_used_classes(header, rows)
    number = np.repeat(np.arange(len(files), dtype=np.int32), counts)[whole]
    position = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])[whole]
    roots = tuple(own.root for own in headers)
    return Store(place, header, rows, tuple(files), tuple(digests), roots, number, position)


def only_used_classes(header: Header, rows: Rows) -> tuple[Header, Rows]:
    """Drop the classes that no row has, and number the others anew."""
    used = set(np.unique(rows.label).tolist())
    classes = tuple(name for code, name in enumerate(header.classes) if code in used)
    return replace(header, classes=classes), replace(rows, label=relabelled(rows.label, header.classes, classes))


def shards_of(folder: Path) -> list[Path]:
    """List a folder's finished shards, in the order in which they were written."""
    try:
        return sorted(path for path in folder.iterdir() if SHARD.fullmatch(path.name))
    except FileNotFoundError:  # a run that finishes deletes it
        return []


def _read_table(file: Path) -> tuple[str, Header, Rows]:
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
    if lengths != {len(rows)} or shape[1:] != (header.dim,) or dtype != DTYPES.get(header.dtype):
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


def _latest(path: NDArray[np.bytes_], status: NDArray[np.int8]) -> NDArray[np.int64]:
    """Pick the rows to be seen: in order of path, the last of each, without the removed."""
    order = np.argsort(path, kind="stable")
    paths = path[order]
    last = np.append(paths[1:] != paths[:-1], True) if len(paths) else np.zeros(0, bool)
    seen: NDArray[np.int64] = order[last]
    present: NDArray[np.int64] = seen[status[seen] != REMOVED]
    return present


def _read_vectors(file: Path, digest: str, output: str, positions: NDArray[np.int32]) -> NDArray[Any]:
    try:
        with h5py.File(file, "r") as table:
            if not states_digest(file, digest):  # asked with the file open: a later replacement does not reach it
                raise StoreError(f"{file}: was replaced by another run since it was opened; open it again")
            return _at_positions(own_dataset(table, output), positions)
    except FileNotFoundError:
        raise StoreError(f"{file}: is gone since the store was opened; open it again") from None


def _at_positions(vectors: h5py.Dataset, positions: NDArray[np.int32]) -> NDArray[Any]:
    first, last = int(positions.min()), int(positions.max())
    if last - first < 4 * len(positions):
        block: NDArray[Any] = vectors[first : last + 1]
        return block[positions - first]
    rising, where = np.unique(positions, return_inverse=True)
    chosen: NDArray[Any] = vectors[rising]
    return chosen[where]


def _model_bytes(place: Path) -> bytes:
    if place.is_dir():
        try:
            return (place / MODEL_FILE).read_bytes()
        except OSError as error:
            raise StoreError(f"{place / MODEL_FILE}: cannot be read: {error.strerror}; embed again") from None
    with h5py.File(place, "r") as table:
        if "model" not in table:
            raise StoreError(f"{place}: carries no model; embed again")
        try:
            return bytes(own_dataset(table, "model")[:].tobytes())
        except StoreError as error:
            raise StoreError(f"{place}: {error}; embed again") from None
