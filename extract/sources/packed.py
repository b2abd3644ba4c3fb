"""Sources that are a few large files with many images each: tar archives and Parquet tables.

A tar is read as if it were unpacked in its folder: its own name is never a class, the folders in it and above it are. A
table has the columns of a manifest, and the images themselves instead of their paths.
"""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

from headstart.extract.errors import SourceError
from headstart.extract.sources.items import Item, Source, regular_item, shown
from headstart.extract.sources.names import COMPRESSED, SPLIT_NAMES, TAR, has_splits_at, is_packed, label_and_split_of
from headstart.extract.sources.open import open_reader
from headstart.extract.sources.tables import table_items
from headstart.extract.sources.tars import compressed_archive, is_image_name, tar_items
from headstart.files.filesystems import REQUESTS_AT_ONCE
from headstart.files.urls import is_url


def unpacked(source: Source) -> Source:
    """List the images of archives and tables one by one; a source with images as plain files stays as it is.

    Raises `SourceError` if an archive is compressed, a table has no images, or all of them are empty.
    """
    containers = [item for item in source.items if is_packed(item.path) and not item.reason]
    if not containers or any(is_image_name(item.path) for item in source.items):
        return source
    for item in containers:
        if item.path.lower().endswith(COMPRESSED):
            raise compressed_archive(f"{source.root}/{shown(item.path)}")
    inside = _with_labels(source, _listed(source, containers))
    names = {item.path for item in containers}
    items = [item for item in source.items if item.path not in names] + inside
    if not items:
        raise SourceError(f"{source.root}: expected archives of images, found only empty ones")
    return Source(source.root, sorted(items, key=lambda item: item.path))


def _listed(source: Source, containers: Sequence[Item]) -> list[Item]:
    reader = open_reader(source.root)
    pool = ThreadPoolExecutor(REQUESTS_AT_ONCE if is_url(source.root) else 1, thread_name_prefix="list")

    def items_of(container: Item) -> list[Item]:
        list_items = tar_items if container.path.lower().endswith(TAR) else table_items
        return list_items(container, partial(reader.part, container.path), f"{source.root}/{shown(container.path)}")

    try:
        return [item for items in pool.map(items_of, containers) for item in items]
    finally:
        reader.close()
        pool.shutdown(wait=False, cancel_futures=True)


def read_packed(root: str | os.PathLike[str], path: bytes) -> bytes | None:
    """Read the image at a path that leads into an archive or table below a folder; None if there is none.

    Raises `ExtractError` if it cannot be read.
    """
    for slash in re.finditer(b"/", path):
        container = regular_item(Path(root), path[: slash.start()])
        if is_packed(container.path) and not container.reason:
            item = _inside(os.fspath(root), container).get(path)
            reader = open_reader(root)
            try:
                return None if item is None or item.reason else reader.read(item)[0]
            finally:
                reader.close()
    return None


@lru_cache(maxsize=8)
def _inside(root: str, container: Item) -> dict[bytes, Item]:
    return {item.path: item for item in _listed(Source(Path(root), []), [container])}


def _with_labels(source: Source, items: list[Item]) -> list[Item]:
    """Return images in archives the split of their folders, and the label, unless a `.cls` file gave one."""
    unpacked_paths = {item.path: _unpacked_path(item) for item in items if item.container.lower().endswith(TAR)}
    top = _common_top(list(unpacked_paths.values()))
    inner = {path: unpacked[len(top) :] for path, unpacked in unpacked_paths.items()}
    has_splits = has_splits_at(str(source.root), list(inner.values()))
    labelled = []
    for item in items:
        if item.path in inner:
            label, split = label_and_split_of(inner[item.path], has_splits)
            item = replace(item, label=label if item.label is None else item.label, split=split)
        labelled.append(item)
    return labelled


def _unpacked_path(item: Item) -> bytes:
    """Return the path that an image would have if its archive were unpacked in its folder."""
    folder, slash, _ = item.container.rpartition(b"/")
    return folder + slash + item.path[len(item.container) + 1 :]


def _common_top(paths: Sequence[bytes]) -> bytes:
    """Return the one folder that everything lies in, if it holds only folders: `tar cf photos.tar photos/`."""
    tops = {path.partition(b"/")[0] for path in paths}
    if len(tops) != 1 or any(path.count(b"/") < 2 for path in paths):
        return b""
    (top,) = tops
    return b"" if os.fsdecode(top).lower() in SPLIT_NAMES else top + b"/"
