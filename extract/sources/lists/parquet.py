"""Columns of Parquet tables as values, few at once: a few kilobytes may stand for gigabytes of text."""

import json
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from headstart.extract.errors import PageError, SourceError
from headstart.extract.sources.lists.pages import CheckedFile
from headstart.extract.sources.lists.table import Table
from headstart.files.parquet import load_parquet

BATCH_ROWS, DELTA_ROWS = 4096, 4
"""Rows that are unpacked at once; few of a column stored as differences, where each may repeat the one before."""
LONGEST_TEXTS = 256 << 20
"""Bytes of the different texts of one column in one row group."""
WIDEST = 4096
"""Bytes of a value in a column of fixed width, which is unpacked in full even if a dictionary holds it once."""


def parquet_table(source: CheckedFile, where: str, metadata: Any = None) -> Table:
    """Return the columns of a Parquet table.

    Parameters
    ----------
    source
        The file.
    where
        Its name, for messages.
    metadata
        The footer, a `pyarrow.parquet.FileMetaData`, if it has been read already.

    Raises
    ------
    SourceError
        On reading, if a column holds no plain values.
    DecodeError
        If it cannot be read, or holds texts too long for the memory.
    """
    file = load_parquet(where).ParquetFile(source, metadata=metadata, pre_buffer=False)
    schema = file.schema_arrow
    return Table(
        schema.names,
        lambda positions: _rows(source, file, [schema.field(at) for at in positions], where),
        _class_names(schema.metadata or {}),
    )


def _rows(source: CheckedFile, file: Any, fields: Sequence[Any], where: str) -> Iterator[tuple[str, Sequence[Any]]]:
    number = count(1)
    if not fields:
        yield from ((f"{where}: row {next(number)}", ()) for _ in range(file.metadata.num_rows))
        return
    names = [field.name for field in fields]
    texts = [field.name for field in fields if _is_text(field, where)]
    deltas = {chunk.name for group in source.groups for chunk in group.chunks if chunk.is_delta}
    # As dictionaries, texts that repeat are held once; pyarrow cannot make one of differences.
    words = [name for name in texts if name not in deltas]
    table = load_parquet(where).ParquetFile(source, metadata=file.metadata, read_dictionary=words, pre_buffer=False)
    rows = BATCH_ROWS if deltas.isdisjoint(names) else DELTA_ROWS
    for group in range(table.num_row_groups):
        source.check(group, {*texts}, LONGEST_TEXTS)
        held = 0
        for batch in table.iter_batches(rows, row_groups=[group], columns=names, use_threads=False):
            columns = [_values(batch.column(batch.schema.names.index(name))) for name in names]
            held += batch.nbytes if rows == DELTA_ROWS else 0
            if held > LONGEST_TEXTS:
                raise PageError(f"a row group has more than {LONGEST_TEXTS:,} bytes of text; write smaller row groups")
            yield from ((f"{where}: row {next(number)}", values) for values in zip(*columns, strict=True))


def _is_text(field: Any, where: str) -> bool:
    """Tell whether a column holds texts or bytes; raises `SourceError` if it holds no plain values at all."""
    import pyarrow.types as types

    kind = field.type.value_type if types.is_dictionary(field.type) else field.type
    numbers = (types.is_boolean, types.is_integer, types.is_floating, types.is_temporal, types.is_null)
    if any(test(kind) for test in numbers):
        return False
    tests = [types.is_string, types.is_large_string, types.is_binary, types.is_large_binary]
    tests += [types.is_string_view, types.is_binary_view, types.is_fixed_size_binary]
    if types.is_fixed_size_binary(kind) and kind.byte_width > WIDEST:
        raise SourceError(
            f"{where}: expected at most {WIDEST:,} bytes per value in the column {field.name!r}, found "
            f"{kind.byte_width:,}; write the column as text"
        )
    if any(test(kind) for test in tests):
        return True
    raise SourceError(
        f"{where}: expected one text or whole number a row in the column {field.name!r}, found {str(field.type)[:80]}"
    )


def _values(column: Any) -> list[Any]:
    import pyarrow.types as types

    if not types.is_dictionary(column.type):
        values: list[Any] = column.to_pylist()
        return values
    words = column.dictionary.to_pylist()
    return [None if at is None else words[at] for at in column.indices.to_pylist()]


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Return the class names of the columns that Hugging Face's `datasets` declares as `ClassLabel`."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        named = {column: feature["names"] for column, feature in features.items() if "names" in feature}
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}
    return {
        column: names
        for column, names in named.items()
        if isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    }
