"""A manifest (CSV, JSON lines or Parquet) that names images, labels and splits, as a source."""

import os
from collections.abc import Mapping
from pathlib import Path

from headstart.extract.errors import SourceError
from headstart.extract.options import SourceOptions
from headstart.extract.sources.items import Item, Source, shown
from headstart.extract.sources.lists.columns import choose_columns
from headstart.extract.sources.lists.formats import MANIFESTS, checked_file, name_in, notes_on_no_labels
from headstart.extract.sources.lists.images import image_columns
from headstart.extract.sources.lists.locate import listed_path, located_item
from headstart.extract.sources.tables import open_table
from headstart.files.errors import MissingExtraError, one_line
from headstart.files.urls import local_path


def read_manifest(manifest: Path, options: SourceOptions | None = None) -> Source:
    """List the images that a manifest names.

    Parameters
    ----------
    manifest
        A file with a column ``path`` (or another usual name, see `choose_columns`): relative to the root, or absolute
        below it; and optionally ``label`` and ``split`` (train, val or test). A row whose file is missing becomes a
        failure row.
    options
        Its column of labels, and the root if that is not the manifest's own folder.

    Raises
    ------
    SourceError
        If it cannot be read, has no column of paths, names a path twice, or names an unknown split.
    LocationError
        If the root is a URL.
    """
    options = options or SourceOptions()
    root = local_path(options.root) if options.root else manifest.parent
    try:
        table = MANIFESTS[manifest.suffix.lower()](manifest)
        columns = choose_columns(table.names, str(manifest), options.label_column, table.class_names)
        if columns.path is None:
            raise SourceError(f"{manifest}: expected a column 'path', found the columns {table.columns_text()}")
        rows: dict[bytes, Item] = {}
        for where, path, label, split, _ in table.labelled_rows(columns):
            name = name_in(path, f"{where}, column {table.names[columns.path]!r}")
            own = listed_path(root, name)
            if own in rows:
                raise SourceError(f"{where} names {os.fsdecode(own)[:200]!r} again; keep one row per file")
            rows[own] = located_item(root, name, label, split, follows=options.follow_links)
        items = _one_per_file(rows)
    except (SourceError, MissingExtraError):
        raise
    except Exception as error:  # pyarrow raises many types for a damaged table
        message = one_line(error)
        raise SourceError(f"{manifest}: expected a {manifest.suffix} table, but it cannot be read: {message}") from None
    if not items:
        raise SourceError(f"{manifest}: expected a list with a row per image, found no rows")
    return Source(root, sorted(items.values(), key=lambda item: item.path), notes_on_no_labels(table.no_labels))


def _one_per_file(rows: Mapping[bytes, Item]) -> dict[bytes, Item]:
    """Give each file to the row that names it exactly; a row that only spells it differently has no file then."""
    items: dict[bytes, Item] = {}
    for own, item in sorted(rows.items(), key=lambda row: row[0] != row[1].path):
        if item.path in items:
            reason = f"no such file; another row names {shown(item.path)!r}, which is spelled differently"
            item = Item(own, -1, 0, item.label, item.split, reason)
        items[item.path] = item
    return items


def names_files(path: Path) -> bool:
    """Tell whether a Parquet table names files instead of holding images, or cannot be read at all."""
    if path.suffix.lower() != ".parquet":
        return False
    try:
        file = checked_file(path)
        table = open_table(file, str(path))
        has_paths = choose_columns(table.schema_arrow.names, str(path), "").path is not None
        return has_paths and not image_columns(table, file)
    except MissingExtraError:
        raise
    except Exception:  # pyarrow raises many types, and several columns may name files: reading it as a list says so
        return True
