"""A head with settings, how it did out of fold, and the search over several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.loss import likeliest_factor, log_loss, softmax
from headstart.classify.heads.rows import TrainingRows

if TYPE_CHECKING:
    from headstart.classify.heads.kinds import HeadKind

NAMES = {"c": "C"}
PHRASES = {"scaling": "on {} embeddings"}
"""Settings that read better in words than as ``name = value``."""
SPREAD = 1.0
"""Standard deviation of the prior of the logarithm of the temperature under which heads are compared."""


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


@dataclass(frozen=True)
class Search:
    """The settings that were compared, and the chosen one.

    Attributes
    ----------
    candidates
        In the order tried.
    chosen
        The one that is used.
    folds
        Number of folds in the cross-validation.
    reason
        Why it was chosen, in words.
    images
        int64, (n,): which of the training images took part.
    rows
        These images.
    logits
        float64, (n, k): their out-of-fold logits under the chosen setting; NaN for an image that was never held out.
    solution
        What the kind's search leaves for its fit; None for most.
    kind
        Everything that depends on the chosen head.
    contenders
        The best setting of each head, if heads were compared: see `best_of_heads`.
    untried
        Head -> why it was not tried, of those that were to be compared.
    with_prior
        Whether nothing was compared, as images are few, and the head has its prior (see
        `headstart.classify.heads.prior`).
    """

    candidates: list[Candidate]
    chosen: Candidate
    folds: int
    reason: str
    images: NDArray[np.int64] = field(repr=False)
    rows: TrainingRows = field(repr=False)
    logits: NDArray[np.float64] = field(repr=False)
    solution: Any = field(default=None, repr=False)
    kind: "HeadKind | None" = field(default=None, repr=False)
    with_prior: bool = False
    contenders: "tuple[Search, ...]" = field(default=(), repr=False)
    untried: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_one(
        cls, candidate: Candidate, rows: TrainingRows, logits: NDArray[np.float64], reason: str = ""
    ) -> "Search":
        """Return the search over a single candidate, with its out-of-fold logits on the rows."""
        return cls([candidate], candidate, rows.fold_count, reason, np.arange(len(rows)), rows, logits)

    @staticmethod
    def best_of(searches: Sequence["Search"]) -> "Search":
        """Return the one with the least log loss, with the candidates of all."""
        best = min(searches, key=lambda search: search.chosen.log_loss)
        return replace(best, candidates=[candidate for search in searches for candidate in search.candidates])

    @staticmethod
    def best_of_heads(searches: Sequence["Search"]) -> "Search":
        """Return the one with the least log loss after calibration, with the candidates of all, and all contenders."""
        best = min(searches, key=lambda search: search.calibrated_loss)
        contenders = tuple(one for search in searches for one in search.contenders or (replace(search, solution=None),))
        untried = {name: reason for search in searches for name, reason in search.untried.items()}
        candidates = [candidate for search in searches for candidate in search.candidates]
        return replace(best, candidates=candidates, contenders=contenders, untried=untried)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Out-of-fold probabilities of the images that were held out, (m, k), under the temperature that fits them."""
        held_out = self.rows.folds >= 0
        logits = self.logits[held_out]
        return softmax(likeliest_factor(logits, self.rows.labels[held_out], 0.0, SPREAD) * logits)

    @property
    def calibrated_loss(self) -> float:
        """Log loss of `probabilities`: every head is calibrated in the end, and some are less so at first."""
        held_out = self.rows.folds >= 0
        return log_loss(self.probabilities, self.rows.labels[held_out]) if held_out.any() else np.nan
