"""Images in a column of a Parquet table, listed from its other columns."""

import os
from dataclasses import replace
from typing import Any

from headstart.extract.errors import DecodeError, PageError, SourceError
from headstart.extract.sources.items import UNLISTED, Item
from headstart.extract.sources.lists.columns import TEXTS, choose_columns
from headstart.extract.sources.lists.pages import CheckedFile
from headstart.extract.sources.lists.parquet import parquet_table
from headstart.extract.sources.lists.table import Table
from headstart.extract.sources.lists.values import label_in, split_in
from headstart.extract.sources.readers import Fetch
from headstart.files.errors import MissingExtraError, one_line
from headstart.files.parquet import load_parquet

COLUMN = "image"
REQUEST_BYTES = 8 << 20
"""Per request, or one page of the table if that is longer: a row group may be larger than the memory."""


def table_items(container: Item, fetch: Fetch, name: str, label_column: str | None = None) -> list[Item]:
    """List the rows of a table, with the labels and splits of its columns, without reading any image.

    Integer labels get the class names of Hugging Face's metadata, if the file has them. Without a column, folders like
    ``label=rose`` in the table's path give the label and split. Raises `SourceError` if the table cannot be read, has
    no column of images, more than one that may hold labels, or an unknown split.
    """
    try:
        with open_table(CheckedFile(fetch, container.size), name) as table:
            image_column(table.schema_arrow, name)
            _require_rows(table.metadata, container.size, name)
            _require_bytes(table, name)
            listed = parquet_table(CheckedFile(fetch, container.size), name, table.metadata)
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


def _labels_and_splits(
    table: Table, container: Item, name: str, label_column: str | None
) -> list[tuple[str | None, str]]:
    columns = choose_columns(table.names, name, label_column, table.class_names)
    folders = dict(part.split("=", 1) for part in os.fsdecode(container.path).split("/")[:-1] if "=" in part)
    label = label_in(folders.get(label_column or "label"), name) if columns.label is None else None
    split = split_in(folders.get("split"), name) if columns.split is None else ""
    found = table.labelled_rows(replace(columns, path=None))
    return [(row_label or label, row_split or split) for _, _, row_label, row_split in found]


def open_table(file: CheckedFile, name: str = "a table") -> Any:
    """Open a table as a `pyarrow.parquet.ParquetFile` that reads only what is asked for."""
    parquet = load_parquet(name)
    # With pre_buffer, pyarrow's default, the whole column of a row group would be held at once.
    return parquet.ParquetFile(file, buffer_size=REQUEST_BYTES, pre_buffer=False)


def has_images(schema: Any, label_column: str | None = None) -> bool:
    """Tell whether a column of a table, other than the labels', holds bytes that may be images."""
    return any(_bytes_in(column) and column.name != label_column for column in schema)


def image_column(schema: Any, table: str) -> str:
    """Return Parquet's name of the image column: `image`, or the only one of bytes; `SourceError` if there is none."""
    columns = {column.name: name for column in schema if (name := _bytes_in(column))}
    if COLUMN in columns:
        return columns[COLUMN]
    if len(columns) == 1:
        return next(iter(columns.values()))
    if "path" in schema.names:
        raise SourceError(f"{table}: names files instead of containing images; give this local file by itself")
    listed = ", ".join(f"{column.name} ({column.type})"[:80] for column in schema) or "none"
    raise SourceError(
        f"{table}: expected the bytes of images in one column (or in one called '{COLUMN}'), or names of "
        f"files as text in a column 'path', found the columns {listed}"
    )


def _bytes_in(column: Any) -> str:
    """Name the bytes of a column: the column itself, or the field `bytes` that Hugging Face's tables have.

    Bytes in a column for paths, labels or splits are text, and have no name.
    """
    import pyarrow.types as types

    def holds_bytes(kind: Any) -> bool:
        kind = kind.value_type if types.is_dictionary(kind) else kind
        tests = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
        return any(test(kind) for test in tests)

    if holds_bytes(column.type):
        return "" if column.name.strip().lower() in TEXTS else str(column.name)
    is_struct = types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0
    return f"{column.name}.bytes" if is_struct and holds_bytes(column.type.field("bytes").type) else ""


def _require_rows(metadata: Any, size: int, name: str) -> None:
    groups = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
    if sum(groups) != metadata.num_rows or min(groups, default=0) < 0:
        raise SourceError(f"{name}: claims {metadata.num_rows:,} rows, but its row groups have {sum(groups):,}")
    if metadata.num_rows > size:
        raise SourceError(f"{name}: claims {metadata.num_rows:,} rows, more than it has bytes")


def _require_bytes(table: Any, name: str) -> None:
    """Raise `SourceError` if a column of bytes and paths has nothing but paths, as its statistics say."""
    column = image_column(table.schema_arrow, name)
    groups = map(table.metadata.row_group, range(table.metadata.num_row_groups))
    chunks = [chunk for group in groups for chunk in map(group.column, range(group.num_columns))]
    counts = [chunk.statistics and chunk.statistics.null_count for chunk in chunks if chunk.path_in_schema == column]
    paths_only = column.endswith(".bytes") and sum(count or 0 for count in counts) == table.metadata.num_rows > 0
    if paths_only and any(c.path_in_schema == column[:-5] + "path" and not _all_null(c) for c in chunks):
        raise SourceError(
            f"{name}: the column {column[:-6]!r} holds paths, not images; write the bytes into the table, or list the "
            "paths as text in a column 'path'"
        )


def _all_null(chunk: Any) -> bool:
    return not chunk.statistics or chunk.statistics.null_count == chunk.num_values
