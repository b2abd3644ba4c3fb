"""The counts of a fault, and the promises that were broken."""

import time
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Tally:
    """Counts of one fault.

    Attributes
    ----------
    fault
        The injected fault.
    counts
        How often each event happened.
    broken
        One line per broken promise, with the data to reproduce it.
    skipped
        Why the fault could not be tested here; empty if it was.
    """

    fault: str
    counts: dict[str, int | float] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    skipped: str = ""
    seconds: float = 0.0
    _started: float = field(default_factory=time.monotonic, repr=False)

    def add(self, what: str, number: float = 1) -> None:
        """Count an event."""
        self.counts[what] = self.counts.get(what, 0) + number

    def hold(self, is_met: bool, otherwise: str) -> bool:
        """Record a promise that is broken."""
        if not is_met:
            self.broken.append(otherwise)
        return is_met

    def done(self) -> "Tally":
        """Stop the clock."""
        self.seconds = round(time.monotonic() - self._started, 1)
        return self

    def to_json(self) -> dict[str, Any]:
        """Return everything but the clock."""
        found = asdict(self)
        del found["_started"]
        return found
