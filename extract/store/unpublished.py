"""Rows that a run on this machine made, and that its store at a URL does not have yet.

They are merged row by row with what is published there (a three-way merge, as of text in version control): a row
counts if the run changed it, and nobody has published another since the run began.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from headstart.extract.errors import StoreError
from headstart.extract.store.rows import write_shard
from headstart.extract.store.schema import REMOVED
from headstart.extract.store.shard_reader import Shard, ShardReader
from headstart.extract.store.shards import next_number

Values = tuple[object, ...]


def keep_unpublished(files: Sequence[Path], folder: Path, base: Sequence[Path], published: Sequence[Path]) -> None:
    """Replace files by shards, in a folder, of those of their rows that are neither published nor outdated.

    Parameters
    ----------
    files
        What runs wrote. A damaged file is deleted, and so is one of another model than what is published.
    base
        The files of the store that the runs began with.
    published
        The files of the store that is at the URL now.
    """
    before: dict[bytes, Values] = {}
    with suppress(StoreError):  # without it, only rows whose path is not published are kept
        before = _values_by_path(base)
    now = _values_by_path(published)
    origin = [ShardReader().read(file).header for file in published[:1]]
    for file in files:
        with suppress(StoreError):
            shard = ShardReader().read(file)
            for header in origin:
                header.require_same_origin(shard.header, file)
            keep = np.array(
                [
                    row
                    for row, (path, values) in enumerate(_values(shard))
                    if shard.rows.status[row] != REMOVED
                    and values != before.get(path)
                    and now.get(path) == before.get(path)
                ],
                np.int64,
            )
            if len(keep):
                folder.mkdir(exist_ok=True)
                with open(file, "rb") as opened:
                    vectors = shard.vectors.read(opened)[keep]
                write_shard(folder, shard.header, next_number(folder), shard.rows.take(keep), vectors)
    for file in files:
        file.unlink(missing_ok=True)


def paths_of(shards: Iterable[Path]) -> set[bytes]:
    """Return the paths of all rows of these files, whatever their status; raises `StoreError` if one is damaged."""
    return {path for shard in shards for path in ShardReader().read(shard).rows.path.tolist()}


def _values_by_path(files: Sequence[Path]) -> dict[bytes, Values]:
    found: dict[bytes, Values] = {}
    for file in files:
        shard = ShardReader().read(file)
        found |= dict(_values(shard))
        for path in shard.rows.path[shard.rows.status == REMOVED].tolist():
            del found[path]
    return found


def _values(shard: Shard) -> Iterator[tuple[bytes, Values]]:
    """Give the path of each row, and all that the row says of the image, except for its vector."""
    rows, classes = shard.rows, (*shard.header.classes, None)  # the last one serves label -1
    labels = [classes[code] for code in rows.label.tolist()]
    columns = (rows.size, rows.mtime_ns, rows.split, rows.status, rows.reason)
    digests = map(bytes, rows.sha256)
    return zip(
        rows.path.tolist(), zip(labels, digests, *(column.tolist() for column in columns), strict=True), strict=True
    )
