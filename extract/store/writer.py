"""Writing an embedding store: shards that are never modified, and their compaction into a single file."""

import shutil
import stat
import time
from collections.abc import Collection, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.extract.inference.model import Model
from headstart.extract.store.hdf5 import Column, write_hdf5
from headstart.extract.store.lock import locked
from headstart.extract.store.reuse import ReusableRows
from headstart.extract.store.rows import Outcome, columns_of, removed_rows, to_rows, to_vectors, write_shard
from headstart.extract.store.schema import COLUMN_DTYPES, DTYPES, Header, Rows
from headstart.extract.store.shards import MODEL_FILE, PARTS, next_number, only_used_classes, shards_of
from headstart.extract.store.store import Store, open_files
from headstart.files.atomic import (
    atomic_file,
    check_output,
    remove_unfinished,
    remove_unfinished_of,
    sync_folder,
    write_all,
)
from headstart.files.errors import OutputError

ROWS_A_SHARD = 512
SECONDS_A_SHARD = 5.0
"""A kill costs at most one shard: this many rows, or the rows of this many seconds."""


class StoreWriter:
    """Adds rows of one header and their model to a store, under its lock; a context manager.

    Attributes
    ----------
    header
        The header of the rows; once entered, rows have metadata if those of the store have them.
    output
        A single file, or a folder of shards (`is_folder`).
    reusable
        The rows that are stored already.
    removed
        Rows that `finish` dropped.
    """

    def __init__(self, output: Path, header: Header, model: Model) -> None:
        self.output, self.header, self._model = output, header, model
        self.is_folder = is_folder_store(output)
        self.folder = output if self.is_folder else output.with_name(output.name + PARTS)
        self.reusable = ReusableRows(None, header)
        self.removed = 0
        self._next = 0  # number of the next shard; 0: not known yet
        self._pending: list[Outcome] = []
        self._last_commit = time.monotonic()
        self._cleanup = ExitStack()

    def __enter__(self) -> "StoreWriter":
        check_output(self.output, self.is_folder)
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(lock_of(self.output), self.output))
                remove_unfinished(self.folder)
                remove_unfinished_of(self.output)
                if files := self._files():
                    location = self.output if self.output.exists() else self.folder  # an interrupted run's shards
                    store = open_files(location, files)
                    self.header.require_same_origin(store.header, location)
                    self.header = replace(self.header, has_metadata=self.header.has_metadata or bool(store.metadata))
                    self.reusable = ReusableRows(store, self.header)
                self.folder.mkdir(exist_ok=True)
                if not self.is_folder and self.output.exists():  # who may not read the store may not read its shards
                    mode = stat.S_IMODE(self.output.stat().st_mode)
                    self.folder.chmod(mode | (mode & 0o444) >> 2)
                sync_folder(self.folder.parent)
            except OSError as error:
                raise OutputError(f"{self.folder}: cannot be written: {error.strerror or error}") from None
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        with self._cleanup:
            self.commit()  # also after Ctrl-C: finished rows count
            with suppress(OSError):
                self.folder.rmdir()  # empty if nothing was written

    def add(self, outcome: Outcome) -> Outcome:
        """Take a row; it is durable after the next commit, which happens by itself from time to time.

        Returns
        -------
        The row as it will be stored: a failure if the vector does not fit the store's dtype.
        """
        outcome = fitting(outcome, self.header)
        self._pending.append(outcome)
        late = time.monotonic() - self._last_commit > SECONDS_A_SHARD
        if len(self._pending) >= ROWS_A_SHARD or late:
            self.commit()
        return outcome

    def commit(self) -> None:
        """Write the rows since the last commit as one durable shard."""
        if self._pending:
            rows = to_rows(self._pending, self.header.classes)
            self._write_shard(rows, to_vectors(self._pending, self.header))
            self._pending = []
        self._last_commit = time.monotonic()

    def finish(self, gone: Sequence[bytes] = ()) -> Store:
        """Commit, drop the rows of the paths that are gone, and give the finished store."""
        self.commit()
        self.removed = len(gone)
        if not self._files():  # this run had no images: an empty store is a result too
            self._write_shard(removed_rows([]), np.empty((0, *self.header.shape)))
        if self.is_folder:
            if gone:
                self._write_shard(removed_rows(gone), np.full((len(gone), *self.header.shape), np.nan))
            return open_files(self.folder, shards_of(self.folder))
        if shards_of(self.folder) or gone or not self.output.exists():
            store = open_files(self.output, self._files())
            decoder = store.header.decoder if self.reusable.has_outdated(store) else self.header.decoder
            store = replace(store, header=replace(store.header, root=self.header.root, decoder=decoder))
            compact(self.output, store, self._model, gone=set(gone))
        self.discard()
        return open_files(self.output, [self.output])

    def discard(self) -> None:
        """Delete the shards, once another file holds their rows.

        The last shard goes first: a reader meanwhile sees the first rows, or misses a shard that it has listed.

        Raises `OutputError` if the system refuses.
        """
        try:
            for shard in reversed(shards_of(self.folder)):
                shard.unlink()
            shutil.rmtree(self.folder)
        except OSError as error:
            raise OutputError(f"{self.folder}: cannot be deleted: {error.strerror or error}") from None

    def begin_shards(self) -> int:
        """Store the model, and give the number of the next shard.

        The caller may write shards from this number on; this writer numbers its next one after them.
        """
        path = self.folder / MODEL_FILE
        if not path.exists() or path.read_bytes() != self._model.data:
            with atomic_file(path) as file:
                write_all(file, self._model.data)
        self._next = 0
        return next_number(self.folder)

    def _files(self) -> list[Path]:
        base = [self.output] if not self.is_folder and self.output.exists() else []
        return [*base, *shards_of(self.folder)]

    def _write_shard(self, rows: Rows, vectors: NDArray[np.floating]) -> None:
        number = self._next or self.begin_shards()
        self._next = number + 1  # even if the write fails: a shard in doubt and the next one share no number
        write_shard(self.folder, self.header, number, rows, vectors)


