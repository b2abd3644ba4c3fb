"""Rows of CSV and JSON files of any usual encoding and separator."""

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headstart.extract.errors import SourceError
from headstart.extract.sources.lists.columns import IDS, PATHS, listed
from headstart.extract.sources.lists.table import Table
from headstart.extract.sources.lists.values import number_in_cell

DELIMITERS = ",\t;|"


def read_csv(path: Path) -> Table:
    """Return a CSV file whose cells are separated by commas, tabs, semicolons or bars.

    Raises
    ------
    SourceError
        On reading, if a quote is not closed or a row has more cells than the header.
    """
    text = _text(path)
    if separator := re.match(r"sep=(.)\r?\n", text):  # what Excel writes
        text = text[separator.end() :]
    first = re.match(r"[^\r\n]*", text)
    header = first.group() if first else ""
    delimiter = separator[1] if separator else _delimiter(header)
    spaced = f"{delimiter} " in header
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=spaced, strict=True)
    names = [name.strip() for name in next(rows, [])]
    return Table(names, lambda at: ((where, [cells[k] for k in at]) for where, cells in _cells(path, rows, names)))


def _cells(path: Path, rows: Any, names: list[str]) -> Iterator[tuple[str, list[str]]]:
    number = 0
    while True:
        line = rows.line_num + 1
        try:
            cells = next(rows, None)
        except csv.Error as error:
            fault = "a quote is opened and not closed" if "unexpected end" in str(error) else str(error)
            raise SourceError(f"{path}: the row at line {line} cannot be read: {fault}") from None
        if cells is None:
            return
        if not any(cell.strip() for cell in cells):
            continue
        number += 1
        if any(cell.strip() for cell in cells[len(names) :]):
            raise SourceError(
                f"{path}: row {number} (line {line}) has {len(cells)} cells, the header {len(names)} "
                f"({listed(names)}); put cells that contain the separator in double quotes"
            )
        cells += [""] * (len(names) - len(cells))
        yield f"{path}: row {number}", [number_in_cell(cell) for cell in cells]


def _delimiter(header: str) -> str:
    for delimiter in DELIMITERS:
        names = {name.strip(' "').lower() for name in header.split(delimiter)}
        if names & (PATHS | IDS):
            return delimiter
    return max(DELIMITERS, key=header.count)


def read_jsonl(path: Path) -> Table:
    """Return the objects in a file, one a line or all in one array; their keys are the columns.

    Raises `SourceError` where a line is no object.
    """
    text = _text(path)
    names = list(dict.fromkeys(key for _, row in _objects(path, text) for key in row))
    return Table(names, lambda at: ((where, [row.get(names[k]) for k in at]) for where, row in _objects(path, text)))


def _objects(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if text.lstrip()[:1] == "[":
        rows = iter(json.loads(text))
    else:
        lines = enumerate(io.StringIO(text), start=1)
        rows = (_object(path, number, line) for number, line in lines if line.strip())
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise SourceError(f"{path}: row {number}: expected a JSON object with a key 'path'")
        yield f"{path}: row {number}", row


def _object(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise SourceError(
            f"{path}: line {number}: expected one whole JSON object a line, but it cannot be read: {error}"
        ) from None


def _text(path: Path) -> str:
    """Decode a file as UTF-8, or UTF-16 with a mark; other bytes stay, since a file may be called so."""
    data = path.read_bytes()
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    text = data.decode(encoding, "surrogateescape" if encoding == "utf-8" else "strict").lstrip("\ufeff")
    if encoding == "utf-8" and text[1:2] == "\0":
        raise SourceError(f"{path}: expected UTF-8, found UTF-16 without a mark; save the list as UTF-8")
    return text
