"""The seconds that each stage of a run takes."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

STAGES = ("read", "decode", "infer", "store")


class StageClock:
    """Adds up the seconds that each stage took, over all threads."""

    def __init__(self, stages: Sequence[str] = STAGES) -> None:
        self._seconds = dict.fromkeys(stages, 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the block's time to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        """Add seconds to a stage."""
        with self._lock:
            self._seconds[name] += seconds

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each stage so far."""
        return dict(self._seconds)
