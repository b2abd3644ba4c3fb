"""Where the pages of a Parquet file lie, by its footer.

pyarrow reads the footer too, but ends the process where one is damaged and Python asks about a column of a row group.
The fields are those of Parquet's `parquet.thrift`.
"""

import io
from dataclasses import dataclass
from typing import Any

from headstart.extract.errors import PageError
from headstart.extract.sources.lists.thrift import INT64, binary, list_of, read_struct, struct, whole
from headstart.extract.sources.readers import Fetch

TAIL = 64 << 10
"""Bytes of the file's end that are asked for at first, as pyarrow does."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A column in one row group.

    Attributes
    ----------
    name
        The column, with dots between it and its fields.
    values
        Number of values, nulls among them.
    start, end
        Offsets in the file.
    nulls
        Number of nulls, or None if the file does not state it.
    is_delta
        Whether a page stores its texts as differences (`DELTA_LENGTH_BYTE_ARRAY` or `DELTA_BYTE_ARRAY`).
    """

    name: str
    values: int
    start: int
    end: int
    nulls: int | None
    is_delta: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A row group."""

    rows: int
    chunks: list[Chunk]


def read_footer(fetch: Fetch, size: int) -> list[Group]:
    """Return the row groups of a Parquet file; raises `PageError` if they make no sense."""
    data = fetch(max(0, size - TAIL), size)
    length = int.from_bytes(data[-8:-4], "little")
    if len(data) < length + 8 <= size:
        data = fetch(size - 8 - length, size)
    try:
        groups: list[Group] = read_struct(io.BytesIO(data[-8 - length : -8]), FOOTER)[4]
    except (KeyError, EOFError, ValueError, RecursionError) as error:
        raise PageError(f"damaged table: its footer cannot be read ({error})") from None
    return groups


def _chunk(fields: dict[int, Any]) -> Chunk:
    column = fields[3]
    start, dictionary = column[9], column.get(11, 0)
    if 0 < dictionary < start:
        start = dictionary
    name = b".".join(column[3]).decode("utf-8", "replace")
    nulls, is_delta = column.get(12, {}).get(3), not DELTAS.isdisjoint(column.get(2, ()))
    return Chunk(name, column[5], start, start + column[7], nulls, is_delta)


DELTAS = {6, 7}
COLUMN = {
    2: list_of(whole()),
    3: list_of(binary()),
    5: whole(INT64),
    7: whole(INT64),
    9: whole(INT64),
    11: whole(INT64),
}
GROUP = {
    1: list_of(struct({3: struct(COLUMN | {12: struct({3: whole(INT64)})})}), _chunk),
    3: whole(INT64),
}
FOOTER = {4: list_of(struct(GROUP), lambda fields: Group(fields[3], fields[1]))}
"""What is looked at; see `Wanted`."""
