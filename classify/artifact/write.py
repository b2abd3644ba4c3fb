"""Write a backbone and a head as one classifier file, once it is shown to compute the same."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.artifact.classifier import FORMAT, SCHEMA, ClassifierFile
from headstart.classify.artifact.graph import Head, join
from headstart.classify.confidence.novelty import Novelty
from headstart.classify.confidence.precision import ClassThreshold, least_of
from headstart.classify.errors import ClassifierError, HeadError
from headstart.classify.heads.converted import ConvertedHead
from headstart.classify.heads.kinds import AnyHead
from headstart.classify.heads.layers import FittedHead, Layer
from headstart.classify.heads.loss import softmax
from headstart.classify.heads.registry import wrapped
from headstart.classify.split.seen import TRAINED_ON, digests_of
from headstart.extract.errors import ModelError
from headstart.extract.inference.model import Model, parse_model
from headstart.extract.store.store import Store
from headstart.files.atomic import check_model_output, write_file
from headstart.files.seal import sealed
from headstart.files.urls import local_path

TOLERANCE = 1e-5
"""The largest allowed difference in probability from scikit-learn; float32 rounding stays far below it."""
CHECKED_ROWS = 1000


def write_classifier(
    output: str | os.PathLike[str],
    head: Any,
    store: Store,
    *,
    temperature: float = 1.0,
    unknown: Novelty | None = None,
    thresholds: Mapping[str, ClassThreshold] | None = None,
    provenance: Mapping[str, Mapping[str, Any]] | None = None,
    trained: NDArray[np.int64] | None = None,
) -> ClassifierFile:
    """Write a store's backbone and a fitted scikit-learn head as one file, once it is shown to compute the same.

    File and head are compared on up to `CHECKED_ROWS` rows of the store.

    Parameters
    ----------
    head
        A fitted head, or a classifier or pipeline of scikit-learn, whose classes are the store's label codes 0..k-1,
        or its class names.
    temperature
        Divides the head's logits.
    unknown
        When an image is marked unknown; never, by default.
    thresholds
        Class name -> the threshold below which a prediction of it is marked unknown too.
    provenance
        Entries of the metadata: ``head``, ``calibration``, ``trained_on`` and ``measured`` (see
        `headstart.classify.provenance`).
    trained
        The rows that the head was fitted on. The file names their images, so that they never count as unseen.

    Raises
    ------
    ClassifierError
        If file and head differ by more than `TOLERANCE` or in a label.
    HeadError
        If the head cannot be written as ONNX.
    OutputError
        If `output` cannot be written, or holds something other than a classifier.
    """
    output = local_path(output)
    check_model_output(output, "classifier")
    backbone = store.model()
    rows = np.flatnonzero(store.is_embedded)
    if not len(rows):
        raise ClassifierError(f"{output}: not written, as the store has no embeddings to compare it with the head on")
    # Evenly spread, so that a store in order of class gives some of each.
    rows = rows[np.linspace(0, len(rows) - 1, min(CHECKED_ROWS, len(rows))).astype(np.int64)]
    embeddings = store.embeddings(rows)
    body = _body_of(head, store, embeddings, output)
    graph_head = Head(body, temperature, unknown, least_of(thresholds, store.classes) if thresholds else None)
    metadata = _metadata(backbone, store.classes, graph_head, provenance or {})
    if thresholds:
        metadata["thresholds"]["classes"] = {name: asdict(one) for name, one in thresholds.items()}
    entries = {} if trained is None else {TRAINED_ON: digests_of(store, trained)}
    data = _serialised(join(backbone.data, graph_head), metadata, entries)
    return _written(output, data, graph_head, embeddings)


def write_layer(
    output: str | os.PathLike[str],
    backbone: Model,
    layer: tuple[NDArray[np.float32], NDArray[np.float32]],
    classes: list[str],
    embeddings: NDArray[np.float32],
) -> ClassifierFile:
    """Write a backbone and the layer that it was trained with as a classifier, as `write_classifier` does a head.

    Parameters
    ----------
    layer
        Weights and bias, float32 (d, k) and (k,); softmax follows.
    classes
        Names of its k classes.
    embeddings
        float32 (n, d), to compare file and layer on.

    Raises
    ------
    ClassifierError, OutputError
        As `write_classifier`.
    """
    output = local_path(output)
    check_model_output(output, "classifier")
    weights, bias = (np.asarray(array, np.float64) for array in layer)
    head = Head(FittedHead([Layer(weights, bias)], lambda: None))
    metadata = _metadata(backbone, classes, head, {"head": {"name": "top"}})
    return _written(output, _serialised(join(backbone.data, head), metadata, {}), head, embeddings)


def _written(output: Path, data: bytes, head: Head, embeddings: NDArray[np.float32]) -> ClassifierFile:
    classifier = ClassifierFile(_parsed(data, head.body, output))
    _verify(classifier, head.body, head.temperature, embeddings)
    write_file(output, data)
    return classifier


def _parsed(data: bytes, body: AnyHead, output: Path) -> Model:
    try:
        return parse_model(data, str(output))
    except ModelError as error:
        if not isinstance(body, ConvertedHead):
            raise
        reason = str(error).removeprefix(f"{output}: ").partition(";")[0]
        raise HeadError(
            f"{output}: not written, as the head becomes a graph that is not supported: {reason}; use another "
            "classifier"
        ) from None


def _body_of(head: Any, store: Store, embeddings: NDArray[np.float32], output: Path) -> AnyHead:
    """Return the layers or the conversion of a head whose classes are the store's, in the same order."""
    body = head if isinstance(head, AnyHead) else wrapped(None, head, embeddings)
    if body.classes != len(store.classes):
        raise ClassifierError(
            f"{output}: the head knows {body.classes} classes, but {store.location} has {len(store.classes)}"
        )
    names = list(getattr(head, "classes_", range(body.classes)))
    if names not in (list(range(body.classes)), store.classes):
        raise ClassifierError(
            f"{output}: expected a head fitted to the class names of {store.location} in its order, or to their codes "
            f"0 to {body.classes - 1}, found {', '.join(map(str, names[:5]))}, ..."
        )
    return body


