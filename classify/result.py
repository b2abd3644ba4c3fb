"""What a training gives: the classifier, how it was chosen, and how it did."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.classify.artifact.classifier import Classifier
from headstart.classify.confidence.calibration import Calibration
from headstart.classify.confidence.novelty import Novelty
from headstart.classify.evaluation.baselines import Baseline
from headstart.classify.evaluation.label_issues import LabelIssue
from headstart.classify.evaluation.learning_curve import LearningCurve
from headstart.classify.evaluation.metrics import Evaluation
from headstart.classify.heads.search import Search
from headstart.classify.split.duplicates import Duplicates
from headstart.classify.split.holdout import Split


@dataclass(frozen=True)
class TrainResult:
    """A trained classifier, how it was chosen and how it did.

    Attributes
    ----------
    classifier
        What was written.
    path
        Where.
    head
        The fitted scikit-learn pipeline that it was made from.
    evaluation
        On images that the head has not seen.
    search
        The settings that were compared, by cross-validation on the training images.
    calibration
        The temperature, and reliability out of fold; None where there are too few images.
    unknown
        When it answers "none of these"; None where that was not wanted, or there are too few images.
    curve
        Accuracy with fewer images, and a forecast for more.
    duplicates
        Copies found in the store; none of them are on both sides of the evaluation.
    suspects
        Likely label mistakes, the likeliest first; None where nobody asked for them.
    split
        Which images it was fitted on, and which it was judged on.
    warnings
        What the reader of the figures should know, in words.
    seconds
        Wall time.
    compared
        This head, those on other stores in the order given, the untrained one, and the majority class.
    """

    classifier: Classifier = field(repr=False)
    path: Path
    head: Any = field(repr=False)
    evaluation: Evaluation
    search: Search
    calibration: Calibration | None
    unknown: Novelty | None
    curve: LearningCurve
    duplicates: Duplicates
    suspects: list[LabelIssue] | None
    split: Split = field(repr=False)
    warnings: list[str]
    seconds: float
    compared: list[Baseline] = field(repr=False)

    @property
    def trained_images(self) -> int:
        """How many images the head was fitted on."""
        return len(self.split.train)

    @property
    def judged_on(self) -> str:
        """Where the images of the evaluation came from, in words."""
        return self.split.origin

    @property
    def is_backbone_trained(self) -> bool:
        """False for the baseline of random weights."""
        return self.classifier.model.is_trained
