"""Images in a column of a Parquet table, listed from its other columns."""

import io
import json
import sys
from collections.abc import Iterator
from itertools import count
from typing import Any

from headstart.extract.errors import DecodeError, SourceError
from headstart.extract.sources.items import UNLISTED, Item
from headstart.extract.sources.manifests import label_and_split_in
from headstart.extract.sources.readers import Fetch
from headstart.files.errors import one_line

COLUMN = "image"
REQUEST_BYTES = 8 << 20
"""Per request, or one page of the table if that is longer: a row group may be larger than the memory."""


def table_items(container: Item, fetch: Fetch, name: str) -> list[Item]:
    """List the rows of a table, with the labels and splits of its columns, without reading any image.

    Integer labels get the class names of Hugging Face's metadata, if the file has them. Raises `SourceError` if the
    table cannot be read, has no column of images, or an unknown split.
    """
    try:
        with open_table(fetch, container.size) as table:
            image_column(table.schema_arrow, name)
            if table.metadata.num_rows > container.size:
                raise SourceError(f"{name}: claims {table.metadata.num_rows:,} rows, more than it has bytes")
            rows = list(_labels_and_splits(table, name))
    except SourceError:
        raise
    except DecodeError as error:
        return [Item(container.path, container.size, container.mtime_ns, reason=f"{UNLISTED}: {one_line(error)}")]
    except Exception as error:  # pyarrow raises its own, and those of others
        raise SourceError(f"{name}: expected a .parquet table, but it cannot be read: {one_line(error)}") from None
    path, size, mtime_ns = container.path, container.size, container.mtime_ns
    return [
        Item(b"%s/%09d" % (path, row), size, mtime_ns, label, split, "", path, row)
        for row, (label, split) in enumerate(rows)
    ]


def open_table(fetch: Fetch, size: int) -> Any:
    """Open a table as a `pyarrow.parquet.ParquetFile` that reads only what is asked for."""
    import pyarrow.parquet

    # With pre_buffer, pyarrow's default, the whole column of a row group would be held at once.
    return pyarrow.parquet.ParquetFile(_FetchedFile(fetch, size), buffer_size=REQUEST_BYTES, pre_buffer=False)


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
    """Name the bytes of a column: the column itself, or the field `bytes` that Hugging Face's tables have."""
    import pyarrow.types as types

    def holds_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    if holds_bytes(column.type):
        return str(column.name)
    is_struct = types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0
    return f"{column.name}.bytes" if is_struct and holds_bytes(column.type.field("bytes").type) else ""


def _labels_and_splits(table: Any, name: str) -> Iterator[tuple[str | None, str]]:
    schema = table.schema_arrow
    wanted = [column for column in ("label", "split") if column in schema.names]
    if not wanted:
        yield from ((None, "") for _ in range(table.metadata.num_rows))
        return
    classes = _class_names(schema.metadata or {})
    row = count(1)
    for batch in table.iter_batches(columns=wanted, use_threads=False):
        for values in batch.to_pylist():
            where, code = f"{name}: row {next(row)}", values.get("label")
            if classes and isinstance(code, int):
                if not -1 <= code < len(classes):
                    raise SourceError(f"{where}: the label {code} is none of the {len(classes)} classes")
                values["label"] = classes[code] if code >= 0 else None  # -1: not labelled
            label, split = label_and_split_in(values, where)
            yield sys.intern(label) if label else None, split


def _class_names(metadata: dict[bytes, bytes]) -> list[str]:
    """Return the class names that Hugging Face's `datasets` writes, if there are any."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return []
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


class _FetchedFile(io.RawIOBase):
    """A file for pyarrow, whose every read is one request."""

    def __init__(self, fetch: Fetch, size: int) -> None:
        self._fetch, self._size, self._at = fetch, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._size, self._at + size)
        data = self._fetch(self._at, end)
        self._at += len(data)
        return data
