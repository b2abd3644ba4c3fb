"""Metrics of predicted probabilities against labels, and the mistakes."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.confidence.calibration import Reliability, reliability
from headstart.classify.confidence.precision import ClassThreshold
from headstart.classify.evaluation.class_figures import ClassFigures, class_figures
from headstart.classify.evaluation.intervals import share_interval
from headstart.classify.evaluation.thresholds import ThresholdFigures, threshold_figures
from headstart.classify.heads.loss import log_loss
from headstart.classify.labels.match import LabelMatch
from headstart.extract.sources.labels import codes_among
from headstart.extract.store.store import Store

NOT_JSON = ("reliability", "rows", "probabilities", "groups", "store")
TOP = 5
"""Of at most so many classes, the labelled one is always among the likeliest `TOP`: that says nothing."""


@dataclass(frozen=True)
class Mistake:
    """One misclassified image: its path, its label, the predicted class and its probability."""

    path: str
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Evaluation:
    """Metrics on n labelled images.

    Attributes
    ----------
    images
        n.
    accuracy
        Share of correct predictions, 0..1; NaN, as all figures, if n is 0.
    accuracy_interval
        95 % interval of the accuracy (see `headstart.classify.evaluation.intervals`).
    log_loss
        Mean of -ln(probability of the labelled class), in nats.
    majority
        Accuracy of always predicting the most common class.
    macro_f1
        Mean F1 of the classes, each counting the same; those without an image or a prediction are left out.
    balanced_accuracy
        Mean recall of the classes that have images (Brodersen et al. 2010).
    top_5_accuracy, top_5_accuracy_interval
        Share of images whose labelled class is among the `TOP` likeliest, and its 95 % interval; None unless there are
        more classes than these. Of equally likely classes, the first counts as likelier, as in a prediction.
    classes
        One entry per class, in the classifier's order.
    confusion
        int64, (k, k): row = label, column = prediction.
    mistakes
        The most confident first.
    reliability
        Accuracy by confidence.
    rows
        int64, (n,): row numbers of the images in the store.
    probabilities
        (n, k).
    groups
        int64, (n,): the same number for images that are not independent, such as duplicates; None if all are.
    judged_on
        Which images these are, in words.
    warnings
        Reasons to doubt that the classifier has seen none of them.
    untrained
        Accuracy on the same images of a head on an untrained backbone's embeddings; None if there is none.
    labels
        What `evaluate` joined to the store from a list of labels or from its metadata; None if nothing was.
    store
        The store as `evaluate` labelled it.
    thresholds
        One entry per class that has a threshold of its own.
    """

    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    log_loss: float
    majority: float
    macro_f1: float
    balanced_accuracy: float
    top_5_accuracy: float | None
    top_5_accuracy_interval: tuple[float, float] | None
    classes: list[ClassFigures]
    confusion: NDArray[np.int64] = field(repr=False)
    mistakes: list[Mistake] = field(repr=False)
    reliability: Reliability = field(repr=False)
    rows: NDArray[np.int64] = field(repr=False)
    probabilities: NDArray[np.floating] = field(repr=False)
    groups: NDArray[np.int64] | None = field(default=None, repr=False)
    judged_on: str = ""
    warnings: list[str] = field(default_factory=list)
    untrained: float | None = None
    labels: LabelMatch | None = field(default=None, repr=False)
    store: Store | None = field(default=None, repr=False)
    thresholds: list[ThresholdFigures] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, with None for NaN; without what exists per row."""
        plain = {name: none_if_nan(value) for name, value in vars(self).items() if name not in NOT_JSON}
        return {
            **plain,
            "labels": self.labels and self.labels.to_json(),
            "classes": [{name: none_if_nan(value) for name, value in vars(one).items()} for one in self.classes],
            "confusion": self.confusion.tolist(),
            "thresholds": [vars(one) for one in self.thresholds],
            "mistakes": [vars(mistake) for mistake in self.mistakes],
            "calibration_error": none_if_nan(self.reliability.error),
            "calibration_error_by_chance": none_if_nan(self.reliability.chance),
        }


