"""Progress, told in one way by every long call: export, embed, train, tune and score."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a call is.

    Attributes
    ----------
    stage
        What is being done, for a person to read: ``"embedding"``, ``"searching and fitting"``.
    done, total
        Finished units of the stage, and how many there are; `total` is None where they cannot be counted.
    failed
        How many of the finished units failed.
    note
        A figure worth showing, such as an epoch's loss; empty otherwise.
    """

    stage: str
    done: int = 0
    total: int | None = None
    failed: int = 0
    note: str = ""


ProgressCallback = Callable[[Progress], None]
"""Called from the thread that made the call, after each unit of work; it must return quickly."""


def announcer(progress: ProgressCallback | None) -> Callable[[str], None]:
    """Turn a callback, or None, into a function that reports the stage by its name alone."""
    return lambda stage: progress(Progress(stage)) if progress else None
