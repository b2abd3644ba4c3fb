"""The rows that a store has already, looked up so that no image is computed twice."""

import os
import re
from collections.abc import Callable, Sequence

import numpy as np

from headstart.extract.errors import StoreError
from headstart.extract.sources.items import SPLITS, UNLISTED, Item, shown
from headstart.extract.sources.names import is_packed
from headstart.extract.sources.remote import exist_at
from headstart.extract.store.rows import NO_CONTENT, NO_DIGEST, Outcome
from headstart.extract.store.schema import EMBEDDED, Header
from headstart.extract.store.store import Store
from headstart.files.urls import is_url

MOST_ASKED = 200
"""Stored images at a URL that are looked for, to tell whether they are still there."""
SAME_NAMES = (b".jpg", b".jpeg", b".jfif", b".webp", b".gif", b".avif")
"""Names of images that every decoder reads alike, if they are whole; of other images, the bytes are looked at again."""
CHANGED = re.compile(
    rb"II[*+]\0|MM\0[*+]|BM|\0\0\0\x0cjP  |\xff\x4f\xff\x51|P[1-6]\s|\0\0\x01\0"  # TIFF, BMP, JPEG 2000, PPM, ICO
    rb"|\x89PNG\r\n\x1a\n.{16}[^\x08]|....ftyp(?:he|mi|ms)",  # PNG of other than 8 bits, HEIC
    re.DOTALL,
)
"""How files begin that decoder 2 may read otherwise than decoder 1."""
UNKNOWN = "not an image of a known format"
"""Begins decoder 1's reason for a file that begins like no image: it is none for decoder 2 either, unless `CHANGED`."""


class ReusableRows:
    """The rows of the store so far, if there is one, by path and by content; `header` is that of this run.

    Rows of an earlier decoder are reused only if this one would make the same of their images. Where this run reads
    metadata, rows without them are reused by content alone: the file is read again, but not embedded.
    """

    def __init__(self, store: Store | None, header: Header) -> None:
        self._store, self._root, self._decoder = store, header.root, header.decoder
        self.reads_metadata = header.has_metadata
        self._lacks_metadata = store.lacks_metadata if store is not None else np.zeros(0, bool)
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
        is_complete = not (self.reads_metadata and self._lacks_metadata[row])
        return row if is_same_file and was_read and is_complete and not self._may_differ(row, item) else None

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
        digest = self._stored.rows.sha256[row].tobytes()
        metadata = None if self._lacks_metadata[row] else self._stored.rows.metadata_of(row)
        return Outcome(item, digest, size, mtime_ns, vector, self._reason(row), False, metadata=metadata)

    def by_content(self, data: bytes, sha256: bytes, item: Item, size: int, mtime_ns: int) -> Outcome | None:
        """Make an outcome for an item from a row of this content, or return None if there is none to reuse."""
        is_empty = sha256 == NO_CONTENT  # then another file's reason may be another
        row = self._by_path.get(item.path) if is_empty else self.find_content(sha256)
        if is_empty and row is not None and self._stored.rows.sha256[row].tobytes() != NO_CONTENT:
            row = None
        return None if row is None or self._differs(row, data) else self.copied(row, item, size, mtime_ns)

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
            remedy = f"give one folder or list with all images, {remedy}"
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
        """Count the stored images that are still there, though none of the items; at a URL from a sample of them."""
        opened = tuple({item.container + b"/" for item in items if item.container})
        others = [path for path in missing if not (opened and path.startswith(opened))]
        if not is_url(self._root):
            root = os.fsencode(self._root)
            return sum(_is_there(root, path) for path in others)
        files = [_file_of(path) for path in others[:: len(others) // MOST_ASKED + 1]]
        asked = sorted({*files})
        there = dict(zip(asked, exist_at(self._root, asked), strict=True))
        return len(others) * sum(there[file] for file in files) // max(1, len(files))

    def gone(self, items: Sequence[Item]) -> list[bytes]:
        """Return the stored paths that are no longer among the items, except below folders that could not be listed."""
        if not self._by_path:
            return []
        paths = {item.path for item in items}
        unlisted = tuple(item.path + b"/" for item in items if item.reason.startswith(UNLISTED))
        return [path for path in self._by_path if path not in paths and not (unlisted and path.startswith(unlisted))]

    def has_outdated(self, store: Store) -> bool:
        """Tell whether a store has rows of an earlier decoder that a run must look at again."""
        is_older = store.header.decoder < self._decoder
        return is_older and any(self._is_suspect(store, row) for row in range(len(store)))

    def _may_differ(self, row: int, item: Item) -> bool:
        """Tell by an image's name, or its failure to be decoded, whether it must be read again."""
        return not item.reason and self._is_suspect(self._stored, row)

    def _is_suspect(self, store: Store, row: int) -> bool:
        if store.decoder_of(row) >= self._decoder or store.rows.sha256[row].tobytes() in (NO_DIGEST, NO_CONTENT):
            return False
        path: bytes = store.rows.path[row]
        return bool(store.rows.status[row] != EMBEDDED) or not path.lower().endswith(SAME_NAMES)

    def _differs(self, row: int, data: bytes) -> bool:
        """Tell by an image's bytes whether this decoder may make something else of it."""
        if self._stored.decoder_of(row) >= self._decoder:
            return False
        return bool(CHANGED.match(data)) or (self.has_failed(row) and not self._reason(row).startswith(UNKNOWN))

    def _reason(self, row: int) -> str:
        reason: bytes = self._stored.rows.reason[row]
        return reason.decode("utf-8", "replace")

    @property
    def _stored(self) -> Store:
        if self._store is None:
            raise StoreError("there are no rows yet")
        return self._store


def _file_of(path: bytes) -> bytes:
    """Return the archive or table that a path leads into, or the path."""
    inside = (path[: at.start()] for at in re.finditer(b"/", path) if is_packed(path[: at.start()]))
    return next(inside, path)


def _is_there(root: bytes, path: bytes) -> bool:
    try:
        os.lstat(os.path.join(root, path))
    except OSError as error:
        return isinstance(error, NotADirectoryError)  # an archive or a table: its path goes on inside it
    return True