def _metadata(
    backbone: Model, classes: list[str], head: Head, provenance: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    unknown = head.unknown
    thresholds = {} if unknown is None else {
        "distance": unknown.distance, "false_alarm_rate": unknown.false_alarm_rate, "references": unknown.references,
    }  # fmt: skip
    inherited = {key: value for key, value in backbone.metadata.items() if key != "parity"}
    return {
        **inherited,
        "format": FORMAT,
        "schema": SCHEMA,
        "backbone_sha256": backbone.sha256,
        "classes": classes,
        "head": provenance.get("head", {}),
        "calibration": {"temperature": head.temperature, **provenance.get("calibration", {})},
        "thresholds": thresholds,
        "trained_on": provenance.get("trained_on", {}),
        "measured": provenance.get("measured", {}),
    }


def _serialised(proto: Any, metadata: dict[str, Any], entries: dict[str, str]) -> bytes:
    import onnx

    text = json.dumps(metadata | {"sealed": True}, sort_keys=True)
    onnx.helper.set_model_props(proto, {"headstart": text, **entries})
    onnx.checker.check_model(proto)
    data = bytes(proto.SerializeToString(deterministic=True))
    return sealed(data)


def _verify(classifier: ClassifierFile, head: AnyHead, temperature: float, embeddings: NDArray[np.float32]) -> None:
    output = classifier.model.source
    expected = softmax(head.logits(embeddings) / temperature)
    found = classifier.probabilities(embeddings)
    difference = float(np.abs(expected - found).max())
    first_two = np.sort(expected, axis=1)[:, -2:]
    is_tie = first_two[:, 1] - first_two[:, 0] <= 2 * TOLERANCE
    other_label = int((~is_tie & (expected.argmax(axis=1) != found.argmax(axis=1))).sum())
    if not difference <= TOLERANCE or other_label:
        raise ClassifierError(
            f"{output}: its probabilities differ from scikit-learn's by {difference:.1e}, more than {TOLERANCE:.0e}, "
            f"and {other_label} labels differ, so it was not written; try a stronger penalty (a smaller C)"
        )
