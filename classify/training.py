"""Embedding store -> classifier file, in one call."""

import os
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from classify.classifier import Classifier, Provenance, check_classifier_output, spread, write_classifier
from classify.errors import LabelError
from classify.evaluation import Evaluation, judge_rows
from classify.heads import HeadOptions, fit_head, make_head
from classify.splitting import digest_of_rows, split_rows
from extract.store import Store, open_store


@dataclass(frozen=True)
class TrainResult:
    """A trained classifier and how it did.

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
    trained_images
        How many images the head was fitted on.
    judged_on
        Where the images of the evaluation came from, in words.
    is_backbone_trained
        False for the baseline of random weights.
    seconds
        Wall time.
    """

    classifier: Classifier = field(repr=False)
    path: Path
    head: Any = field(repr=False)
    evaluation: Evaluation
    trained_images: int
    judged_on: str
    is_backbone_trained: bool
    seconds: float


def train(
    store: str | os.PathLike[str] | Store,
    output: str | os.PathLike[str] = "classifier.onnx",
    *,
    head: str = "logreg",
    options: HeadOptions | None = None,
    holdout: float = 0.2,
) -> TrainResult:
    """Train a head on a store's labelled embeddings, judge it on images that it has not seen, and write the classifier.

    Parameters
    ----------
    store
        An embedding store, or its path. It carries its backbone, which goes into the classifier.
    output
        The classifier file, ``*.onnx``.
    head
        A name of `classify.heads.HEADS`.
    holdout
        Share of images to judge on where the store has no val or test split, above 0 and below 1.

    Raises
    ------
    ClassifyError
        `LabelError`, `HeadError` or `ClassifierError`.
    ExtractError
        Where the store cannot be read, or the output cannot be written.
    """
    started = time.monotonic()
    options = options or HeadOptions()
    place = Path(output)
    pipeline = make_head(head, options)
    if not 0 < holdout < 1:
        raise LabelError(f"the share to hold out must lie between 0 and 1, found {holdout}")
    check_classifier_output(place)
    table = store if isinstance(store, Store) else open_store(store)
    split = split_rows(table, holdout, options.seed)
    fit_head(pipeline, table.embeddings(split.train), table.labels[split.train], options)
    evaluation = judge_rows(table, pipeline.predict_proba(table.embeddings(split.test)), split.test, table.classes)
    provenance = Provenance(
        head={"name": head, **asdict(options)},
        trained_on={**_origin(table), "images": len(split.train), "judged_on": split.origin, "holdout": holdout},
        measured={
            "images": evaluation.images, "accuracy": evaluation.accuracy, "log_loss": evaluation.log_loss,
        },
    )  # fmt: skip
    classifier = write_classifier(place, pipeline, table, check_rows=spread(split.test), provenance=provenance)
    return TrainResult(
        classifier=classifier,
        path=place,
        head=pipeline,
        evaluation=evaluation,
        trained_images=len(split.train),
        judged_on=split.origin,
        is_backbone_trained=classifier.model.is_trained,
        seconds=time.monotonic() - started,
    )


def _origin(table: Store) -> dict[str, Any]:
    """Name the data and the programs that a head was made from."""
    return {
        "store": table.place.name,
        "rows_sha256": digest_of_rows(table),
        "versions": {name: version(name) for name in ("headstart", "scikit-learn", "numpy", "onnx")},
    }
