"""A folder of images, or an embedding store, through a classifier file into a table of predictions."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.classify.artifact.classifier import Classifier, read_classifier
from headstart.classify.artifact.graph import PREDICTION
from headstart.classify.errors import PredictionError
from headstart.classify.scoring.predictions import Prediction, check_format, write_predictions
from headstart.extract.engines.open import open_runner
from headstart.extract.options import EngineOptions
from headstart.extract.pipeline import fill, header_for
from headstart.extract.sources.find import find_images
from headstart.extract.store.merging import Share
from headstart.extract.store.remote_copy import working_copy
from headstart.extract.store.schema import EMBEDDED
from headstart.extract.store.shards import PARTS, is_store
from headstart.extract.store.store import Store, open_store
from headstart.extract.store.writer import StoreWriter, remove_unfinished_of
from headstart.files.atomic import check_output, check_outside
from headstart.files.progress import ProgressCallback
from headstart.files.urls import is_url


@dataclass(frozen=True)
class ScoreSummary:
    """What was scored; ``inputs == scored + failed``.

    Attributes
    ----------
    output
        The table; text where it is at a URL.
    counts
        Class name -> images for which it is the likeliest.
    labelled, agreeing
        How many scored images lie in a folder with the name of a class (or have a label), and for how many of these it
        is the likeliest class.
    unknown
        How many of the scored images the classifier takes for none of its classes; None where it cannot tell.
    provider
        onnxruntime's name of what ran, or None where stored embeddings were scored.
    passed_over
        What ``auto`` could not use, with reasons.
    stages
        Seconds spent in each stage, summed over threads: read, decode, infer, store.
    """

    output: Path | str
    inputs: int
    scored: int
    failed: int
    counts: dict[str, int]
    labelled: int
    agreeing: int
    unknown: int | None
    provider: str | None
    passed_over: list[str]
    seconds: float
    stages: dict[str, float]


def score(
    images: str | os.PathLike[str],
    classifier: str | os.PathLike[str],
    output: str | os.PathLike[str] = "predictions.csv",
    *,
    top: int = 3,
    share: Share | None = None,
    options: EngineOptions | None = None,
    progress: ProgressCallback | None = None,
) -> ScoreSummary:
    """Score every image of a folder, manifest or store.

    Scoring images goes through the same engine as embedding them; a run that was cut off goes on where it was.

    Parameters
    ----------
    images
        A folder, URL or manifest of images, or an embedding store, whose images are then not read again.
    classifier
        A file made by ``headstart train``.
    output
        ``*.csv``, ``*.jsonl`` or ``*.parquet``, here or at a URL.
    top
        How many of the likeliest classes are written for each image.
    share
        Which part of the images to score, where several runs divide them up, each with a table of its own.

    Raises
    ------
    ClassifyError, ExtractError
        Where classifier, images or output cannot be used; an image that fails is a row, with its reason.
    """
    started = time.monotonic()
    check_format(output)
    if top < 1:
        raise PredictionError(f"the number of classes to write must be at least 1, found {top}")
    check_outside(output, images)
    with working_copy(output, is_store=False) as place:
        check_output(place)
        model = read_classifier(classifier)
        if any(place.exists() and os.path.exists(given) and place.samefile(given) for given in (images, classifier)):
            raise PredictionError(f"{place}: is what is being read; write the predictions to another file with -o")
        run = _Run(model, place, min(top, len(model.classes)))
        if is_store(images):
            run.write(_score_store(model, open_store(images), share))
        else:
            _score_images(run, images, share, options or EngineOptions(), progress)
    return run.summary(os.fspath(output) if is_url(output) else place, time.monotonic() - started)


class _Run:
    """Counts predictions on their way into the table."""

    def __init__(self, classifier: Classifier, output: Path, places: int) -> None:
        self.classifier, self.output, self._places = classifier, output, places
        self._counts = np.zeros(len(classifier.classes), np.int64)
        self._failed = self._labelled = self._agreeing = self._unknown = 0
        self._knows_unknown = classifier.prediction == PREDICTION
        self.stages: dict[str, float] = {}
        self.provider: str | None = None
        self.passed_over: list[str] = []

    def write(self, batches: "Iterator[_Batch]") -> None:
        predictions = (prediction for batch in batches for prediction in self._predictions(batch))
        write_predictions(self.output, predictions, self._places, with_unknown=self._knows_unknown)

    def summary(self, output: Path | str, seconds: float) -> ScoreSummary:
        scored = int(self._counts.sum())
        return ScoreSummary(
            output=output,
            inputs=scored + self._failed,
            scored=scored,
            failed=self._failed,
            counts=dict(zip(self.classifier.classes, self._counts.tolist(), strict=True)),
            labelled=self._labelled,
            agreeing=self._agreeing,
            unknown=self._unknown if self._knows_unknown else None,
            provider=self.provider,
            passed_over=self.passed_over,
            seconds=seconds,
            stages=self.stages,
        )

    def _predictions(self, batch: "_Batch") -> Iterator[Prediction]:
        names = self.classifier.classes
        probabilities = batch.predictions[:, : len(names)]
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : self._places]
        for row, best, found in zip(batch.rows, order, batch.predictions, strict=True):
            path = os.fsdecode(batch.store.rows.path[row])
            if batch.store.rows.status[row] != EMBEDDED:
                self._failed += 1
                yield Prediction(path, [], batch.store.rows.reason[row].decode("utf-8", "replace"))
                continue
            self._count(batch.store, int(row), int(best[0]))
            top = [(names[i], float(found[i])) for i in best]
            distance, unknown = (float(found[-2]), bool(found[-1])) if self._knows_unknown else (None, None)
            self._unknown += bool(unknown)
            yield Prediction(path, top, unknown=unknown, distance=distance)

    def _count(self, store: Store, row: int, best: int) -> None:
        names = self.classifier.classes
        self._counts[best] += 1
        code = int(store.labels[row])
        if code >= 0 and store.classes[code] in names:
            self._labelled += 1
            self._agreeing += store.classes[code] == names[best]


@dataclass(frozen=True)
class _Batch:
    """Rows of a store with the classifier's prediction of each, (m, k) or (m, k + 2); NaN for a failed row."""

    store: Store
    rows: NDArray[np.int64]
    predictions: NDArray[np.float32]


def _score_store(classifier: Classifier, store: Store, share: Share | None) -> Iterator[_Batch]:
    classifier.require_store_of_same_backbone(store)
    for rows, embeddings in store.batches(None if share is None else share.of_store(store)):
        yield _Batch(store, rows, classifier.predictions(embeddings))


def _score_images(
    run: _Run,
    images: str | os.PathLike[str],
    share: Share | None,
    options: EngineOptions,
    progress: ProgressCallback | None,
) -> None:
    model, wanted = run.classifier.model, run.classifier.prediction
    listing = find_images(images)
    source = listing if share is None else share.of_source(listing)
    runner = open_runner(model, wanted, options)
    header = header_for(source, model, runner, wanted, "float32")
    output = run.output
    with StoreWriter(output.with_name(output.name + PARTS), header, model) as writer:
        remove_unfinished_of(output)
        writer.known.require_same_images(listing.items)
        fill(writer, source, runner, progress)
        gone = writer.known.gone(listing.items)
        del source, listing
        scored = writer.finish(gone)
        ours = None if share is None else share.of_store(scored)  # a run of another share may have been cut off here
        run.write(_Batch(scored, rows, predictions) for rows, predictions in scored.batches(ours))
        writer.discard()
    run.stages, run.passed_over = runner.seconds(), runner.passed_over
    run.provider = ", ".join(runner.providers or scored.header.providers)
