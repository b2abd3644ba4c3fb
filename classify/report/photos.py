"""The photos that a report speaks of, each once, and as many of their thumbnails as its size allows."""

import base64
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.report.text import printable
from headstart.extract.store.store import Store
from headstart.files.cores import cores

SIZE = 128
"""Pixels of a thumbnail's longer side."""
MAX_THUMBNAILS = 1_500
MAX_CHARACTERS = 10_000_000
"""Of all thumbnails together, in base64."""
MAX_READ = 2 << 30
"""Bytes of photos that are read for thumbnails: some 500 of a good camera, or seconds of work."""
ANSWERS = 3
"""Likeliest classes that are told of a photo."""


class Album:
    """Hands out a number for each photo that a section shows; those asked for first get their thumbnails first.

    Parameters
    ----------
    table
        The store that the photos are rows of.
    classes
        Names, in the order of the columns of `probabilities`.
    rows, probabilities
        int64 (m,) and float (m, k): the photos that were judged, and what was answered.
    """

    def __init__(
        self, table: Store, classes: list[str], rows: NDArray[np.int64], probabilities: NDArray[np.floating]
    ) -> None:
        self._table, self._probabilities = table, probabilities
        code = {name: number for number, name in enumerate(classes)}
        self._codes = np.array([*(code.get(name, -1) for name in table.classes), -1], np.int64)
        self._judged = {row: number for number, row in enumerate(rows.tolist())}
        self._numbers: dict[int, int] = {}

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """int64, (n,): of every row of the store, its class as a column of the probabilities; -1 without one."""
        labels: NDArray[np.int64] = self._codes[self._table.labels]
        return labels

    def add(self, row: int) -> int:
        """Give the number of a photo, a row of the store, in the album."""
        return self._numbers.setdefault(int(row), len(self._numbers))

    def is_misjudged(self, row: int) -> bool:
        """Tell whether it was judged, and given another class than its label."""
        number = self._judged.get(int(row))
        return number is not None and int(self._probabilities[number].argmax()) != int(self.labels[row])

    def to_json(self) -> dict[str, Any]:
        """Give the photos in order of their numbers, and the thumbnails that they point into, as base64 of JPEGs."""
        thumbnails, where = self._thumbnails()
        photos = [{**self._photo(row), "thumb": where.get(self._content(row))} for row in self._numbers]
        return {"photos": photos, "thumbs": thumbnails}

    def _photo(self, row: int) -> dict[str, Any]:
        path = self._table.rows.path[row].decode("utf-8", "surrogateescape")
        photo = {"path": printable(path), "label": int(self.labels[row])}
        if row in self._judged:
            given = self._probabilities[self._judged[row]]
            likeliest = np.argsort(-given, kind="stable")[:ANSWERS]
            photo["answers"] = [[int(code), round(float(given[code]), 4)] for code in likeliest]
        return photo

    def _content(self, row: int) -> bytes:
        digest: bytes = self._table.rows.sha256[row].tobytes()
        return digest

    def _thumbnails(self) -> tuple[list[str], dict[bytes, int]]:
        made: list[str] = []
        where: dict[bytes, int] = {}
        characters = 0
        with ThreadPoolExecutor(cores()) as pool:
            for rows in _by(64, self._to_read()):
                for row, data in zip(rows, pool.map(self._thumbnail, rows), strict=True):
                    if data is None:
                        continue
                    characters += len(data)
                    if len(made) == MAX_THUMBNAILS or characters > MAX_CHARACTERS:
                        return made, where
                    where[self._content(row)] = len(made)
                    made.append(data)
        return made, where

    def _to_read(self) -> list[int]:
        """Pick the first row of each content, while what is to be read stays within bounds."""
        different = {self._content(row): row for row in reversed(self._numbers)}
        rows = sorted(different.values(), key=self._numbers.__getitem__)
        read = np.cumsum([max(int(self._table.rows.size[row]), 0) for row in rows])
        return rows[: int(np.searchsorted(read, MAX_READ, side="right"))]

    def _thumbnail(self, row: int) -> str | None:
        from headstart.extract.thumbnails import thumbnail

        rows = self._table.rows
        data = thumbnail(self._table.root_of(row), rows.path[row], SIZE, sha256=self._content(row))
        return None if data is None else base64.b64encode(data).decode("ascii")


def _by(size: int, rows: list[int]) -> Iterable[list[int]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
