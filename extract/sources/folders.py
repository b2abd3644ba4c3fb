"""A local folder of images, walked into a sorted list of items."""

import os
from pathlib import Path

from headstart.extract.errors import SourceError
from headstart.extract.sources.items import UNLISTED, Item, plain, regular_item
from headstart.extract.sources.names import has_splits_at, is_hidden, label_and_split_of
from headstart.extract.sources.readers import LocalReader
from headstart.extract.sources.sidecars import without_sidecars


def folder_items(root: Path) -> list[Item]:
    """Walk a folder into items, sorted by path, without sidecar files.

    Raises `SourceError` if the folder itself cannot be listed, and as `without_sidecars`.
    """
    paths: list[bytes] = []
    unlisted: list[Item] = []
    pending = [(os.fsencode(root), b"")]
    while pending:
        folder, prefix = pending.pop()
        try:
            entries = _entries(folder)
        except OSError as error:
            if not prefix:
                raise SourceError(
                    f"{root}: cannot be listed: {plain(error)}; give a folder that you may read"
                ) from None
            unlisted.append(Item(prefix.rstrip(b"/"), -1, 0, None, "", f"{UNLISTED}: {plain(error)}"))
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                pending.append((entry.path, prefix + entry.name + b"/"))
            else:
                paths.append(prefix + entry.name)
    has_splits = has_splits_at(str(root), paths)
    items = [regular_item(root, path, *label_and_split_of(path, has_splits)) for path in paths]
    items = without_sidecars(items, LocalReader(root).fetch, str(root))
    return sorted(items + unlisted, key=lambda item: item.path)


def _entries(folder: bytes) -> list[os.DirEntry[bytes]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not is_hidden(entry.name)]
