"""Probabilities beside labels: figures, and the mistakes worth looking at."""

import math
import os
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.confidence.calibration import Reliability, reliability
from headstart.classify.evaluation.intervals import share_interval
from headstart.classify.heads.loss import log_loss
from headstart.extract.store.store import Store


@dataclass(frozen=True)
class ClassFigures:
    """Of one class: precision and recall in 0..1 (NaN where undefined), and how many images were judged."""

    name: str
    precision: float
    recall: float
    images: int


@dataclass(frozen=True)
class Mistake:
    """One image that was judged wrongly: its path, its label, what was predicted and how surely."""

    path: str
    label: str
    predicted: str
    probability: float


@dataclass(frozen=True)
class Evaluation:
    """Figures on n labelled images.

    Attributes
    ----------
    images
        n.
    accuracy
        Share of right answers, 0..1.
    accuracy_interval
        95 % interval of the accuracy (see `headstart.classify.evaluation.intervals`).
    log_loss
        Mean of -ln(probability given to the right class), in nats.
    majority
        Accuracy of always answering the commonest class.
    classes
        Figures of each class, in the classifier's order.
    confusion
        int64, (k, k): row = label, column = prediction.
    mistakes
        The most confident first.
    reliability
        How often answers of a given confidence are right.
    rows
        int64, (n,): row numbers of the images in the store.
    probabilities
        (n, k).
    judged_on
        Where the images came from, in words.
    untrained
        Accuracy on the same images of a head on an untrained backbone's embeddings, where there is one.
    """

    images: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    log_loss: float
    majority: float
    classes: list[ClassFigures]
    confusion: NDArray[np.int64] = field(repr=False)
    mistakes: list[Mistake] = field(repr=False)
    reliability: Reliability = field(repr=False)
    rows: NDArray[np.int64] = field(repr=False)
    probabilities: NDArray[np.floating] = field(repr=False)
    judged_on: str = ""
    untrained: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Give the same as plain JSON values, with null for what is undefined."""
        said = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in ("reliability", "rows", "probabilities")
        }
        return {
            **said,
            "classes": [{name: _or_null(value) for name, value in asdict(one).items()} for one in self.classes],
            "confusion": self.confusion.tolist(),
            "mistakes": [asdict(mistake) for mistake in self.mistakes],
            "calibration_error": self.reliability.error,
        }


def _or_null(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def judge_rows(
    table: Store, probabilities: NDArray[np.floating], rows: NDArray[np.int64], classes: list[str]
) -> Evaluation:
    """Judge probabilities, (m, k), given for m labelled rows of a store; every class of the store is in `classes`."""
    code = np.array([classes.index(name) for name in table.classes], np.int32)
    paths = [os.fsdecode(path) for path in table.rows.path[rows].tolist()]
    return judge(probabilities, code[table.labels[rows]], classes, paths, rows)


def judge(
    probabilities: NDArray[np.floating],
    labels: NDArray[np.int32],
    classes: list[str],
    paths: list[str],
    rows: NDArray[np.int64] | None = None,
) -> Evaluation:
    """Compare probabilities with labels.

    Parameters
    ----------
    probabilities
        (n, k), rows summing to 1.
    labels
        int32, (n,): codes into `classes`.
    paths
        Of the n images.
    rows
        Their numbers in the store; by default 0..n-1.
    """
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    right = predicted == labels
    return Evaluation(
        images=len(labels),
        accuracy=float(right.mean()),
        accuracy_interval=share_interval(int(right.sum()), len(labels)),
        log_loss=log_loss(probabilities, labels),
        majority=float(confusion.sum(axis=1).max() / len(labels)),
        classes=_per_class(confusion, classes),
        confusion=confusion,
        mistakes=_mistakes(probabilities, labels, classes, paths),
        reliability=reliability(probabilities, labels),
        rows=np.arange(len(labels)) if rows is None else rows,
        probabilities=probabilities,
    )


def _per_class(confusion: NDArray[np.int64], classes: list[str]) -> list[ClassFigures]:
    right, labelled, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    return [
        ClassFigures(
            name,
            precision=float(right[i] / predicted[i]) if predicted[i] else float("nan"),
            recall=float(right[i] / labelled[i]) if labelled[i] else float("nan"),
            images=int(labelled[i]),
        )
        for i, name in enumerate(classes)
    ]


def _mistakes(
    probabilities: NDArray[np.floating], labels: NDArray[np.int32], classes: list[str], paths: list[str]
) -> list[Mistake]:
    predicted, surest = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    ordered = wrong[np.argsort(-surest[wrong], kind="stable")]
    return [Mistake(paths[i], classes[labels[i]], classes[predicted[i]], float(surest[i])) for i in ordered]
