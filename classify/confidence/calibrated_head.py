"""From logits to an answer: calibrated probabilities, and "none of these"."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.confidence.calibration import Calibration, fit_temperature
from headstart.classify.confidence.novelty import Novelty, fit_novelty
from headstart.classify.heads.kinds import Search, logits_of
from headstart.classify.heads.loss import softmax
from headstart.classify.split.holdout import Split

LEAST_TO_CALIBRATE = 50
"""On fewer images a temperature would be noise."""


@dataclass(frozen=True)
class CalibratedHead:
    """What turns the head's logits into an answer.

    Attributes
    ----------
    head
        The fitted scikit-learn pipeline.
    calibration
        The temperature; None where there are too few images to tell one.
    unknown
        When to answer "none of these"; None where that was not wanted, or there are too few images.
    """

    head: Any
    calibration: Calibration | None
    unknown: Novelty | None

    @property
    def temperature(self) -> float:
        """What logits are divided by."""
        return self.calibration.temperature if self.calibration else 1.0

    @classmethod
    def of(cls, search: Search, head: Any, split: Split, false_alarms: float, seed: int) -> "CalibratedHead":
        """Fit temperature and thresholds on out-of-fold answers."""
        judged = search.rows.folds >= 0
        calibration = None
        if judged.sum() >= LEAST_TO_CALIBRATE:
            calibration = fit_temperature(search.logits[judged], search.rows.labels[judged])
        answer = cls(head, calibration, None)
        if not false_alarms:
            return answer
        probabilities = softmax(search.logits / answer.temperature)
        draws = split.draws[search.images]
        return replace(answer, unknown=fit_novelty(search.rows, draws, probabilities, false_alarms, seed))

    def measured_on(self, test: NDArray[np.float32]) -> tuple[NDArray[np.float64], "CalibratedHead"]:
        """Give probabilities, (m, k), of images (m, d), and how many of them would be marked unknown."""
        probabilities = softmax(logits_of(self.head, test) / self.temperature)
        if self.unknown is None:
            return probabilities, self
        share = float(self.unknown.marks(test, probabilities).mean())
        return probabilities, replace(self, unknown=replace(self.unknown, measured=share))
