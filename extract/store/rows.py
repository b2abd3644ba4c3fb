"""The outcome of one image, and many outcomes as the columns of a store."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.extract.metadata import Metadata
from headstart.extract.sources.items import SPLITS, Item
from headstart.extract.store.hdf5 import Column, write_into
from headstart.extract.store.schema import (
    DTYPES,
    EMBEDDED,
    FAILED,
    METADATA_DTYPES,
    REMOVED,
    SPLIT,
    STATUS,
    Header,
    Rows,
)
from headstart.extract.store.shards import shard_name
from headstart.files.atomic import atomic_file, write_all

NO_DIGEST = bytes(32)
"""The digest of a file that could not be read; the next run tries again."""
NO_CONTENT = hashlib.sha256(b"").digest()
"""The digest of an image that does not exist; the next run does not try again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one item: a vector, or the reason why there is none.

    Attributes
    ----------
    item
        The input.
    sha256
        32 bytes: digest of its content; zeros if it could not be read.
    size, mtime_ns
        Of the file that was really read.
    vector
        (d,), or None for a failure.
    reason
        Why it failed.
    computed
        Whether this run computed it, rather than copied a stored row of the same content.
    notes
        What was odd about an image that was embedded all the same; not stored.
    metadata
        What the photo says about itself; None if nobody looked.
    """

    item: Item
    sha256: bytes
    size: int
    mtime_ns: int
    vector: NDArray[np.floating] | None
    reason: str = ""
    computed: bool = True
    notes: tuple[str, ...] = ()
    metadata: Metadata | None = None


def columns_of(rows: Rows) -> dict[str, Column]:
    """Return the datasets of a file that holds these rows."""
    meanings = {"status": STATUS, "split": SPLIT}
    return {name: Column.of(column, meanings.get(name)) for name, column in rows.columns().items()}


def to_rows(outcomes: Sequence[Outcome], classes: Sequence[str]) -> Rows:
    """Make columns of outcomes, with those of metadata if any has them; label codes point into `classes`."""
    code = {name: number for number, name in enumerate(classes)} | {None: -1}
    return Rows(
        path=np.array([o.item.path for o in outcomes], np.bytes_),
        sha256=np.frombuffer(b"".join(o.sha256 for o in outcomes), np.uint8).reshape(-1, 32),
        size=np.array([o.size for o in outcomes], np.int64),
        mtime_ns=np.array([o.mtime_ns for o in outcomes], np.int64),
        label=np.array([code[o.item.label] for o in outcomes], np.int32),
        split=np.array([SPLITS.index(o.item.split) for o in outcomes], np.int8),
        status=np.array([FAILED if o.vector is None else EMBEDDED for o in outcomes], np.int8),
        reason=np.array([o.reason.encode("utf-8", "replace")[:300] for o in outcomes], np.bytes_),
        metadata=_metadata_columns(outcomes) if any(o.metadata for o in outcomes) else {},
    )


def _metadata_columns(outcomes: Sequence[Outcome]) -> dict[str, NDArray[Any]]:
    found = [outcome.metadata or Metadata() for outcome in outcomes]
    return {
        "taken": np.array([one.taken.encode() for one in found], METADATA_DTYPES["taken"]),
        "camera": np.array([one.camera.encode() for one in found], np.bytes_),
        "latitude": np.array([one.latitude for one in found], np.float64),
        "longitude": np.array([one.longitude for one in found], np.float64),
    }


def to_vectors(outcomes: Sequence[Outcome], header: Header) -> NDArray[np.float32]:
    """Return float32, (n, *shape): the vectors of outcomes; NaN for a failure."""
    vectors = np.full((len(outcomes), *header.shape), np.nan, np.float32)
    for vector, outcome in zip(vectors, outcomes, strict=True):
        if outcome.vector is not None:
            vector[:] = outcome.vector
    return vectors


def removed_rows(paths: Sequence[bytes]) -> Rows:
    """Return rows that mark these paths as removed."""
    rows = to_rows([Outcome(Item(path, 0, 0), NO_DIGEST, 0, 0, None) for path in paths], ())
    rows.status[:] = REMOVED
    return rows


def write_shard(folder: Path, header: Header, number: int, rows: Rows, vectors: NDArray[np.floating]) -> Path:
    """Write rows and their vectors, (n, *shape), durably as the shard of this number."""
    header = replace(header, has_metadata=header.has_metadata and bool(rows.metadata))
    columns = {**columns_of(rows), header.output: Column.of(vectors.astype(DTYPES[header.dtype]))}
    content = io.BytesIO()
    digest = write_into(content, header.to_attributes(), columns)
    path = folder / shard_name(number, digest)
    with atomic_file(path) as file:
        write_all(file, content.getbuffer())
    return path
