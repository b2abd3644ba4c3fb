"""A head with settings, and how it did out of fold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NAMES = {"c": "C"}
PHRASES = {"scaling": "on {} embeddings"}
"""Settings that read better in words than as ``name = value``."""


@dataclass(frozen=True)
class Candidate:
    """One setting and how it did out of fold: log loss in nats, accuracy in 0..1.

    Attributes
    ----------
    head
        A name of `headstart.classify.HEADS`.
    settings
        The fields of `HeadOptions` that were searched for, or given: ``{"c": 0.01}``; none for a head without any.
    """

    head: str
    settings: Mapping[str, Any]
    log_loss: float
    accuracy: float

    @property
    def c(self) -> float | None:
        """Inverse strength of the penalty; None for a head without one."""
        c: float | None = self.settings.get("c")
        return c

    @property
    def words(self) -> str:
        """The head and its settings, as in ``logreg with C = 0.01``."""
        return describe(self.head, self.settings)

    def to_json(self) -> dict[str, Any]:
        """Return it as it is printed by ``--json``."""
        settings = dict(self.settings)
        return {
            "head": self.head, "c": self.c, "settings": settings, "log_loss": self.log_loss, "accuracy": self.accuracy
        }  # fmt: skip


def describe(head: str, settings: Mapping[str, Any]) -> str:
    """Name a head and its settings in words."""
    values = [f"{NAMES.get(name, name)} = {_said(value)}" for name, value in settings.items() if name not in PHRASES]
    phrases = [PHRASES[name].format(value) for name, value in settings.items() if name in PHRASES]
    return " ".join([head, *["with " + " and ".join(values)] * bool(values), *phrases])


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
