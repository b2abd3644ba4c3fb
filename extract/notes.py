"""Notes: what was odd about images that were embedded all the same, counted per kind."""

import os
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """One kind of note.

    Attributes
    ----------
    text
        What was odd, in the same words for every such image.
    count
        How many of the images that the run computed have it; 0 if it is about the whole source.
    example
        The path of one of them.
    """

    text: str
    count: int = 0
    example: str = ""

    def __str__(self) -> str:
        if not self.count:
            return self.text
        images = "1 image:" if self.count == 1 else f"{self.count:,} images, for example"
        return f"{self.text} ({images} {self.example})"


class NoteCounter:
    """Counts notes; an image's notes are constant texts, so that they can be counted."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, bytes] = {}

    def add(self, texts: Iterable[str], path: bytes) -> None:
        """Count the notes of one image."""
        for text in texts:
            self._counts[text] = self._counts.get(text, 0) + 1
            self._examples.setdefault(text, path)

    def notes(self) -> list[Note]:
        """Return one note per kind, the most frequent first."""
        texts = sorted(self._counts, key=lambda text: -self._counts[text])
        return [Note(text, self._counts[text], os.fsdecode(self._examples[text])) for text in texts]
