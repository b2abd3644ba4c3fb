"""The settings of heads."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import HeadError

CLASS_WEIGHTS = ("none", "balanced")
STANDARDISED, RAW = SCALINGS = ("standardised", "raw")
"""Features of mean 0, each divided by its own deviation, or all by one number: the root of their mean variance."""
MAX_SEED = 2**32 - 1
BUDGET = 60.0
"""Seconds for ``auto``: all heads together take about 10 for 2,500 images of 5 classes."""
MAX_C = 1e6
"""Under a weaker penalty rows that can be told apart have no optimum within reach."""
SETTINGS = ("c", "shrinkage", "scaling", "epochs")
"""The fields of `HeadOptions` that are searched for while they are None."""


@dataclass(frozen=True)
class HeadOptions:
    """The settings of a head.

    Attributes
    ----------
    c
        Inverse strength of the L2 penalty of ``logreg`` and ``svm``, on scaled embeddings, above 0 and at most
        `MAX_C`; None: search for it.
    shrinkage
        How far ``lda`` shrinks the covariance towards a sphere, 0..1; None: search for it.
    epochs
        Passes of ``mlp`` over the images, at least 1; None: as many as help.
    scaling
        One of `SCALINGS`; None: search for it, or ``"standardised"`` if `c` is given.
    hidden
        Units of each hidden layer of ``mlp``.
    class_weight
        ``"none"``, or ``"balanced"``: each row counts n / (k * rows of its class).
    budget
        Seconds that ``auto`` may search on one core, estimated from the number of images, features and classes; None:
        `BUDGET`.
    seed
        Random seed, 0 to `MAX_SEED`.
    """

    c: float | None = None
    shrinkage: float | None = None
    epochs: int | None = None
    scaling: str | None = None
    hidden: tuple[int, ...] = (256,)
    class_weight: str = "none"
    seed: int = 0
    budget: float | None = None

    @property
    def given(self) -> dict[str, Any]:
        """The `SETTINGS` that are not to be searched for."""
        return {name: value for name in SETTINGS if (value := getattr(self, name)) is not None}

    def searched_anew(self) -> "HeadOptions":
        """Return them with all `SETTINGS` to be searched for."""
        unknown: dict[str, Any] = dict.fromkeys(SETTINGS)
        return replace(self, **unknown)

    def check(self) -> None:
        """Reject values out of range.

        Raises
        ------
        HeadError
            If one is.
        """
        if self.class_weight not in CLASS_WEIGHTS:
            expected = ", ".join(CLASS_WEIGHTS)
            raise HeadError(f"unknown class weight {self.class_weight!r}; expected one of {expected}")
        if not 0 <= self.seed <= MAX_SEED:
            raise HeadError(f"the seed must lie between 0 and {MAX_SEED}, found {self.seed}")
        if self.c is not None and not 0 < self.c <= MAX_C:
            raise HeadError(f"C must be above 0 and at most {MAX_C:g}, found {self.c}")
        if self.shrinkage is not None and not 0 <= self.shrinkage <= 1:
            raise HeadError(f"the shrinkage must lie between 0 and 1, found {self.shrinkage}")
        if self.scaling not in (None, *SCALINGS):
            raise HeadError(f"unknown scaling {self.scaling!r}; expected one of {', '.join(SCALINGS)}")
        if self.budget is not None and not self.budget >= 0:
            raise HeadError(f"the budget must be at least 0 seconds, found {self.budget}")
        if self.epochs is not None and self.epochs < 1:
            raise HeadError(f"the network needs at least one pass over the images, found {self.epochs} epochs")
        if not self.hidden or min(self.hidden) < 1:
            raise HeadError("hidden layers need at least one unit each, for example --hidden 256 or 1024,1024,512")

    def row_weights(self, labels: NDArray[np.integer], classes: int) -> NDArray[np.float64]:
        """Return the weight of each row, float64 (n,), under `class_weight`."""
        if self.class_weight == "none":
            return np.ones(len(labels))
        counts = np.bincount(labels, minlength=classes)
        weights: NDArray[np.float64] = (len(labels) / (classes * counts))[labels]
        return weights
