"""The formats of lists, and what a name in a list is."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from headstart.extract.errors import SourceError
from headstart.extract.sources.lists.pages import CheckedFile
from headstart.extract.sources.lists.parquet import parquet_table
from headstart.extract.sources.lists.rows import read_csv, read_jsonl
from headstart.extract.sources.lists.table import Table
from headstart.extract.sources.readers import LocalReader


def checked_file(path: Path) -> CheckedFile:
    """Open a Parquet file."""
    return CheckedFile(partial(LocalReader(path.parent).part, os.fsencode(path.name)), os.path.getsize(path))


def name_in(value: Any, where: str) -> str:
    """Return the name of a file as it stands in a list; a number is a name too."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    name = os.fsdecode(value) if isinstance(value, str | bytes) else ""
    if not name.strip():
        raise SourceError(f"{where}: expected the path of a file, found {repr(value)[:80]}")
    os.fsencode(name.replace("\0", "?"))  # ValueError for half a surrogate pair, which cannot be stored
    return name


def notes_on_no_labels(texts: Mapping[str, tuple[str, int]]) -> list[str]:
    """Tell how many texts that may be names of classes were taken for missing labels."""
    if not texts:
        return []
    words = ", ".join(f"{count:,} {text!r}" for text, (_, count) in texts.items())
    first, rows = next(iter(texts.values()))[0], sum(count for _, count in texts.values())
    where = first.rpartition(": ")[2]
    return [f"took labels for missing in {rows:,} rows, such as {where}: {words}; rename a class of this name"]


MANIFESTS: dict[str, Callable[[Path], Table]] = {
    ".csv": read_csv,
    ".tsv": read_csv,
    ".jsonl": read_jsonl,
    ".parquet": lambda path: parquet_table(checked_file(path), str(path)),
}