def fitting(outcome: Outcome, header: Header) -> Outcome:
    """Return the outcome as it will be stored: a failure if its vector does not fit the store's dtype."""
    if outcome.vector is None or np.abs(outcome.vector).max() <= np.finfo(DTYPES[header.dtype]).max:
        return outcome
    advice = "; use --dtype float32" if header.dtype == "float16" and np.isfinite(outcome.vector).all() else ""
    reason = f"its {header.output} does not fit {header.dtype} (infinite, or too large){advice}"
    return replace(outcome, vector=None, reason=reason, metadata=None)


def compact(output: Path, store: Store, model: Model, *, gone: Collection[bytes] = ()) -> None:
    """Write a store's rows, except those of the paths that are gone, into one file, in bounded memory."""
    keep, rows = np.arange(len(store)), store.rows
    if gone:
        keep = np.array([i for i, path in enumerate(rows.path.tolist()) if path not in gone], np.int64)
        rows = rows.take(keep)
    header, rows = only_used_classes(store.header, rows)
    header = replace(header, has_metadata=bool(rows.metadata) and not store.lacks_metadata[keep].any())
    rows = Rows.of({name: _narrowed(name, column) for name, column in rows.columns().items()})
    dtype, shape = DTYPES[header.dtype], (len(keep), *header.shape)
    columns = {
        **columns_of(rows),
        "model": Column.of(np.frombuffer(model.data, np.uint8)),
        header.output: Column(dtype, shape, (block.astype(dtype) for block in store.blocks(keep))),
    }
    write_hdf5(output, header.to_attributes(), columns)


def _narrowed(name: str, column: NDArray[Any]) -> NDArray[Any]:
    """Give a column of text the width of its longest: a row that is gone may have been longer."""
    if COLUMN_DTYPES[name] != "S":
        return column
    return column.astype(f"S{max(1, int(np.char.str_len(column).max(initial=0)))}", copy=False)


def lock_of(output: Path) -> Path:
    """Name the lock that the writer of a store holds."""
    return output.with_name(f".{output.name}.lock")


def is_folder_store(output: Path) -> bool:
    """Tell whether a store is a folder of shards: it is one already, or is named like one (.emb, .parts)."""
    return output.suffix in (".emb", PARTS) or (output.is_dir() and bool(shards_of(output)))
