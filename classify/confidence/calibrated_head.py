"""A head whose probabilities are calibrated, and which marks unknown images."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from headstart.classify.confidence.calibration import Calibration, fit_temperature
from headstart.classify.confidence.novelty import Novelty, fit_novelty
from headstart.classify.confidence.precision import ClassThreshold, fit_thresholds
from headstart.classify.heads.candidate import Search
from headstart.classify.heads.kinds import AnyHead
from headstart.classify.heads.loss import softmax
from headstart.classify.split.holdout import Split

LEAST_TO_CALIBRATE = 50
"""With fewer images a temperature would be noise."""


@dataclass(frozen=True)
class CalibratedHead:
    """A head, its temperature, and its thresholds.

    Attributes
    ----------
    head
        The fitted head.
    calibration
        The temperature; None if there are too few images to fit one.
    unknown
        When an image is marked unknown; None if that was turned off, or there are too few images.
    thresholds
        Class name -> the threshold below which a prediction of it is unknown too; see `fit_thresholds`.
    """

    head: AnyHead
    calibration: Calibration | None
    unknown: Novelty | None
    thresholds: dict[str, ClassThreshold] = field(default_factory=dict)

    @property
    def temperature(self) -> float:
        """The divisor of the logits."""
        return self.calibration.temperature if self.calibration else 1.0

    @classmethod
    def of(cls, search: Search, head: AnyHead, split: Split, false_alarms: float, seed: int) -> "CalibratedHead":
        """Fit temperature and thresholds to out-of-fold logits."""
        held_out, calibration = search.rows.folds >= 0, None
        if held_out.sum() >= LEAST_TO_CALIBRATE and not search.rows.are_few:
            calibration = fit_temperature(search.logits[held_out], search.rows.labels[held_out])
        calibrated = cls(head, calibration, None)
        if not false_alarms:
            return calibrated
        return replace(calibrated, unknown=fit_novelty(search.rows, split.draws[search.images], false_alarms, seed))

    def with_thresholds(
        self, search: Search, split: Split, precision: Mapping[str, float], classes: list[str]
    ) -> "CalibratedHead":
        """Choose the thresholds of classes, from the same logits, for the precision asked for."""
        draws = split.draws[search.images]
        return replace(self, thresholds=fit_thresholds(search, draws, self.temperature, precision, classes))

    def measured_on(self, blocks: Iterable[NDArray[np.float32]]) -> tuple[NDArray[np.float64], "CalibratedHead"]:
        """Return calibrated probabilities of test images, and measure how many are marked unknown.

        The images come in blocks, (b, d); the probabilities are (m, k) for all of them.
        """
        found, marked = [], []
        for block in blocks:
            found.append(softmax(self.head.logits(block) / self.temperature))
            if self.unknown is not None:
                marked.append(self.unknown.marks(block))
        probabilities = np.concatenate([np.empty((0, self.head.classes)), *found])
        if self.unknown is None or not len(probabilities):
            return probabilities, self
        share = float(np.concatenate(marked).mean())
        return probabilities, replace(self, unknown=replace(self.unknown, measured=share))
