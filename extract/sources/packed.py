"""Sources that are a few large files with many images each: tar archives and Parquet tables.

A tar is read as if it were unpacked in its folder: its own name is never a class, the folders in it and above it are. A
table has the columns of a manifest, and the images themselves instead of their paths.
"""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from os.path import splitext
from pathlib import Path

from headstart.extract.errors import SourceError
from headstart.extract.sources.archives.tars import not_a_tar, tar_items
from headstart.extract.sources.items import Item, Source, regular_item, shown
from headstart.extract.sources.names import TABLE, TAR, Layout, is_image_name, is_packed, layout_of, split_of_shard
from headstart.extract.sources.open import open_reader
from headstart.extract.sources.readers import Fetch
from headstart.extract.sources.sidecars import notes_on_sidecars
from headstart.extract.sources.tables import holds_images, table_items
from headstart.files.filesystems import REQUESTS_AT_ONCE
from headstart.files.urls import is_url


def unpacked(source: Source, label_column: str | None = None) -> Source:
    """List the images of archives and tables one by one; a source with images as plain files stays as it is.

    Files that describe an archive, such as img2dataset's `0.parquet` and `0_stats.json` beside `0.tar`, are left out.
    Raises `SourceError` if an archive is compressed, a table has no images, or all of them are empty.
    """
    containers = [item for item in source.items if is_packed(item.path) and not item.reason]
    if not containers or any(is_image_name(item.path) for item in source.items):
        return source
    for item in containers:
        if (suffix := splitext(item.path.lower())[1]) not in (TAR, TABLE):
            kind = "zip archive" if suffix == b".zip" else "compressed archive"
            raise not_a_tar(f"{source.root}/{shown(item.path)}", kind)
    described = _described([item.path for item in source.items])
    others = [item for item in source.items if item.path not in described]
    names, left_out = {item.path for item in containers} - described, list[bytes]()
    packed = [item for item in containers if item.path in names]
    layout, inside = _with_labels(source, _listed(source, packed, label_column, left_out))
    tables = [item for item in containers if item.path in described and item.path.lower().endswith(TABLE)]
    tables = _each(source, tables, lambda table, *file: [table] * holds_images(table, *file))
    items = [item for item in others if item.path not in names] + inside
    if not items:
        raise SourceError(f"{source.root}: expected archives of images, found only empty ones")
    notes = [*source.notes, *layout.notes, *notes_on_sidecars(left_out), *_notes_on_tables(tables)]
    return Source(source.root, sorted(items, key=lambda item: item.path), notes)


def _described(paths: Sequence[bytes]) -> set[bytes]:
    """Return the files that describe an archive beside them: `0.parquet`, `0_stats.json` or `0.tar.md5` for `0.tar`."""
    tars = {path for path in paths if path.lower().endswith(TAR)}
    names = tars | {splitext(path)[0] for path in tars}
    others = {path: splitext(path)[0] for path in paths if path not in tars}
    return {path for path, stem in others.items() if not names.isdisjoint((stem, stem.removesuffix(b"_stats")))}


def _notes_on_tables(tables: Sequence[Item]) -> list[str]:
    """Tell of tables of images beside archives of the same name."""
    count = "1 table of images is" if len(tables) == 1 else f"{len(tables):,} tables of images are"
    example = f"{shown(tables[0].path)}; to use it, give it by itself" if tables else ""
    return [f"{count} taken for the description of the archive of the same name, and not read: {example}"] * bool(
        tables
    )


def _listed(
    source: Source, containers: Sequence[Item], label_column: str | None = None, left_out: list[bytes] | None = None
) -> list[Item]:
    def items_of(container: Item, fetch: Fetch, name: str) -> list[Item]:
        if container.path.lower().endswith(TAR):
            return tar_items(container, fetch, name, left_out)
        return table_items(container, fetch, name, label_column)

    return _each(source, containers, items_of)


def _each(source: Source, containers: Sequence[Item], items_of: Callable[[Item, Fetch, str], list[Item]]) -> list[Item]:
    """Call a function with each container, what reads a part of it, and its name; return all items that it gives."""
    reader = open_reader(source.root)
    pool = ThreadPoolExecutor(REQUESTS_AT_ONCE if is_url(source.root) else 1, thread_name_prefix="list")

    def call(container: Item) -> list[Item]:
        return items_of(container, partial(reader.part, container.path), f"{source.root}/{shown(container.path)}")

    try:
        return [item for items in pool.map(call, containers) for item in items]
    finally:
        reader.close()
        pool.shutdown(wait=False, cancel_futures=True)


def read_packed(root: str | os.PathLike[str], path: bytes) -> bytes | None:
    """Read the image at a path that leads into an archive or table below a folder; None if there is none.

    Raises `ExtractError` if it cannot be read.
    """
    for slash in re.finditer(b"/", path):
        container = regular_item(Path(root), path[: slash.start()], follows=True)
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
    return {item.path: item for item in _listed(Source(Path(root), []), [container], label_column="")}


def _with_labels(source: Source, items: list[Item]) -> tuple[Layout, list[Item]]:
    """Return where the classes lie in archives, and the images with the labels and splits that nothing else gave.

    Members that failed, and those that are no images by their name, have no say in what the folders mean.
    """
    paths = {item.path: _unpacked_path(item) for item in items if item.container.lower().endswith(TAR)}
    good = {item.path for item in items if item.path in paths and not item.reason}
    layout = layout_of(str(source.root), [paths[path] for path in good])
    splits = {shard: split_of_shard(shard) for shard in {item.container for item in items if item.container}}
    are_splits = all(splits.values())  # else the names mean something else
    labelled = []
    for item in items:
        label, split = layout.label_and_split(paths[item.path]) if item.path in good else (None, "")
        split = item.split or split or (splits.get(item.container, "") if are_splits else "")
        labelled.append(replace(item, label=label if item.label is None else item.label, split=split))
    return layout, labelled


def _unpacked_path(item: Item) -> bytes:
    """Return the path that an image would have if its archive were unpacked in its folder."""
    folder, slash, _ = item.container.rpartition(b"/")
    return folder + slash + item.path[len(item.container) + 1 :]
