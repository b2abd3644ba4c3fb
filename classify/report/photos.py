"""The photos that a report shows, each once, and as many of their thumbnails as its size allows."""

import base64
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from headstart.classify.evaluation.metrics import Evaluation
from headstart.classify.report.text import printable
from headstart.extract.store.store import Store
from headstart.files.cores import cores

SIZE = 128
"""Pixels of a thumbnail's longer side."""
MAX_THUMBNAILS = 1_500
MAX_CHARACTERS = 10_000_000
"""Of all thumbnails together, in base64."""
MAX_READ = 2 << 30
"""Bytes of photos that are read for thumbnails: about 500 photos of a good camera, or a few seconds of work."""
PREDICTIONS = 3
"""Most probable classes listed per photo."""


class Album:
    """Numbers the photos that sections show; those added first get their thumbnails first.

    Photos are given by their row in the store.
    """

    def __init__(self, store: Store, evaluation: Evaluation) -> None:
        self._store, self._probabilities = store, evaluation.probabilities
        self._evaluated = {row: number for number, row in enumerate(evaluation.rows.tolist())}
        self._predictions = evaluation.probabilities.argmax(axis=1).tolist()
        self._confidence = evaluation.probabilities.max(axis=1).tolist()
        self._labels = store.labels.tolist()
        self._numbers: dict[int, int] = {}

    def add(self, row: int) -> int:
        """Return the number of a photo in the album."""
        return self._numbers.setdefault(row, len(self._numbers))

    def label(self, row: int) -> int:
        """Return the code of a photo's class; -1 without one."""
        return int(self._labels[row])

    def prediction(self, row: int) -> int:
        """Return the code of the class that was predicted for an evaluated photo."""
        return int(self._predictions[self._evaluated[row]])

    def is_wrong(self, row: int) -> bool:
        """Tell whether a photo was evaluated and classified wrongly."""
        return row in self._evaluated and self.prediction(row) != self.label(row)

    def most_confident_first(self, rows: Iterable[int]) -> list[int]:
        """Sort evaluated photos by the probability of the predicted class."""
        return sorted(rows, key=lambda row: -self._confidence[self._evaluated[row]])

    def to_json(self) -> dict[str, Any]:
        """Return the photos in order of their numbers, and the thumbnails that they point into, as base64 of JPEGs."""
        thumbnails = self._thumbnails()
        number = {content: number for number, content in enumerate(thumbnails)}
        photos = [{**self._photo(row), "thumb": number.get(self._content(row))} for row in self._numbers]
        return {"photos": photos, "thumbs": list(thumbnails.values())}

    def _photo(self, row: int) -> dict[str, Any]:
        path = self._store.rows.path[row].decode("utf-8", "surrogateescape")
        photo = {"path": printable(path), "label": self.label(row)}
        if row in self._evaluated:
            found = self._probabilities[self._evaluated[row]]
            most = np.argsort(-found, kind="stable")[:PREDICTIONS]
            photo["predictions"] = [[int(code), round(float(found[code]), 4)] for code in most]
        return photo

    def _content(self, row: int) -> bytes:
        digest: bytes = self._store.rows.sha256[row].tobytes()
        return digest

    def _thumbnails(self) -> dict[bytes, str]:
        """Return a thumbnail for the content of each photo, as long as what is read and what is written is bounded."""
        first = {self._content(row): row for row in reversed(self._numbers)}
        rows = sorted(first.values(), key=self._numbers.__getitem__)[:MAX_THUMBNAILS]
        read = np.cumsum(self._store.rows.size[rows])
        rows = rows[: int(np.searchsorted(read, MAX_READ, side="right"))]
        with ThreadPoolExecutor(cores()) as pool:
            made = [(row, data) for row, data in zip(rows, pool.map(self._thumbnail, rows), strict=True) if data]
        characters = np.cumsum([len(data) for _, data in made])
        return {self._content(row): data for row, data in made[: int((characters <= MAX_CHARACTERS).sum())]}

    def _thumbnail(self, row: int) -> str | None:
        from headstart.extract.thumbnails import thumbnail

        rows = self._store.rows
        data = thumbnail(self._store.root_of(row), rows.path[row], SIZE, sha256=self._content(row))
        return None if data is None else base64.b64encode(data).decode("ascii")
