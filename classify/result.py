"""The result of a training: the classifier, how it was chosen, and how it did."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headstart.classify.artifact.classifier import ClassifierFile
from headstart.classify.confidence.calibration import Calibration
from headstart.classify.confidence.novelty import Novelty
from headstart.classify.confidence.precision import ClassThreshold
from headstart.classify.evaluation.baselines import Baseline
from headstart.classify.evaluation.comparison import ComparedHead
from headstart.classify.evaluation.domain import Domain
from headstart.classify.evaluation.label_issues import LabelIssue
from headstart.classify.evaluation.learning_curve import LearningCurve
from headstart.classify.evaluation.metrics import Evaluation
from headstart.classify.heads.candidate import Search
from headstart.classify.heads.kinds import AnyHead
from headstart.classify.labels.match import LabelMatch
from headstart.classify.split.duplicates import Duplicates
from headstart.classify.split.holdout import Split
from headstart.files.notebook import html_facts


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A trained classifier, how it was chosen and how it did.

    Attributes
    ----------
    classifier, path
        The file that was written, and its path.
    fitted_head
        The head that it was made from; see `head`.
    evaluation
        Metrics on images that the head has not seen.
    search
        The settings that were compared, by cross-validation on the training images.
    calibration
        The temperature, and the reliability out of fold; None if there are too few images.
    unknown
        When an image is marked unknown; None if that was turned off, or there are too few images.
    thresholds
        Class name -> the threshold below which a prediction of it is unknown; those that were asked for.
    learning_curve
        Accuracy with fewer images, and a forecast for more.
    duplicates
        Duplicate photos found in the store; none of them are on both sides of the evaluation.
    label_issues
        Likely label mistakes, the likeliest first; None if nobody asked for them.
    domain
        How far the photos are from those that the backbone learned from; None if it does not know.
    split
        Which images it was fitted on, and which it was evaluated on.
    warnings
        Reasons to doubt the figures, in words.
    baselines
        This head, those on other stores in the order given, the untrained one, and the majority class.
    trained_images
        How many images the head was fitted on.
    measured_images
        How many images the head, or the first of the heads, that was evaluated was fitted on: fewer than
        `trained_images` if the head was fitted on all images afterwards.
    labels
        What was joined to the store from a list of labels or from its metadata; None if nothing was.
    heads
        The heads that ``auto`` compared, the chosen one first; empty for a given head.
    seconds
        Wall time, without that of the report.
    """

    classifier: ClassifierFile = field(repr=False)
    path: Path
    fitted_head: AnyHead = field(repr=False)
    evaluation: Evaluation
    search: Search
    calibration: Calibration | None
    unknown: Novelty | None
    thresholds: dict[str, ClassThreshold]
    learning_curve: LearningCurve
    duplicates: Duplicates
    label_issues: list[LabelIssue] | None
    domain: Domain | None
    split: Split = field(repr=False)
    warnings: list[str]
    baselines: list[Baseline] = field(repr=False)
    trained_images: int
    measured_images: int
    labels: LabelMatch | None = None
    heads: list[ComparedHead] = field(default_factory=list)
    seconds: float = 0.0

    def _repr_html_(self) -> str:
        measured = self.evaluation
        low, high = measured.accuracy_interval
        figures = {
            "accuracy": f"{measured.accuracy:.3f} (95 %: {low:.3f} to {high:.3f}) on {measured.images:,} unseen images",
            "log loss": f"{measured.log_loss:.3f}",
            "majority class": f"{measured.majority:.3f}",
        }
        facts = {
            **(figures if measured.images else {"not evaluated": measured.judged_on}),
            "trained on": f"{self.trained_images:,} images of {', '.join(self.classifier.classes)}",
            "head": self.search.chosen.head,
            "notes": "; ".join(self.warnings),
        }
        return html_facts(f"Classifier {self.path.name}", facts)

    @property
    def head(self) -> Any:
        """The fitted scikit-learn pipeline that it was made from; built when first needed."""
        return self.fitted_head.pipeline

    @property
    def judged_on(self) -> str:
        """Where the images of the evaluation came from, in words."""
        return self.evaluation.judged_on

    @property
    def is_refitted(self) -> bool:
        """True if the head of the file was fitted on all images after the evaluation."""
        return bool(self.evaluation.images) and not len(self.split.test)

    @property
    def is_backbone_trained(self) -> bool:
        """False for a backbone of random weights."""
        return self.classifier.model.is_trained
