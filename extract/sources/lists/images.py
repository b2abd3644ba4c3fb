"""Which column of a Parquet table holds images, by its type, its name and its first values."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from headstart.extract.decoding.formats import is_text, looks_like_image
from headstart.extract.errors import DecodeError, PageError, SourceError
from headstart.extract.sources.lists.columns import IDS, PATHS
from headstart.extract.sources.lists.pages import CheckedFile

COLUMN = "image"
FIRST, BEGINNING = 16, 1024
"""Rows that are looked at to tell images from text and other bytes, and bytes of each."""


def image_column(table: Any, file: CheckedFile, where: str) -> str:
    """Return Parquet's name of the image column: `image`, or the only one; `SourceError` if there is none."""
    columns = image_columns(table, file)
    if COLUMN in columns:
        return columns[COLUMN]
    if len(columns) == 1:
        return next(iter(columns.values()))
    schema = table.schema_arrow
    if "path" in schema.names and not columns:
        raise SourceError(f"{where}: names files instead of containing images; give this local file by itself")
    listed = ", ".join(f"{column.name} ({column.type})"[:80] for column in schema) or "none"
    raise SourceError(
        f"{where}: expected the bytes of images in one column (or in one called '{COLUMN}'), or names of "
        f"files as text in a column 'path', found the columns {listed}"
    )


def image_columns(table: Any, file: CheckedFile) -> dict[str, str]:
    """Return the columns that hold images, with Parquet's names for them.

    Spark and Impala store text as plain bytes, and digests are bytes too. So bytes are images if one of the first
    values begins like an image. If none does, a column called `image`, or of Hugging Face's form, is taken unless it
    holds text; and any other one if the table does not name files.
    """
    schema = table.schema_arrow
    columns = {column.name: name for column in schema if (name := _bytes_in(column))}
    usual = {name for name, full in columns.items() if name == COLUMN or full != name}
    texts = [name for name in schema.names if name not in columns]
    if columns.keys() == usual and len(usual) < 2 and not any(map(_may_name_files, texts)):
        return columns
    values = {name: _first_values(table, file, full) for name, full in columns.items()}
    texts += [name for name in columns if values[name] and all(map(is_text, values[name]))]
    images = [name for name in columns if any(map(looks_like_image, values[name]))]
    others = [name for name in columns if name not in texts]
    found = images + [name for name in others if name in usual]
    if not found and not any(map(_may_name_files, texts)):
        found = others
    return {name: columns[name] for name in columns if name in found}


def _may_name_files(column: str) -> bool:
    return column.strip().lower() in PATHS | IDS


def _first_values(table: Any, file: CheckedFile, column: str) -> list[bytes]:
    """Return how the first values of a column begin, fewer if it is damaged, without those that are missing."""
    values: list[bytes] = []
    try:
        for value in islice(_values(table, file, column), FIRST):
            values += [value[:BEGINNING]] if value else []
    except DecodeError as error:
        if not isinstance(error, PageError):  # it could not be fetched
            raise
    except Exception:  # pyarrow raises its own; reading the row tells why
        return values
    return values


def _values(table: Any, file: CheckedFile, column: str) -> Iterator[bytes | None]:
    for group in range(table.num_row_groups):
        for values in images_of(table, file, column, group):
            yield from values.to_pylist()


def images_of(table: Any, file: CheckedFile, column: str, group: int) -> Iterator[Any]:
    """Yield the values of a column in a row group, in Arrow arrays of one: a dictionary may hold a large value once."""
    file.check(group)
    for batch in table.iter_batches(1, row_groups=[group], columns=[column], use_threads=False):
        values = batch.column(0)
        yield values if column in batch.schema.names else values.flatten()[0]


def _bytes_in(column: Any) -> str:
    """Name the bytes of a column: the column itself, or the field `bytes` that Hugging Face's tables have."""
    import pyarrow.types as types

    def holds_bytes(kind: Any) -> bool:
        kind = kind.value_type if types.is_dictionary(kind) else kind
        tests = (types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary)
        return any(test(kind) for test in tests)

    if holds_bytes(column.type):
        return str(column.name)
    is_struct = types.is_struct(column.type) and column.type.get_field_index("bytes") >= 0
    return f"{column.name}.bytes" if is_struct and holds_bytes(column.type.field("bytes").type) else ""
