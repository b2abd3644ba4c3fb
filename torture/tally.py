"""What a fault was tried on, how often, and where something did not hold."""

import time
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Tally:
    """Counts of one fault.

    Attributes
    ----------
    fault
        What was done to the product.
    counts
        How often, and what it met.
    broken
        One line for every hold that was not met, with what is needed to see it again.
    skipped
        Why it could not be tried here; empty where it was.
    """

    fault: str
    counts: dict[str, int | float] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    skipped: str = ""
    seconds: float = 0.0
    _started: float = field(default_factory=time.monotonic, repr=False)

    def add(self, what: str, number: float = 1) -> None:
        """Count something."""
        self.counts[what] = self.counts.get(what, 0) + number

    def hold(self, is_met: bool, otherwise: str) -> bool:
        """Note a hold that is not met."""
        if not is_met:
            self.broken.append(otherwise)
        return is_met

    def done(self) -> "Tally":
        """Stop the clock."""
        self.seconds = round(time.monotonic() - self._started, 1)
        return self

    def to_json(self) -> dict[str, Any]:
        """Give everything but the clock."""
        found = asdict(self)
        del found["_started"]
        return found
