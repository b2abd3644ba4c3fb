"""Files of predictions: one row per input, as CSV, JSON lines or Parquet, chosen by the file's suffix."""

import codecs
import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from headstart.classify.errors import PredictionError
from headstart.extract.metadata import Metadata
from headstart.files.atomic import atomic_file, check_output
from headstart.files.parquet import load_parquet
from headstart.files.urls import without_scheme

Row = dict[str, Any]
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
"""First characters of text that spreadsheets calculate; and the apostrophe, so that removing one restores any text."""

NUMBERS = ("probability", "distance", "p(", "latitude", "longitude")
"""How columns of numbers begin; all others are text."""


UNKNOWN = "unknown: probably none of these classes, or too uncertain"
"""What is said about an image that is flagged as unknown."""


@dataclass(frozen=True)
class Prediction:
    """The prediction for one input.

    Attributes
    ----------
    path
        Relative to the folder of images.
    top
        The likeliest classes with their probabilities, the likeliest first; empty for a failure.
    reason
        Why the image failed; empty otherwise.
    unknown, distance
        Whether the image is flagged as none of the classes, or as too uncertain, and its distance from the training
        images; None if not known.
    metadata
        What the photo says about itself; None if nobody looked.
    """

    path: str
    top: Sequence[tuple[str, float]]
    reason: str = ""
    unknown: bool | None = None
    distance: float | None = None
    metadata: Metadata | None = None

    def to_row(
        self, top: int, with_unknown: bool = False, classes: Sequence[str] = (), *, with_metadata: bool = False
    ) -> Row:
        """Return the columns: path, status, label, probability, label_2, ..., unknown and distance if known, reason.

        Each of `classes`, which `top` then has to name, gets a column ``p(class)`` besides; `with_metadata` adds taken,
        camera, latitude and longitude.
        """
        row: Row = {"path": printable(self.path), "status": "failed" if self.reason else "ok"}
        for rank in range(top):
            label, probability = self.top[rank] if rank < len(self.top) else (None, None)
            suffix = f"_{rank + 1}" if rank else ""
            row[f"label{suffix}"] = label if label is None else printable(label)
            row[f"probability{suffix}"] = None if probability is None else round(probability, 7)
        if with_unknown:
            row["unknown"] = self.unknown if self.unknown is None else ("yes" if self.unknown else "no")
            row["distance"] = None if self.distance is None else round(self.distance, 5)
        row["reason"] = self.reason
        of_class = dict(self.top) if classes else {}
        for name in classes:
            row[f"p({printable(name)})"] = round(of_class[name], 7) if name in of_class else None
        if with_metadata:
            metadata = self.metadata or Metadata()
            row |= {"taken": metadata.taken or None, "camera": metadata.camera or None}
            for name in ("latitude", "longitude"):
                degrees = getattr(metadata, name)
                row[name] = None if math.isnan(degrees) else round(degrees, 7)
        return row


def check_format(output: str | os.PathLike[str], bom: bool = False) -> None:
    """Refuse a file whose suffix names no format, or one that is not text with a byte order mark.

    Raises
    ------
    PredictionError
        Listing the formats.
    MissingExtraError
        If the format needs a package that is not installed.
    """
    if bom and Path(output).suffix.lower() != ".csv":
        raise PredictionError(f"{output}: only a .csv file begins with a byte order mark; leave --bom out")
    if Path(output).suffix.lower() not in SINKS:
        raise PredictionError(f"{output}: expected a name that ends in one of {', '.join(SINKS)}")
    if Path(output).suffix.lower() == ".parquet":
        load_parquet(output)


def check_file(path: Path, inputs: Iterable[str | os.PathLike[str]]) -> None:
    """Refuse a file that cannot be written, or that is one of the inputs, before anything is classified.

    Raises
    ------
    PredictionError
        If it is an input.
    OutputError
        As `headstart.files.atomic.check_output`.
    """
    check_output(path)
    locations = [without_scheme(os.fspath(one)) for one in inputs]
    if path.exists() and any(os.path.exists(one) and path.samefile(one) for one in locations):
        raise PredictionError(f"{path}: is also an input; write the predictions to another file with -o")


def write_predictions(
    output: Path,
    predictions: Iterable[Prediction],
    top: int,
    *,
    with_unknown: bool = False,
    bom: bool = False,
    classes: Sequence[str] = (),
    with_metadata: bool = False,
) -> None:
    """Write predictions, all of them or nothing, with few of them in memory at a time.

    Parameters
    ----------
    top
        How many of the likeliest classes have columns.
    with_unknown
        Whether the columns ``unknown`` and ``distance`` are written.
    bom
        Whether a CSV file begins with a byte order mark. Excel needs it to read UTF-8; other programs take it for a
        part of the first column's name.
    classes
        Classes that have a column of their own (see `Prediction.to_row`).
    with_metadata
        Whether the columns ``taken``, ``camera``, ``latitude`` and ``longitude`` are written.

    Raises
    ------
    PredictionError
        If the suffix names no format.
    OutputError
        If the file cannot be written.
    """
    check_format(output, bom)

    def to_row(prediction: Prediction) -> Row:
        return prediction.to_row(top, with_unknown, classes, with_metadata=with_metadata)

    rows, names = map(to_row, predictions), list(to_row(Prediction("", [])))
    with atomic_file(output) as file:
        buffered = io.BufferedWriter(file)
        buffered.write(codecs.BOM_UTF8 if bom else b"")
        SINKS[output.suffix.lower()](buffered, rows, names)
        buffered.flush()
        buffered.detach()


def printable(text: str) -> str:
    r"""Return valid Unicode: bytes of a name that are not UTF-8 become ``\xNN``, other surrogates ``\uNNNN``."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()


def _csv(file: BinaryIO, rows: Iterator[Row], names: list[str]) -> None:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.DictWriter(text, names)
    writer.writeheader()
    writer.writerows({name: _inert(value) for name, value in row.items()} for row in rows)
    text.flush()
    text.detach()


def _inert(value: Any) -> Any:
    """Put an apostrophe before text that a spreadsheet would execute as a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def _jsonl(file: BinaryIO, rows: Iterator[Row], _names: list[str]) -> None:
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def _parquet(file: BinaryIO, rows: Iterator[Row], names: list[str]) -> None:
    import pyarrow
    import pyarrow.parquet

    kinds = [pyarrow.float64() if name.startswith(NUMBERS) else pyarrow.string() for name in names]
    schema = pyarrow.schema(list(zip(names, kinds, strict=True)))
    with pyarrow.parquet.ParquetWriter(file, schema) as writer:
        while batch := list(islice(rows, 10_000)):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))


SINKS: dict[str, Callable[[BinaryIO, Iterator[Row], list[str]], None]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
