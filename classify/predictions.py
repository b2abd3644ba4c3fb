"""The table of predictions: one row an input, written as CSV, JSON lines or Parquet by the name's suffix."""

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from classify.errors import PredictionError
from extract.files import atomic_file

Row = dict[str, Any]


@dataclass(frozen=True)
class Prediction:
    """What was found for one input.

    Attributes
    ----------
    path
        Relative to the folder of images.
    top
        The likeliest classes with their probabilities, the likeliest first; empty for a failure.
    reason
        Why it failed; empty otherwise.
    """

    path: str
    top: Sequence[tuple[str, float]]
    reason: str = ""

    def to_row(self, places: int) -> Row:
        """Give the columns: path, status, label, probability, label_2, probability_2, ..., reason."""
        row: Row = {"path": _printable(self.path), "status": "failed" if self.reason else "ok"}
        for place in range(places):
            label, probability = self.top[place] if place < len(self.top) else (None, None)
            suffix = f"_{place + 1}" if place else ""
            row[f"label{suffix}"] = label if label is None else _printable(label)
            row[f"probability{suffix}"] = None if probability is None else round(probability, 7)
        row["reason"] = self.reason
        return row


def check_format(output: Path) -> None:
    """Refuse a name whose suffix says no format.

    Raises
    ------
    PredictionError
        Listing the formats.
    """
    if output.suffix.lower() not in SINKS:
        raise PredictionError(f"{output}: expected a name that ends in one of {', '.join(SINKS)}")


def write_predictions(output: Path, predictions: Iterable[Prediction], places: int) -> None:
    """Write a table of predictions, whole or not at all, holding few of them in memory.

    Parameters
    ----------
    places
        How many of the likeliest classes have columns.

    Raises
    ------
    PredictionError
        Where the suffix says no format.
    OutputError
        Where the file cannot be written.
    """
    check_format(output)
    rows = (prediction.to_row(places) for prediction in predictions)
    with atomic_file(output) as file:
        buffered = io.BufferedWriter(file)
        SINKS[output.suffix.lower()](buffered, rows, places)
        buffered.flush()
        buffered.detach()


def _printable(text: str) -> str:
    r"""Give text that is valid Unicode: bytes of a name that are not UTF-8 as ``\xNN``."""
    return os.fsencode(text).decode("utf-8", "backslashreplace")


def _csv(file: BinaryIO, rows: Iterator[Row], places: int) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    table = csv.DictWriter(text, list(Prediction("", []).to_row(places)))
    table.writeheader()
    table.writerows(rows)
    text.flush()
    text.detach()


def _jsonl(file: BinaryIO, rows: Iterator[Row], _places: int) -> None:
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _parquet(file: BinaryIO, rows: Iterator[Row], places: int) -> None:
    import pyarrow
    import pyarrow.parquet

    names = list(Prediction("", []).to_row(places))
    kinds = [pyarrow.float64() if name.startswith("probability") else pyarrow.string() for name in names]
    schema = pyarrow.schema(list(zip(names, kinds, strict=True)))
    with pyarrow.parquet.ParquetWriter(file, schema) as table:
        while batch := list(islice(rows, 10_000)):
            table.write_table(pyarrow.Table.from_pylist(batch, schema))


SINKS: dict[str, Callable[[BinaryIO, Iterator[Row], int], None]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
