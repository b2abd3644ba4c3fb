"""The rows that a store has already, looked up so that no image is computed twice."""

import os
from collections.abc import Callable, Sequence

import numpy as np

from headstart.extract.errors import StoreError
from headstart.extract.sources.items import SPLITS, UNLISTED, Item, shown
from headstart.extract.store.rows import NO_CONTENT, Outcome
from headstart.extract.store.schema import EMBEDDED
from headstart.extract.store.store import Store


class ReusableRows:
    """The rows of the store so far, if there is one, by path and by content; `root` is that of this run's images."""

    def __init__(self, store: Store | None, root: str) -> None:
        self._store, self._root = store, root
        self._by_path: dict[bytes, int] = {}
        self._by_content: dict[bytes, int] = {}
        if store is not None:
            self._by_path = {path: row for row, path in enumerate(store.rows.path.tolist())}
            was_read = np.flatnonzero(store.rows.sha256.any(axis=1))
            self._by_content = {store.rows.sha256[row].tobytes(): int(row) for row in was_read}

    def __len__(self) -> int:
        return len(self._by_path)

    def find(self, item: Item) -> int | None:
        """Return the row of an item that has not changed since it was stored, or None.

        Below another root the same path is another file: there, only content counts.
        """
        row = self._by_path.get(item.path)
        if row is None or self._stored.root_of(row) != self._root:
            return None
        rows = self._stored.rows
        is_same_file = rows.size[row] == item.size and rows.mtime_ns[row] == item.mtime_ns
        was_read = rows.sha256[row].any() or (item.reason and self._reason(row) == item.reason)
        return row if is_same_file and was_read else None

    def find_content(self, sha256: bytes) -> int | None:
        """Return a row of the same content, embedded or failed, or None."""
        return self._by_content.get(sha256)

    def has_failed(self, row: int) -> bool:
        """Tell whether a row is a failure."""
        return bool(self._stored.rows.status[row] != EMBEDDED)

    def has_same_label_and_split(self, row: int, item: Item) -> bool:
        """Tell whether a row has the item's label and split."""
        code = int(self._stored.rows.label[row])
        label = self._stored.header.classes[code] if code >= 0 else None
        return label == item.label and SPLITS[self._stored.rows.split[row]] == item.split

    def copied(self, row: int, item: Item, size: int, mtime_ns: int) -> Outcome:
        """Make an outcome for an item from a row of the same content."""
        vector = None if self.has_failed(row) else self._stored.embeddings(np.array([row]))[0]
        return Outcome(item, self._stored.rows.sha256[row].tobytes(), size, mtime_ns, vector, self._reason(row), False)

    def by_content(self, sha256: bytes, item: Item, size: int, mtime_ns: int) -> Outcome | None:
        """Make an outcome for an item from a row of this content, or return None if there is none."""
        is_empty = sha256 == NO_CONTENT  # then another file's reason may be another
        row = self._by_path.get(item.path) if is_empty else self.find_content(sha256)
        if is_empty and row is not None and self._stored.rows.sha256[row].tobytes() != NO_CONTENT:
            row = None
        return None if row is None else self.copied(row, item, size, mtime_ns)

    def require_same_images(self, items: Sequence[Item]) -> None:
        """Refuse to replace the rows of one folder, list, archive or table by those of another.

        A folder may have been moved, and its images renamed; a list may have been edited. Raises `StoreError` if fewer
        than half of the stored paths are among the items, and the rows have another root, or most of them are of
        images that are there still, while most of the items are not stored.
        """
        paths = {item.path for item in items}
        missing = [path for path in self._by_path if path not in paths]
        if 2 * len(missing) <= len(self):
            return
        root, remedy = self._stored.header.root, "choose another output with -o, or delete the store"
        if root != self._root:
            images = f"the images of {root}, not of {self._root}"
        elif 2 * (len(self) - len(missing)) < len(paths) and 2 * self._number_left_out(missing, items) > len(self):
            images = f"other images of {root}, such as {shown(missing[0])}"
            remedy = f"put all images into one list, {remedy}"
        else:
            return
        raise StoreError(f"{self._stored.location}: holds {images}; {remedy}")

    def require_no_others_to_move(self, holds: Callable[[bytes], bool]) -> None:
        """Refuse a share of moved images if one file holds rows of other shares: it states one root for all its rows.

        Raises `StoreError`, if there are such rows.
        """
        if self._store is None or self._store.location.is_dir():  # each shard of a folder states its own
            return
        if any(self._store.root_of(row) != self._root and not holds(path) for path, row in self._by_path.items()):
            raise StoreError(
                f"{self._store.location}: holds other shards' images of {self._store.header.root}, but this shard's "
                f"are in {self._root}; run once without --shard, or write to another output"
            )

    def _number_left_out(self, missing: Sequence[bytes], items: Sequence[Item]) -> int:
        """Count the stored images that are still on disk, though none of the items; at a URL none is looked for."""
        opened = tuple({item.container + b"/" for item in items if item.container})
        root = os.fsencode(self._root)
        return sum(not (opened and path.startswith(opened)) and _is_there(root, path) for path in missing)

    def gone(self, items: Sequence[Item]) -> list[bytes]:
        """Return the stored paths that are no longer among the items, except below folders that could not be listed."""
        if not self._by_path:
            return []
        paths = {item.path for item in items}
        unlisted = tuple(item.path + b"/" for item in items if item.reason.startswith(UNLISTED))
        return [path for path in self._by_path if path not in paths and not (unlisted and path.startswith(unlisted))]

    def _reason(self, row: int) -> str:
        reason: bytes = self._stored.rows.reason[row]
        return reason.decode("utf-8", "replace")

    @property
    def _stored(self) -> Store:
        if self._store is None:
            raise StoreError("there are no rows yet")
        return self._store


def _is_there(root: bytes, path: bytes) -> bool:
    try:
        os.lstat(os.path.join(root, path))
    except OSError as error:
        return isinstance(error, NotADirectoryError)  # an archive or a table: its path goes on inside it
    return True
