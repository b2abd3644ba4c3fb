"""What a place on disk holds, and how it compares with what it should."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.extract.errors import StoreError
from headstart.extract.store.shards import PARTS, shards_of
from headstart.extract.store.store import Store, open_files, open_store

Row = tuple[Any, ...]


def rows_of(store: Store) -> dict[str, Row]:
    """Give everything that a store says of each path, the vector's bytes included."""
    rows, vectors = store.rows, store.embeddings()
    return {
        path: (
            vectors[i].tobytes(), rows.sha256[i].tobytes(), int(rows.size[i]), int(rows.mtime_ns[i]),
            store.classes[rows.label[i]] if rows.label[i] >= 0 else None, int(rows.split[i]), int(rows.status[i]),
            bytes(rows.reason[i]),
        )
        for i, path in enumerate(store.paths)
    }  # fmt: skip


def rows_so_far(output: Path) -> dict[str, Row]:
    """Give the rows that a run would find: of a single file and the shards beside it, or of a folder of shards.

    Raises
    ------
    StoreError
        Where something there is damaged.
    """
    folder = output if output.suffix in (".emb", PARTS) else output.with_name(output.name + PARTS)
    files = [*([output] if output.is_file() else []), *shards_of(folder)]
    return rows_of(open_files(output, files)) if files else {}


@dataclass(frozen=True)
class Reference:
    """What an uninterrupted run gives.

    Attributes
    ----------
    rows
        Of a store; empty for other files.
    data
        The bytes of a single file; None for a folder.
    """

    rows: dict[str, Row]
    data: bytes | None

    @classmethod
    def of(cls, place: Path) -> "Reference":
        """Read a finished output."""
        is_store = place.suffix in (".h5", ".emb")
        return cls(rows_of(open_store(place)) if is_store else {}, None if place.is_dir() else place.read_bytes())

    def difference(self, place: Path) -> str:
        """Tell how another output differs: rows that are missing, extra or other; then bytes."""
        try:
            found = Reference.of(place)
        except (StoreError, OSError) as error:
            return f"{place.name}: {error}"
        missing, extra = self.rows.keys() - found.rows.keys(), found.rows.keys() - self.rows.keys()
        other = [path for path in self.rows.keys() & found.rows.keys() if self.rows[path] != found.rows[path]]
        if missing or extra or other:
            return f"{place.name}: rows missing {sorted(missing)[:3]}, extra {sorted(extra)[:3]}, other {other[:3]}"
        if self.data != found.data:
            return f"{place.name}: same rows, other bytes"
        if not self.rows and not self.data:
            return f"{place.name}: nothing to compare"
        return ""

    def wrong_rows(self, found: dict[str, Row]) -> list[str]:
        """List the paths whose row is not this one's."""
        return [path for path, row in found.items() if self.rows.get(path) != row]


def acknowledged(place: Path) -> set[str]:
    """Read the paths whose commit had returned (see `torture.seam`); a line that was cut off does not count."""
    if not place.exists():
        return set()
    found = set()
    for line in place.read_text("utf-8", "surrogateescape").splitlines():
        try:
            found.add(json.loads(line))
        except ValueError:
            continue
    return found


def same_arrays(mine: Any, theirs: Any) -> bool:
    """Compare arrays bit for bit."""
    return bool(np.asarray(mine).tobytes() == np.asarray(theirs).tobytes())
