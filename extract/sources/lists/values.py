"""What a value in a list or table means as a label or split, whatever its type."""

import os
import re
from typing import Any

from headstart.extract.errors import SourceError
from headstart.extract.sources.labels import class_name
from headstart.extract.sources.names import SPLIT_NAMES

LONGEST = 1000
"""Characters of a label: one of a megabyte, repeated in every row, would exhaust the memory."""
MISSING = frozenset(
    [
        "",
        "#N/A",
        "#N/A N/A",
        "#NA",
        "-1.#IND",
        "-1.#QNAN",
        "-NaN",
        "-nan",
        "1.#IND",
        "1.#QNAN",
        "<NA>",
        "N/A",
        "NA",
        "NULL",
        "NaN",
        "None",
        "n/a",
        "nan",
        "null",
    ]
)
"""Texts that `pandas.read_csv` takes for missing values, in the same letter case."""


def text_in(value: Any, where: str) -> str | None:
    """Return a value as text without surrounding space; None if it is missing or not a number.

    Text, UTF-8 bytes, truth values and whole numbers have a text: 1 and 1.0 are both ``"1"``, because pandas turns
    whole numbers with a hole among them into floats. Raises `SourceError` for any other value.
    """
    if value is None or value != value:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if not isinstance(value, str | int):
        shown = repr(value)[:80]
        raise SourceError(f"{where}: expected one text or whole number, found {shown} ({type(value).__name__})")
    text = str(value).strip()
    return None if text in MISSING else text


def label_in(value: Any, where: str) -> str | None:
    """Return the label that a value stands for, or None; raises `SourceError` if it cannot be one."""
    label = text_in(value, where)
    if label is None:
        return None
    if len(label) > LONGEST:
        raise SourceError(f"{where}: expected at most {LONGEST:,} characters, found {len(label):,}")
    if "\0" in label:
        raise SourceError(f"{where}: expected a label without the zero character, found {label!r}")
    if not label.isprintable() and re.search("[\ud800-\udfff]", label):
        found = ascii(os.fsencode(label) if re.search("[\udc80-\udcff]", label) else label)[:80]
        raise SourceError(f"{where}: expected UTF-8 text, found {found}; save the file as UTF-8")
    return class_name(label)


def split_in(value: Any, where: str) -> str:
    """Return the split that a value stands for; raises `SourceError` for an unknown one."""
    split = (text_in(value, where) or "").lower()
    if split and split not in SPLIT_NAMES:
        raise SourceError(f"{where}: unknown split {split[:80]!r}; expected one of {', '.join(SPLIT_NAMES)}")
    return SPLIT_NAMES.get(split, "")


def number_in_cell(cell: str) -> str:
    """Return the cell of a CSV file without the ``.0`` that pandas appends to whole numbers next to missing ones."""
    return cell[:-2] if re.fullmatch(r"\s*-?\d+\.0", cell) else cell