def none_if_nan(value: Any) -> Any:
    """Return None for NaN, which JSON does not have, and any other value as it is."""
    return None if isinstance(value, float) and np.isnan(value) else value


def evaluate_rows(
    store: Store,
    probabilities: NDArray[np.floating],
    rows: NDArray[np.int64],
    classes: list[str],
    groups: NDArray[np.int64] | None = None,
    thresholds: Mapping[str, ClassThreshold] | None = None,
) -> Evaluation:
    """Evaluate probabilities, (m, k), of m labelled rows of a store, whose labels are all in `classes`.

    `groups`, (m,), has the same number for rows that are not independent; `thresholds` are those of classes, by name.
    """
    paths = [os.fsdecode(path) for path in store.rows.path[rows].tolist()]
    found = evaluate_probabilities(probabilities, codes_of(store, rows, classes), classes, paths, groups, thresholds)
    return replace(found, rows=rows)


def codes_of(store: Store, rows: NDArray[np.int64], classes: list[str]) -> NDArray[np.int32]:
    """Return the labels of rows, int32 (m,), as codes into other classes; -1 for a class that is not among them."""
    return np.array(codes_among(store.classes, classes), np.int32)[store.labels[rows]]


def evaluate_probabilities(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.int32],
    classes: list[str],
    paths: list[str],
    groups: NDArray[np.int64] | None = None,
    thresholds: Mapping[str, ClassThreshold] | None = None,
) -> Evaluation:
    """Evaluate probabilities against labels.

    Parameters
    ----------
    probabilities
        (n, k), rows summing to 1.
    labels
        int32, (n,): codes into `classes`.
    paths
        One per image.
    groups
        int64, (n,): the same number for images that are not independent, such as duplicates; all are by default.
    thresholds
        Class name -> the threshold below which a prediction of it is unknown.
    """
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    right = predicted == labels
    per_class = class_figures(probabilities, labels, classes, groups)
    is_in_top = _is_in_top(probabilities, labels) if len(classes) > TOP and len(labels) else None
    return Evaluation(
        images=len(labels),
        accuracy=float(right.mean()) if len(labels) else np.nan,
        accuracy_interval=share_interval(right, groups) if len(labels) else (0.0, 1.0),
        log_loss=log_loss(probabilities, labels) if len(labels) else np.nan,
        majority=float(confusion.sum(axis=1).max() / len(labels)) if len(labels) else np.nan,
        macro_f1=_mean_of([one.f1 for one in per_class]),
        balanced_accuracy=_mean_of([one.recall for one in per_class]),
        top_5_accuracy=None if is_in_top is None else float(is_in_top.mean()),
        top_5_accuracy_interval=None if is_in_top is None else share_interval(is_in_top, groups),
        classes=per_class,
        confusion=confusion,
        mistakes=_mistakes(probabilities, labels, classes, paths),
        reliability=reliability(probabilities, labels),
        rows=np.arange(len(labels)),
        probabilities=probabilities,
        groups=groups,
        thresholds=threshold_figures(probabilities, labels, classes, thresholds or {}, groups),
    )


def _mean_of(values: list[float]) -> float:
    """Return the mean of the values that are defined, and NaN if none is."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else np.nan


def _is_in_top(probabilities: NDArray[np.floating], labels: NDArray[np.int32]) -> NDArray[np.bool_]:
    own, codes = probabilities[np.arange(len(labels)), labels][:, None], np.arange(probabilities.shape[1])
    is_ahead = (probabilities > own) | ((probabilities == own) & (codes < labels[:, None]))
    is_in_top: NDArray[np.bool_] = is_ahead.sum(axis=1) < TOP
    return is_in_top


def _mistakes(
    probabilities: NDArray[np.floating], labels: NDArray[np.int32], classes: list[str], paths: list[str]
) -> list[Mistake]:
    """List the misclassified images, the most confident first."""
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    ordered = wrong[np.argsort(-confidence[wrong], kind="stable")]
    return [Mistake(paths[i], classes[labels[i]], classes[predicted[i]], float(confidence[i])) for i in ordered]
