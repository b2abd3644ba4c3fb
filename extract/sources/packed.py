"""Sources that are a few large files with many images in each: tar archives and Parquet tables.

A tar is read as if it were unpacked in the folder in which it lies: its own name is never a class, the folders in it
and above it are. A table has the columns of a manifest, and the images themselves in place of their paths.
"""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

from headstart.extract.errors import SourceError
from headstart.extract.sources.items import Item, Source, regular_item
from headstart.extract.sources.names import COMPRESSED, SPLIT_NAMES, TAR, has_splits_at, is_packed, label_and_split_of
from headstart.extract.sources.tars import is_image_name, shown_path, tar_items

LISTED_AT_ONCE = 32


def unpacked(source: Source) -> Source:
    """List the images of archives and tables one by one; a source in which images lie as files stays as it is.

    Raises
    ------
    SourceError
        Where an archive is compressed, a table has no images, or there is nothing in any of them.
    """
    containers = [item for item in source.items if is_packed(item.path) and not item.reason]
    if not containers or any(is_image_name(item.path) for item in source.items):
        return source
    for item in containers:
        if item.path.lower().endswith(COMPRESSED):
            raise SourceError(
                f"{source.root}/{shown_path(item.path)}: expected an uncompressed .tar, found a compressed one; "
                "unpack it with gunzip or the like (photos gain nothing by it)"
            )
    found = _listed(source, containers)
    taken = {item.path for item in containers}
    items = [item for item in source.items if item.path not in taken] + _placed(source, found)
    if not items:
        raise SourceError(
            f"{source.root}: expected archives of images, found nothing in them; give those that hold some"
        )
    return Source(source.root, sorted(items, key=lambda item: item.path))


def _listed(source: Source, containers: Sequence[Item]) -> list[Item]:
    from headstart.extract.sources.open import open_reader
    from headstart.extract.sources.tables import table_items
    from headstart.files.urls import is_url

    reader = open_reader(source.root)
    pool = ThreadPoolExecutor(LISTED_AT_ONCE if is_url(source.root) else 1, thread_name_prefix="list")

    def items_of(container: Item) -> list[Item]:
        how = tar_items if container.path.lower().endswith(TAR) else table_items
        return how(container, partial(reader.part, container.path), f"{source.root}/{shown_path(container.path)}")

    try:
        return [item for items in pool.map(items_of, containers) for item in items]
    finally:
        pool.shutdown(cancel_futures=True)
        reader.close()


def read_packed(root: str | os.PathLike[str], path: bytes) -> bytes | None:
    """Read the image at a path that leads into an archive or table below a folder; None where it does not.

    Raises
    ------
    ExtractError
        Where it cannot be read.
    """
    from headstart.extract.sources.open import open_reader

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
    source = Source(Path(root), [container])
    return {item.path: item for item in _listed(source, source.items)}


def _placed(source: Source, items: list[Item]) -> list[Item]:
    """Give the images of archives the labels and splits that their folders say, where no `.cls` said one."""
    places = {item.path: _place(item) for item in items if item.container.lower().endswith(TAR)}
    top = _common_top(list(places.values()))
    inner = {path: place[len(top) :] for path, place in places.items()}
    has_splits = has_splits_at(str(source.root), list(inner.values()))
    return [
        _labelled(item, *label_and_split_of(inner[item.path], has_splits)) if item.path in inner else item
        for item in items
    ]


def _labelled(item: Item, label: str | None, split: str) -> Item:
    return replace(item, label=label if item.label is None else item.label, split=split)


def _place(item: Item) -> bytes:
    """Give the path that an image would have if its archive were unpacked where it lies."""
    folder, slash, _ = item.container.rpartition(b"/")
    return folder + slash + item.path[len(item.container) + 1 :]


def _common_top(places: Sequence[bytes]) -> bytes:
    """Give the one folder that everything lies in, if there are only folders in it: `tar cf photos.tar photos/`."""
    tops = {place.partition(b"/")[0] for place in places}
    if len(tops) != 1 or any(place.count(b"/") < 2 for place in places):
        return b""
    (top,) = tops
    return b"" if os.fsdecode(top).lower() in SPLIT_NAMES else top + b"/"
