"""The rows of an output on disk, and how they compare with a reference."""

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
    """Return all values of each path in a store, including the bytes of its vector."""
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
    """Return the rows that a run would find: of a single file and the shards beside it, or of a folder of shards.

    Raises
    ------
    StoreError
        If a file is damaged.
    """
    folder = output if output.suffix in (".emb", PARTS) else output.with_name(output.name + PARTS)
    files = [*([output] if output.is_file() else []), *shards_of(folder)]
    return rows_of(open_files(output, files)) if files else {}


@dataclass(frozen=True)
class Reference:
    """The result of an undisturbed run.

    Attributes
    ----------
    rows
        Rows of a store; empty for other files.
    data
        The bytes of a single file; None for a folder.
    """

    rows: dict[str, Row]
    data: bytes | None

    @classmethod
    def of(cls, path: Path) -> "Reference":
        """Read a finished output."""
        is_store = path.suffix in (".h5", ".emb")
        return cls(rows_of(open_store(path)) if is_store else {}, None if path.is_dir() else path.read_bytes())

    def difference(self, path: Path) -> str:
        """Describe how another output differs: rows that are missing, extra or different; then bytes."""
        try:
            found = Reference.of(path)
        except (StoreError, OSError) as error:
            return f"{path.name}: {error}"
        missing, extra = self.rows.keys() - found.rows.keys(), found.rows.keys() - self.rows.keys()
        other = [path for path in self.rows.keys() & found.rows.keys() if self.rows[path] != found.rows[path]]
        if missing or extra or other:
            return f"{path.name}: rows missing {sorted(missing)[:3]}, extra {sorted(extra)[:3]}, other {other[:3]}"
        if self.data != found.data:
            return f"{path.name}: same rows, other bytes"
        if not self.rows and not self.data:
            return f"{path.name}: nothing to compare"
        return ""

    def wrong_rows(self, found: dict[str, Row]) -> list[str]:
        """List the paths whose rows differ from the reference."""
        return [path for path, row in found.items() if self.rows.get(path) != row]


def acknowledged(path: Path) -> set[str]:
    """Read the paths whose commit had returned (see `torture.disk.seam`); a truncated line does not count."""
    if not path.exists():
        return set()
    found = set()
    for line in path.read_text("utf-8", "surrogateescape").splitlines():
        try:
            found.add(json.loads(line))
        except ValueError:
            continue
    return found


def same_arrays(mine: Any, theirs: Any) -> bool:
    """Compare arrays bit for bit."""
    return bool(np.asarray(mine).tobytes() == np.asarray(theirs).tobytes())
