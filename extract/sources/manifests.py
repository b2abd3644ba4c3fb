"""A manifest (CSV, JSON lines or Parquet) with the columns path, label and split, as a source."""

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from headstart.extract.errors import SourceError
from headstart.extract.sources.items import Item, Source, leads_below, regular_item
from headstart.extract.sources.labels import label_of_cell
from headstart.extract.sources.names import SPLIT_NAMES

Row = dict[str, Any]


def read_manifest(manifest: Path) -> Source:
    """List the images that a manifest names; its own folder is the root.

    Parameters
    ----------
    manifest
        A file with the columns ``path`` (relative to the manifest, or absolute below its folder), and optionally
        ``label`` and ``split`` (train, val or test). A row whose file is missing becomes a failure row.

    Raises
    ------
    SourceError
        If it cannot be read, has no column ``path``, names a path twice, or names an unknown split.
    """
    root = manifest.parent
    items: dict[bytes, Item] = {}
    try:
        for number, row in enumerate(MANIFESTS[manifest.suffix.lower()](manifest), start=1):
            item = _item(root, row, f"{manifest}: row {number}")
            if item.path in items:
                raise SourceError(
                    f"{manifest}: row {number} names {os.fsdecode(item.path)!r} again; keep one row per file"
                )
            items[item.path] = item
    except (OSError, ValueError, csv.Error, RecursionError) as error:
        message = str(error).splitlines()[0]
        raise SourceError(f"{manifest}: expected a {manifest.suffix} table, but it cannot be read: {message}") from None
    return Source(root, sorted(items.values(), key=lambda item: item.path))


def names_files(table: Path) -> bool:
    """Tell whether a Parquet table names files in a column `path`, or cannot be read at all."""
    import pyarrow.parquet

    if table.suffix.lower() != ".parquet":
        return False
    try:
        return "path" in pyarrow.parquet.read_schema(table).names
    except (OSError, ValueError):
        return True


def _item(root: Path, row: Row, where: str) -> Item:
    name = row.get("path")
    if not isinstance(name, str) or not name:
        columns = ", ".join(str(key) for key in row) or "nothing"
        raise SourceError(f"{where}: expected text in a column 'path', found the columns {columns}")
    label, split = label_and_split_in(row, where)
    relative = os.path.normpath(os.path.relpath(name, os.path.abspath(root)) if os.path.isabs(name) else name)
    path = os.fsencode(relative.replace("\0", "?"))
    if relative == ".." or relative.startswith("../") or "\0" in relative or not leads_below(root, path):
        return Item(path, -1, 0, label, split, "outside the manifest's folder; not read")
    return regular_item(root, path, label, split)


def label_and_split_in(row: Row, where: str) -> tuple[str | None, str]:
    """Return the label and split of a row of a table; raises `SourceError` if the values are not allowed."""
    label, split = row.get("label"), str(row.get("split") or "").lower()
    if split and split not in SPLIT_NAMES:
        raise SourceError(f"{where}: unknown split {split!r}; expected one of {', '.join(SPLIT_NAMES)}")
    label = label_of_cell(label)
    if label and "\0" in label:
        raise SourceError(f"{where}: expected a label without the zero character, found {label!r}")
    os.fsencode(label or "")  # ValueError for half a surrogate pair, which cannot be stored
    return label, SPLIT_NAMES.get(split, "")


def _csv(manifest: Path) -> Iterator[Row]:
    with open(manifest, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        yield from csv.DictReader(file)


def _jsonl(manifest: Path) -> Iterator[Row]:
    with open(manifest, encoding="utf-8", errors="surrogateescape") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            row = json.loads(line)
            if not isinstance(row, dict):
                raise SourceError(f"{manifest}: line {number}: expected a JSON object with a key 'path'")
            yield row


def _parquet(manifest: Path) -> Iterator[Row]:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(manifest) as table:
        wanted = [name for name in ("path", "label", "split") if name in table.schema_arrow.names]
        for batch in table.iter_batches(columns=wanted):
            yield from batch.to_pylist()


MANIFESTS: dict[str, Callable[[Path], Iterator[Row]]] = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
