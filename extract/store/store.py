"""Reading an embedding store: one HDF5 file, or a folder of them, as one sequence of rows in order of path."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.extract.errors import StoreError
from headstart.extract.inference.model import Model, parse_model
from headstart.extract.sources.items import SPLITS
from headstart.extract.sources.labels import codes_among
from headstart.extract.store.hdf5 import own_dataset, states_digest
from headstart.extract.store.remote_copy import local_copy, naming_url
from headstart.extract.store.schema import EMBEDDED, FAILED, Header, Rows
from headstart.extract.store.shard_reader import ShardReader, Span
from headstart.extract.store.shards import MODEL_FILE, files_of, in_order, joined
from headstart.extract.store.tables import html_of, to_pandas, xy_of
from headstart.files.errors import one_line
from headstart.files.urls import is_url, without_scheme

BLOCK_ROWS, BLOCK_BYTES, SCATTERED_BYTES = 1024, 64 << 20, 256 << 20
FILES_AT_ONCE = 512
"""Files whose columns are joined at once: ten thousand times eight small arrays would fragment the memory."""


@dataclass(frozen=True)
class Store:
    """An embedding store that is open for reading: all but the vectors are in memory.

    Rows are in order of path. A later row for a path replaces an earlier one.

    Attributes
    ----------
    location
        The file or folder.
    header
        What holds for every row.
    rows
        The columns, `Rows`, of length n.
    files, roots, decoders, are_described
        The files of the store, and of each file the folder of images, the version of the decoder, and whether the
        metadata of its images were read.
    groups
        int64, (n,): the first row of each row's group, such as the photos of one patient, if labels were joined that
        state groups; else None. No file has them.
    split_origin
        How the splits were made, in words, if they are not those of the images.
    """

    location: Path
    header: Header = field(repr=False)
    rows: Rows = field(repr=False)
    files: tuple[Path, ...] = field(repr=False)
    _digests: tuple[str, ...] = field(repr=False)
    _vectors: tuple[Span, ...] = field(repr=False)
    roots: tuple[str, ...] = field(repr=False)
    decoders: tuple[int, ...] = field(repr=False)
    are_described: tuple[bool, ...] = field(repr=False)
    _file: NDArray[np.int32] = field(repr=False)
    _position: NDArray[np.int32] = field(repr=False)
    groups: NDArray[np.int64] | None = field(default=None, repr=False)
    split_origin: str = field(default="", repr=False)

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
        """bool, (n,): False if the image failed."""
        embedded: NDArray[np.bool_] = self.rows.status == EMBEDDED
        return embedded

    @property
    def metadata(self) -> dict[str, NDArray[Any]]:
        """Columns of length n: when, with what and where a photo was taken; none unless embedded with `metadata`.

        ``taken``: bytes S19, such as ``2024-05-01T12:30:00``; ``camera``: UTF-8 bytes; ``latitude`` and ``longitude``:
        float64, degrees. Empty or NaN if a photo does not state it.
        """
        return self.rows.metadata

    def require_metadata(self) -> None:
        """Refuse a store without the columns of `metadata`, by a `StoreError` that says how to add them."""
        if not self.metadata:
            raise StoreError(
                f"{self.location}: holds no time, camera or position of its photos; run the embed command that made it "
                "again with --metadata, which computes no embedding again"
            )

    @property
    def lacks_metadata(self) -> NDArray[np.bool_]:
        """bool, (n,): True if the image is embedded, but nobody looked for its metadata."""
        lacks: NDArray[np.bool_] = self.is_embedded & ~np.array(self.are_described)[self._file]
        return lacks

    @property
    def failures(self) -> dict[str, str]:
        """Path -> reason, of the images that failed."""
        failed = np.flatnonzero(self.rows.status == FAILED)
        return {os.fsdecode(self.rows.path[i]): self.rows.reason[i].decode("utf-8", "replace") for i in failed}

    def root_of(self, row: int) -> str:
        """Return the root that a row was written for; after an interrupted run it may differ from the header's."""
        return self.roots[int(self._file[row])]

    def decoder_of(self, row: int) -> int:
        """Return the version of the decoder that read a row's image."""
        return self.decoders[int(self._file[row])]

    def embeddings(self, which: NDArray[Any] | None = None) -> NDArray[np.float32]:
        """Read vectors.

        Parameters
        ----------
        which
            Row numbers, or a mask of length n; all rows by default.

        Returns
        -------
        float32, (m, d), or (m, h, w, c) for tensors at a cut, in the order asked for; NaN for a failure.

        Raises
        ------
        StoreError
            If another run has replaced the store since it was opened.
        """
        chosen = np.arange(len(self)) if which is None else np.asarray(which)
        if chosen.dtype == bool:
            chosen = np.flatnonzero(chosen)
        result = np.empty((len(chosen), *self.header.shape), np.float32)
        files = self._file[chosen]
        order = np.argsort(files, kind="stable")  # file by file, so that each is opened once
        for mine in np.split(order, np.flatnonzero(np.diff(files[order])) + 1) if len(order) else ():
            number = int(files[mine[0]])
            file, digest, vectors = self.files[number], self._digests[number], self._vectors[number]
            result[mine] = _read_vectors(file, digest, vectors, self._position[chosen[mine]])
        return result

    def xy(self, split: str | None = None) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
        """Return embeddings and class names, as scikit-learn takes them, of the images that have both.

        Parameters
        ----------
        split
            ``"train"``, ``"val"`` or ``"test"``; by default all images.

        Returns
        -------
        X, y
            float32, (n, d), and text, (n,).

        Raises
        ------
        OptionError
            If no image has this split.
        StoreError
            If it holds tensors at a cut, or another run has replaced it since it was opened.
        """
        return xy_of(self, split)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame` with a row per image, in the order of `embeddings`, which it does not contain.

        Its columns are path, label, split, status, reason, bytes, modified and sha256; and taken, camera, latitude and
        longitude, if the store has `metadata`.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        return to_pandas(self)

    def _repr_html_(self) -> str:
        return html_of(self)

    def batches(
        self, which: NDArray[np.int64] | None = None, size: int = 4096
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Return (row numbers, vectors) of these rows, by default all, at most `size` at a time."""
        rows = np.arange(len(self)) if which is None else which
        for start in range(0, len(rows), size):
            chosen = rows[start : start + size]
            yield chosen, self.embeddings(chosen)

    def blocks(self, which: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        """Return the vectors of rows in blocks that fit in memory.

        A block has `BLOCK_ROWS`, fewer if rows are long; or `SCATTERED_BYTES` if adjacent rows lie in many files, each
        of which is opened per block.
        """
        changes = np.count_nonzero(np.diff(self._file[which]))
        few, many = (max(1, size // (4 * self.header.dim)) for size in (BLOCK_BYTES, SCATTERED_BYTES))
        size = min(BLOCK_ROWS, few) if changes * 64 < len(which) else max(min(BLOCK_ROWS, few), many)
        for start in range(0, len(which), size):
            yield self.embeddings(which[start : start + size])

    def under(self, rows: Rows, classes: tuple[str, ...], which: NDArray[np.int64]) -> "Store":
        """Give the same vectors under other rows: row i, labelled with these classes, has the vector of `which[i]`."""
        header = replace(self.header, classes=classes)
        return replace(self, header=header, rows=rows, _file=self._file[which], _position=self._position[which])

    def with_classes(self, classes: Sequence[str]) -> "Store":
        """Give the same rows labelled with these classes alone; rows of any other class have no label."""
        codes = np.array([*codes_among(self.header.classes, classes), -1], np.int32)
        rows = replace(self.rows, label=codes[self.rows.label])
        return replace(self, header=replace(self.header, classes=tuple(classes)), rows=rows)

    def model(self) -> Model:
        """Return the model that made the rows, which the store contains.

        Raises
        ------
        StoreError
            If it is missing, or is another one.
        """
        model = parse_model(_model_bytes(self.location), f"{self.location} (the model inside)")
        if model.sha256 != self.header.model_sha256:
            raise StoreError(f"{self.location}: its model is not the one that made its rows; embed again")
        return model


def open_store(path: str | os.PathLike[str]) -> Store:
    """Open a store: a file or a folder of shards, here or at a URL, which is downloaded first.

    Every file is compared with its digest before it is parsed.

    Raises
    ------
    StoreError
        If there is none, or a file is damaged, unfinished or of another schema.
    """
    try:
        return _open(local_copy(path), path)
    except StoreError:
        if not is_url(without_scheme(os.fspath(path))):
            raise
    return _open(local_copy(path, check=True), path)  # perhaps only the copy was damaged


def _open(local: Path, path: str | os.PathLike[str]) -> Store:
    with naming_url(local, path):
        return open_files(local, files_of(local))


def open_files(location: Path, files: Sequence[Path], store_of: Sequence[int] = ()) -> Store:
    """Open at least one file as one store; rows of later files replace those of earlier ones.

    `store_of` numbers, in ascending order, the store that each file belongs to, if there are several: a row that one
    store has removed stays if another store has it.

    Raises
    ------
    StoreError
        As `open_store`; also if the files were not made by one model.
    """
    digests, vectors, headers, counts, parts = [], [], [], [], []
    reader = ShardReader()
    for start in range(0, len(files), FILES_AT_ONCE):
        shards = [reader.read(file) for file in files[start : start + FILES_AT_ONCE]]
        for shard in shards:
            digests.append(shard.digest)
            vectors.append(shard.vectors)
            headers.append((shard.header.root, shard.header.decoder, shard.header.has_metadata))
            counts.append(len(shard.rows))
        parts.append(joined([(shard.header, shard.rows) for shard in shards], location))
        del shards, shard
    stores = np.repeat(np.array(store_of, np.int32), counts) if store_of else None
    header, rows, row_of = in_order(parts, location, stores)
    file_of = np.repeat(np.arange(len(files), dtype=np.int32), counts)[row_of]
    positions = np.concatenate([np.arange(count, dtype=np.int32) for count in counts])[row_of]
    roots, decoders, are_described = zip(*headers, strict=True)
    of_files = tuple(files), tuple(digests), tuple(vectors), roots, decoders, are_described
    return Store(location, header, rows, *of_files, file_of, positions)


def _read_vectors(file: Path, digest: str, vectors: Span, positions: NDArray[np.int32]) -> NDArray[Any]:
    try:
        with open(file, "rb") as opened:
            if not states_digest(opened, digest):  # of the open file: a later replacement does not affect it
                raise StoreError(f"{file}: another run has replaced it since it was opened; reopen the store")
            return _at_positions(opened, vectors, positions)
    except FileNotFoundError:
        raise StoreError(f"{file}: was removed since the store was opened; reopen the store") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"{file}: cannot be read: {one_line(error)}") from None


def _at_positions(file: BinaryIO, vectors: Span, positions: NDArray[np.int32]) -> NDArray[Any]:
    first, last = int(positions.min()), int(positions.max())
    if last - first < 4 * len(positions):
        return vectors.read(file, first, last + 1 - first)[positions - first]
    rising, where = np.unique(positions, return_inverse=True)
    runs = np.split(rising, np.flatnonzero(np.diff(rising) > 1) + 1)
    return np.concatenate([vectors.read(file, int(run[0]), len(run)) for run in runs])[where]


def _model_bytes(location: Path) -> bytes:
    if location.is_dir():
        try:
            return (location / MODEL_FILE).read_bytes()
        except OSError as error:
            raise StoreError(f"{location / MODEL_FILE}: cannot be read: {error.strerror}; embed again") from None
    with h5py.File(location, "r") as file:
        if "model" not in file:
            raise StoreError(f"{location}: contains no model; embed again")
        try:
            return bytes(own_dataset(file, "model")[:].tobytes())
        except StoreError as error:
            raise StoreError(f"{location}: {error}; embed again") from None
