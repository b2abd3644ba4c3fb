"""Images in a column of a Parquet table, listed from its other columns."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from headstart.extract.errors import DecodeError, PageError, SourceError
from headstart.extract.sources.items import UNLISTED, Item
from headstart.extract.sources.lists.columns import choose_columns
from headstart.extract.sources.lists.footer import Group
from headstart.extract.sources.lists.images import image_column, image_columns
from headstart.extract.sources.lists.pages import CheckedFile
from headstart.extract.sources.lists.parquet import parquet_table
from headstart.extract.sources.lists.table import Table
from headstart.extract.sources.lists.values import label_in, split_in
from headstart.extract.sources.readers import Fetch
from headstart.files.errors import MissingExtraError, one_line
from headstart.files.parquet import load_parquet

REQUEST_BYTES = 8 << 20
"""Per request, or one page of the table if that is longer: a row group may be larger than the memory."""


def table_items(container: Item, fetch: Fetch, name: str, label_column: str | None = None) -> list[Item]:
    """List the rows of a table, with the labels and splits of its columns, without reading any image.

    Integer labels get the class names of Hugging Face's metadata, if the file has them. Without a column, folders like
    ``label=rose`` in the table's path give the label and split. Raises `SourceError` if the table cannot be read, has
    no column of images, more than one that may hold labels, or an unknown split.
    """
    try:
        file = CheckedFile(fetch, container.size)
        with open_table(file, name) as table:
            column = image_column(table, file, name)
            _require_rows(file.groups, table.metadata.num_rows, container.size, name)
            _require_bytes(file.groups, column, name)
            metadata = table.metadata
        listed = parquet_table(file, name, metadata)
        rows = _labels_and_splits(listed, container, name, label_column)
    except (SourceError, MissingExtraError):
        raise
    except PageError as error:
        raise SourceError(f"{name}: {one_line(error)}") from None
    except DecodeError as error:
        return [Item(container.path, container.size, container.mtime_ns, reason=f"{UNLISTED}: {one_line(error)}")]
    except Exception as error:  # pyarrow raises its own, and those of others
        raise SourceError(f"{name}: expected a .parquet table, but it cannot be read: {one_line(error)}") from None
    path, size, mtime_ns = container.path, container.size, container.mtime_ns
    return [
        Item(b"%s/%09d" % (path, row), size, mtime_ns, label, split, "", path, row)
        for row, (label, split) in enumerate(rows)
    ]


def holds_images(container: Item, fetch: Fetch, name: str) -> bool:
    """Tell whether a table has a column of images; one that cannot be read has none."""
    file = CheckedFile(fetch, container.size)
    try:
        return bool(image_columns(open_table(file, name), file))
    except Exception:  # pyarrow raises its own, or is not installed
        return False


def _labels_and_splits(
    table: Table, container: Item, name: str, label_column: str | None
) -> list[tuple[str | None, str]]:
    columns = choose_columns(table.names, name, label_column, table.class_names)
    folders = dict(part.split("=", 1) for part in os.fsdecode(container.path).split("/")[:-1] if "=" in part)
    label = label_in(folders.get(label_column or "label"), name) if columns.label is None else None
    split = split_in(folders.get("split"), name) if columns.split is None else ""
    found = table.labelled_rows(replace(columns, path=None))
    return [(row_label or label, row_split or split) for _, _, row_label, row_split, _ in found]


def open_table(file: CheckedFile, name: str = "a table") -> Any:
    """Open a table as a `pyarrow.parquet.ParquetFile` that reads only what is asked for."""
    parquet = load_parquet(name)
    # With pre_buffer, pyarrow's default, the whole column of a row group would be held at once.
    return parquet.ParquetFile(file, buffer_size=REQUEST_BYTES, pre_buffer=False)


def _require_rows(groups: Sequence[Group], claimed: int, size: int, name: str) -> None:
    rows = [group.rows for group in groups]
    if sum(rows) != claimed or min(rows, default=0) < 0:
        raise SourceError(f"{name}: claims {claimed:,} rows, but its row groups have {sum(rows):,}")
    if claimed > size:
        raise SourceError(f"{name}: claims {claimed:,} rows, more than it has bytes")


def _require_bytes(groups: Sequence[Group], column: str, name: str) -> None:
    """Raise `SourceError` if a column of bytes and paths has nothing but paths, as its statistics say."""
    if not column.endswith(".bytes"):
        return
    chunks = {wanted: [c for g in groups for c in g.chunks if c.name == wanted] for wanted in (column, _path(column))}
    nulls = sum(chunk.nulls or 0 for chunk in chunks[column])
    has_paths = any(chunk.nulls is not None and chunk.nulls < chunk.values for chunk in chunks[_path(column)])
    if nulls == sum(group.rows for group in groups) > 0 and has_paths:
        raise SourceError(
            f"{name}: the column {column[:-6]!r} holds paths, not images; write the bytes into the table, or list the "
            "paths as text in a column 'path'"
        )


def _path(column: str) -> str:
    return column.removesuffix("bytes") + "path"
