"""The classifier file: one ONNX graph from image to probabilities, with its classes and where it came from inside."""

import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.artifact.graph import PREDICTION, PROBABILITIES, Head, head_of, join
from headstart.classify.artifact.layers import to_layers
from headstart.classify.confidence.novelty import Novelty
from headstart.classify.errors import ClassifierError
from headstart.classify.heads.loss import softmax
from headstart.classify.heads.search import logits_of
from headstart.extract.inference.model import Model, parse_model, read_model, seal
from headstart.extract.store.store import Store
from headstart.files.atomic import atomic_file, check_output, write_all
from headstart.files.urls import local_path

FORMAT, SCHEMA = "headstart-classifier", 1
TOLERANCE = 1e-5
"""The largest difference in probability from scikit-learn that is written; float32 rounding stays far below it."""


@dataclass(frozen=True)
class Classifier:
    """A classifier file that has been read and checked.

    Attributes
    ----------
    model
        The graph: outputs ``probabilities`` (n, k) and ``embedding`` (n, d); where it can tell that an image is none
        of its classes, also ``distance`` and ``unknown``, (n, 1) each, and these with the probabilities as
        ``prediction``, (n, k + 2).
    """

    model: Model

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of the probabilities."""
        return list(self.model.metadata["classes"])

    @property
    def prediction(self) -> str:
        """Name of the output that holds all that is told of an image: ``prediction``, or ``probabilities``."""
        return PREDICTION if PREDICTION in self.model.outputs else PROBABILITIES

    @cached_property
    def _heads(self) -> dict[str, Any]:
        return {output: head_of(self.model.data, output) for output in {PROBABILITIES, self.prediction}}

    def probabilities(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the head alone, in numpy: float32 (n, d) -> float32 (n, k)."""
        return self._run(PROBABILITIES, embeddings)

    def predictions(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the head alone, in numpy, for the output `prediction`: float32 (n, d) -> (n, k + 2) or (n, k)."""
        return self._run(self.prediction, embeddings)

    def _run(self, output: str, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        result: NDArray[np.float32] = self._heads[output].run(None, {"embedding": embeddings})[0]
        return result

    def require_store_of_same_backbone(self, store: Store) -> None:
        """Refuse a store whose embeddings another backbone made.

        Raises
        ------
        ClassifierError
            Naming both.
        """
        mine, found = self.model.backbone_sha256, store.header.model_sha256
        if mine != found:
            raise ClassifierError(
                f"{store.location}: its embeddings come from backbone {found[:16]}, but {self.model.source} "
                f"was trained "
                f"on those of {mine[:16]}; embed the images with the same backbone"
            )


@dataclass(frozen=True)
class Provenance:
    """What a classifier file tells of its making, besides its head.

    Attributes
    ----------
    head
        Name and options of the head.
    calibration
        The temperature and what it was fitted on.
    trained_on
        The store, the rows used, the seed, the versions.
    measured
        Figures on rows that it was not trained on (empty where there were none).
    """

    head: dict[str, Any] = field(default_factory=dict)
    calibration: dict[str, Any] = field(default_factory=dict)
    trained_on: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)


def read_classifier(path: str | os.PathLike[str]) -> Classifier:
    """Read a classifier file, here or at a URL.

    Raises
    ------
    ClassifierError
        Where the file is a backbone rather than a classifier, or incomplete.
    ModelError
        Where it is missing, damaged, or of another version.
    """
    model = read_model(path)
    if model.metadata.get("format") != FORMAT:
        raise ClassifierError(
            f"{path}: expected a classifier, found a backbone; train one with `headstart train photos.h5 -o NAME.onnx`"
        )
    classes = model.metadata.get("classes", [])
    if model.outputs.get("probabilities") != (len(classes),) or "embedding" not in model.outputs:
        raise ClassifierError(
            f"{path}: its graph does not give one probability for each of its classes; train it again"
        )
    return Classifier(model)


def write_classifier(
    output: str | os.PathLike[str],
    head: Any,
    store: Store,
    *,
    check_rows: NDArray[np.int64] | None = None,
    temperature: float = 1.0,
    unknown: Novelty | None = None,
    provenance: Provenance | None = None,
) -> Classifier:
    """Join a store's backbone and a fitted scikit-learn head in one file, once they are shown to agree.

    Parameters
    ----------
    head
        A fitted pipeline (see `headstart.classify.artifact.layers`), whose classes are the store's label codes 0..k-1.
    check_rows
        Rows of the store on which head and file are compared; by default up to 1,000 of all classes.
    temperature
        Divides the head's logits.
    unknown
        When to answer "none of these"; never, by default.

    Raises
    ------
    ClassifierError
        Where file and pipeline differ by more than `TOLERANCE` or in a label, or `output` holds something else.
    HeadError
        Where the head cannot be written as ONNX.
    """
    place = local_path(output)
    check_classifier_output(place)
    backbone = store.model()
    layers = to_layers(head)
    if len(layers[-1].bias) != len(store.classes):
        raise ClassifierError(
            f"{place}: the head knows {len(layers[-1].bias)} classes, but {store.location} has {len(store.classes)}"
        )
    whole = Head(layers, temperature, unknown)
    data = _serialised(join(backbone.data, whole), _metadata(backbone, store, whole, provenance or Provenance()))
    classifier = Classifier(parse_model(data, str(place)))
    rows = spread(np.flatnonzero(store.is_embedded)) if check_rows is None else check_rows
    _verify(classifier, head, whole, store.embeddings(rows), place)
    with atomic_file(place) as file:
        write_all(file, data)
    return classifier


def spread(rows: NDArray[np.int64], count: int = 1000) -> NDArray[np.int64]:
    """Pick at most `count` row numbers, spread evenly, so that a store in order of class gives some of each."""
    return rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64)]


def check_classifier_output(place: Path) -> None:
    """Refuse to write where it is impossible, or where something other than a classifier lies.

    Raises
    ------
    OutputError, ClassifierError
        Naming the file.
    """
    check_output(place)
    if place.suffix != ".onnx":
        raise ClassifierError(f"{place}: expected a name that ends in .onnx for the classifier")
    if place.exists() and b"headstart-classifier" not in place.read_bytes():
        raise ClassifierError(f"{place}: exists and is no classifier of Headstart; choose another name with -o")


def _metadata(backbone: Model, store: Store, head: Head, provenance: Provenance) -> dict[str, Any]:
    unknown = head.unknown
    thresholds = {} if unknown is None else {
        "distance": unknown.distance, "probability": unknown.probability, "neighbours": unknown.neighbours,
        "false_alarm_rate": unknown.false_alarm_rate, "references": len(unknown.references),
    }  # fmt: skip
    inherited = {key: value for key, value in backbone.metadata.items() if key not in ("parity",)}
    return {
        **inherited,
        "format": FORMAT,
        "schema": SCHEMA,
        "backbone_sha256": backbone.sha256,
        "classes": store.classes,
        "head": provenance.head,
        "calibration": {"temperature": head.temperature, **provenance.calibration},
        "thresholds": thresholds,
        "trained_on": provenance.trained_on,
        "measured": provenance.measured,
    }


def _serialised(proto: Any, metadata: dict[str, Any]) -> bytes:
    import onnx

    onnx.helper.set_model_props(proto, {"headstart": json.dumps(metadata | {"sealed": True}, sort_keys=True)})
    onnx.checker.check_model(proto)
    data = bytes(proto.SerializeToString(deterministic=True))
    return data + seal(data)


def _verify(classifier: Classifier, head: Any, whole: Head, embeddings: NDArray[np.float32], place: Path) -> None:
    if not len(embeddings):
        raise ClassifierError(f"{place}: no rows to compare the classifier with scikit-learn on; it was not written")
    expected = softmax(logits_of(head, embeddings) / whole.temperature)
    found = classifier.probabilities(embeddings)
    difference = float(np.abs(expected - found).max())
    first_two = np.sort(expected, axis=1)[:, -2:]
    is_tie = first_two[:, 1] - first_two[:, 0] <= 2 * TOLERANCE
    other_label = int((~is_tie & (expected.argmax(axis=1) != found.argmax(axis=1))).sum())
    if not difference <= TOLERANCE or other_label:
        raise ClassifierError(
            f"{place}: its probabilities differ from scikit-learn's by {difference:.1e}, more than {TOLERANCE:.0e}, "
            f"and {other_label} labels differ, so it was not written; try a stronger penalty (a smaller C)"
        )
