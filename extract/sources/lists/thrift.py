"""Structs in Thrift's compact protocol, in which Parquet writes its footer and the headers of its pages."""

import io
from collections.abc import Callable, Mapping
from typing import Any

TRUE, FALSE, BYTE, INT16, INT32, INT64, DOUBLE, BINARY, LIST, SET, STRUCT = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12
"""Types of values. A map (11) is not part of any header."""
BITS = {INT16: 16, INT32: 32, INT64: 64}

Wanted = Mapping[int, tuple[int, Callable[[io.BytesIO], Any]]]
"""Fields by number: the type of each, and what reads it. Other fields are skipped, and those of other types."""


def read_struct(file: io.BytesIO, wanted: Wanted) -> dict[int, Any]:
    """Read the wanted fields of a struct; raises `EOFError` where the file ends, and `ValueError` for other bytes."""
    fields: dict[int, Any] = {}
    number = 0
    while head := _byte(file):
        number = number + (head >> 4) if head >> 4 else _number(file)
        kind, read = wanted.get(number, (0, None))
        if read is None or head & 15 != kind:
            _skip(file, head & 15, in_field=True)
        elif number in fields:
            raise ValueError(f"the field {number} twice")
        else:
            fields[number] = read(file)
    return fields


def whole(kind: int = INT32) -> tuple[int, Callable[[io.BytesIO], int]]:
    """Return the type and reader of a whole number."""
    return kind, lambda file: _number(file, BITS[kind])


def struct(wanted: Wanted) -> tuple[int, Callable[[io.BytesIO], dict[int, Any]]]:
    """Return the type and reader of a struct."""
    return STRUCT, lambda file: read_struct(file, wanted)


def binary() -> tuple[int, Callable[[io.BytesIO], bytes]]:
    """Return the type and reader of bytes."""
    return BINARY, lambda file: _bytes(file, _length(file))


def list_of(
    item: tuple[int, Callable[[io.BytesIO], Any]], make: Callable[[Any], Any] = lambda value: value
) -> tuple[int, Callable[[io.BytesIO], list[Any]]]:
    """Return the type and reader of a list, of which `make` takes each value."""

    def read(file: io.BytesIO) -> list[Any]:
        kind, length = _list_head(file)
        if kind != item[0] and length:
            raise ValueError(f"a list of Thrift's type {kind}")
        return [make(item[1](file)) for _ in range(length)]

    return LIST, read


def _skip(file: io.BytesIO, kind: int, *, in_field: bool = False) -> None:
    if kind in (TRUE, FALSE):
        _bytes(file, 0 if in_field else 1)  # within a field, the type is the value
    elif kind in BITS:
        _number(file, BITS[kind])
    elif kind == STRUCT:
        read_struct(file, {})
    elif kind in (LIST, SET):
        kind, length = _list_head(file)
        for _ in range(length):
            _skip(file, kind)
    elif kind in (BYTE, DOUBLE, BINARY):
        _bytes(file, {BYTE: 1, DOUBLE: 8}.get(kind) or _length(file))
    else:
        raise ValueError(f"Thrift's type {kind}")


def _list_head(file: io.BytesIO) -> tuple[int, int]:
    head = _byte(file)
    return head & 15, head >> 4 if head >> 4 < 15 else _length(file)


def _bytes(file: io.BytesIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError("it ends too early")
    return data


def _byte(file: io.BytesIO) -> int:
    return _bytes(file, 1)[0]


def _varint(file: io.BytesIO) -> int:
    value = shift = 0
    while (byte := _byte(file)) >= 128:
        value, shift = value | (byte & 127) << shift, shift + 7
    value |= byte << shift
    if value >= 1 << 64 or shift > 63:
        raise ValueError("a number of more than 64 bits")
    return value


def _length(file: io.BytesIO) -> int:
    length = _varint(file)
    if length >= 1 << 31:
        raise ValueError(f"a length of {length:,}")
    return length


def _number(file: io.BytesIO, bits: int = 64) -> int:
    value = _varint(file)
    if value >> bits:
        raise ValueError(f"a number of more than {bits} bits")
    return (value >> 1) ^ -(value & 1)
