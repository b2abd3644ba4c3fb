"""A local folder of images, walked into a sorted list of items."""

import os
from pathlib import Path

from headstart.extract.errors import SourceError
from headstart.extract.sources.items import UNLISTED, Item, Source, plain, regular_item
from headstart.extract.sources.names import Layout, is_hidden, layout_of
from headstart.extract.sources.readers import LocalReader
from headstart.extract.sources.sidecars import images_left_out, notes_on_sidecars, without_sidecars

Above = tuple[tuple[int, int], ...] | None
"""Device and inode of each folder that holds another one; None if no links are followed."""


def find_folder_images(root: Path, follow_links: bool = False) -> Source:
    """Walk a folder, without sidecar files; with `follow_links`, also into links, but for those to a folder above.

    Raises `SourceError` if the folder itself cannot be listed, and as `without_sidecars`.
    """
    paths: list[bytes] = []
    folders: list[bytes] = []
    unlisted: list[Item] = []
    pending: list[tuple[bytes, bytes, Above]] = [(os.fsencode(root), b"", () if follow_links else None)]
    while pending:
        folder, prefix, above = pending.pop()
        try:
            above = None if above is None else (*above, _identity(folder))
            entries = _entries(folder)
        except OSError as error:
            if not prefix:
                raise SourceError(
                    f"{root}: cannot be listed: {plain(error)}; give a folder that you may read"
                ) from None
            unlisted.append(Item(prefix.rstrip(b"/"), -1, 0, None, "", f"{UNLISTED}: {plain(error)}"))
            continue
        for entry in entries:
            if _is_walked(entry, above):
                pending.append((entry.path, prefix + entry.name + b"/", above))
                folders.append(prefix + entry.name)
            else:
                paths.append(prefix + entry.name)
    layout = layout_of(str(root), paths)
    listed = [regular_item(root, path, *layout.label_and_split(path), follows=follow_links) for path in paths]
    items = without_sidecars(listed, LocalReader(root).fetch, str(root))
    notes = [
        *layout.notes,
        *_notes_on_empty(layout, folders, items + unlisted),
        *notes_on_sidecars(images_left_out(listed, items)),
    ]
    return Source(root, sorted(items + unlisted, key=lambda item: item.path), notes)


def _notes_on_empty(layout: Layout, folders: list[bytes], items: list[Item]) -> list[str]:
    """Name the class folders without any file."""
    labels = {item.label for item in items} | {layout.label_and_split(item.path + b"/")[0] for item in items}
    empty = {layout.label_and_split(folder + b"/")[0] for folder in folders} - labels - {None}
    names = ", ".join(sorted(repr(name) for name in empty))
    return [f"no images in the class folders {names}"] * bool(empty and len(labels) > 1)


def _is_walked(entry: os.DirEntry[bytes], above: Above) -> bool:
    if above is None or not entry.is_symlink():
        return entry.is_dir(follow_symlinks=False)
    try:
        return os.path.isdir(entry.path) and _identity(entry.path) not in above
    except OSError:
        return False


def _identity(folder: bytes) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _entries(folder: bytes) -> list[os.DirEntry[bytes]]:
    with os.scandir(folder) as entries:
        return [entry for entry in entries if not is_hidden(entry.name)]
