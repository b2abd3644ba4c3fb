"""From logits to an answer: calibrated probabilities, and "none of these"."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.confidence.calibration import Calibration, fit_temperature
from headstart.classify.confidence.novelty import Unknown, fit_unknown
from headstart.classify.evaluation.label_issues import Suspect, find_suspects
from headstart.classify.heads.loss import softmax
from headstart.classify.heads.search import Search, logits_of
from headstart.classify.split.holdout import Split
from headstart.extract.store.store import Store

LEAST_TO_CALIBRATE = 50
"""On fewer images a temperature would be noise."""


@dataclass(frozen=True)
class Answer:
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
    unknown: Unknown | None

    @property
    def temperature(self) -> float:
        """What logits are divided by."""
        return self.calibration.temperature if self.calibration else 1.0

    @classmethod
    def of(cls, search: Search, head: Any, split: Split, false_alarms: float, seed: int) -> "Answer":
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
        return replace(answer, unknown=fit_unknown(search.rows, draws, probabilities, false_alarms, seed))

    def measured_on(self, test: NDArray[np.float32]) -> tuple[NDArray[np.float64], "Answer"]:
        """Give probabilities, (m, k), of images (m, d), and how many of them would be marked unknown."""
        probabilities = softmax(logits_of(self.head, test) / self.temperature)
        if self.unknown is None:
            return probabilities, self
        share = float(self.unknown.marks(test, probabilities).mean())
        return probabilities, replace(self, unknown=replace(self.unknown, measured=share))


def suspects_of(
    table: Store, search: Search, answer: Answer, split: Split, probabilities: NDArray[np.floating]
) -> list[Suspect]:
    """Ask of every image a head that has not seen it: its fold's, or for the test images the final one."""
    judged = search.rows.folds >= 0
    out_of_fold = softmax(search.logits[judged] / answer.temperature)
    rows = np.concatenate([split.train[search.images[judged]], split.test])
    return find_suspects(table, rows, table.labels[rows], np.concatenate([out_of_fold, probabilities]))
