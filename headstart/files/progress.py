"""The progress callback of all long calls: export, embed, train, tune and score."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """The progress of a call.

    Attributes
    ----------
    stage
        The current step, for people: ``"embedding"``, ``"searching and fitting"``.
    done, total
        Finished and total units of the stage; `total` is None if they cannot be counted.
    failed
        Number of finished units that failed.
    note
        A result to show, such as the loss of an epoch, or empty.
    """

    stage: str
    done: int = 0
    total: int | None = None
    failed: int = 0
    note: str = ""


ProgressCallback = Callable[[Progress], None]
"""Called after each unit of work, in the thread of the call; it must return quickly."""


def announcer(progress: ProgressCallback | None) -> Callable[[str], None]:
    """Turn a callback, or None, into a function that reports the name of a stage."""
    return lambda stage: progress(Progress(stage)) if progress else None
