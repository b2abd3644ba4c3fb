"""Images or an embedding store through a classifier into a file of predictions."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.classify.artifact.classifier import ClassifierFile, read_classifier
from headstart.classify.artifact.graph import PREDICTION
from headstart.classify.scoring.predictions import Prediction, check_file, check_format, write_predictions
from headstart.classify.scoring.result import likeliest, prediction_of
from headstart.extract.inference.grey_bits import with_grey_bits
from headstart.extract.job import Job, RunSummary
from headstart.extract.notes import Note
from headstart.extract.options import EngineOptions, SourceOptions
from headstart.extract.pipeline import run
from headstart.extract.sources.find import Images
from headstart.extract.sources.labels import codes_among
from headstart.extract.store.merging import Share
from headstart.extract.store.remote_copy import working_copy
from headstart.extract.store.schema import EMBEDDED
from headstart.extract.store.shards import PARTS, is_store
from headstart.extract.store.store import Store, open_store
from headstart.files.atomic import check_outside, remove_unfinished_of
from headstart.files.errors import OptionError
from headstart.files.notebook import html_facts
from headstart.files.progress import ProgressCallback
from headstart.files.urls import is_url


@dataclass(frozen=True)
class ScoreSummary:
    """What was scored; ``inputs == scored + failed``.

    Attributes
    ----------
    output
        The file of predictions, as text if it is at a URL.
    counts
        Class name -> number of images for which it is the likeliest class.
    reasons
        Reason -> number of images that failed for it.
    labelled, agreeing
        How many scored images have a label (or a class folder) that the classifier knows, and for how many of these
        that is the likeliest class.
    unknown
        How many scored images are flagged as none of the classes; None if the classifier cannot tell.
    provider
        The execution provider that ran, as its runtime calls it; None if stored embeddings were scored.
    passed_over
        What ``auto`` could not use, with reasons.
    notes
        What was odd about images that were scored all the same, counted per kind.
    seconds
        Wall time.
    stages
        Seconds spent in each stage, summed over threads: read, decode, infer, store.
    """

    output: Path | str
    inputs: int
    scored: int
    failed: int
    counts: dict[str, int]
    reasons: dict[str, int]
    labelled: int
    agreeing: int
    unknown: int | None
    provider: str | None
    passed_over: list[str]
    notes: list[Note]
    seconds: float
    stages: dict[str, float]

    def _repr_html_(self) -> str:
        facts = {
            "images": f"{self.inputs:,}: {self.scored:,} scored, {self.failed:,} failed",
            "classes": ", ".join(f"{name} {count:,}" for name, count in self.counts.items()),
            "unknown": self.unknown,
            "as labelled": f"{self.agreeing:,} of {self.labelled:,}" if self.labelled else "",
            "notes": "; ".join(map(str, self.notes)),
        }
        return html_facts(f"Predictions in {self.output}", facts)


def score(
    images: Images,
    classifier: str | os.PathLike[str],
    output: str | os.PathLike[str] = "predictions.csv",
    *,
    top: int = 3,
    share: Share | None = None,
    options: EngineOptions | None = None,
    source_options: SourceOptions | None = None,
    progress: ProgressCallback | None = None,
    bom: bool = False,
    grey_bits: int | None = None,
    metadata: bool = False,
) -> ScoreSummary:
    """Score every image of a folder, manifest or store, or image files.

    Images go through the same engine as in `headstart.extract.embed`, and an interrupted run resumes.

    Parameters
    ----------
    images
        A folder, URL or manifest of images, an image, or several; or an embedding store, whose images are not read
        again.
    classifier
        A file made by ``headstart train``.
    output
        ``*.csv``, ``*.jsonl`` or ``*.parquet``, local or at a URL.
    top
        How many of the likeliest classes to write per image.
    share
        The part of the images to score, if several runs share them; each writes a file of its own.
    source_options
        Columns and root of a list, and whether links are followed.
    bom
        Whether a CSV file begins with a byte order mark, by which Excel knows UTF-8.
    grey_bits
        As in `headstart.extract.embed`; by default those of the photos that the classifier was trained on.
    metadata
        Whether to read time, camera and position of the photos, and to write them too. Those that a store holds are
        always written.

    Raises
    ------
    OptionError
        If an option has a value that is not allowed.
    ClassifyError, ExtractError, OutputError
        If the classifier, the images or the output cannot be used; an image that fails is a row with its reason.
    """
    started = time.monotonic()
    check_format(output, bom)
    if top < 1:
        raise OptionError(f"the number of classes to write must be at least 1, found {top}")
    if grey_bits is not None and is_store(images):
        raise OptionError("stored embeddings are scored as they are; give --grey-bits to headstart embed")
    check_outside(output, images)
    with working_copy(output, is_store=False) as path:
        check_file(path, [*([images] if isinstance(images, str | os.PathLike) else images), classifier])
        model = read_classifier(classifier)
        tally = _Tally(model, min(top, len(model.classes)))
        graph = model.model if grey_bits is None else with_grey_bits(model.model, grey_bits)
        kind = graph, model.prediction, "float32", share, options, progress, "scoring", True, source_options, metadata
        job = Job(images, *kind)
        scored = _scored_store(model, images, job) if is_store(images) else _scored(job, path)
        with scored as (batches, finished, has_metadata):
            predictions = (prediction for batch in batches for prediction in tally.predictions(batch))
            knows = tally.knows_unknown
            write_predictions(path, predictions, tally.top, with_unknown=knows, bom=bom, with_metadata=has_metadata)
    return tally.summary(os.fspath(output) if is_url(output) else path, finished, time.monotonic() - started)


@dataclass(frozen=True)
class _Batch:
    """Rows of a store with the classifier's prediction for each, (m, k) or (m, k + 2); NaN for a failed row."""

    store: Store
    rows: NDArray[np.int64]
    predictions: NDArray[np.float32]


_Scored = tuple[Iterator[_Batch], RunSummary | None, bool]
"""Batches, what the run over images did, and whether the photos' metadata are written."""


@contextmanager
def _scored(job: Job, path: Path) -> Iterator[_Scored]:
    """Score images, and hold the lock of the rows until the block has written them to `path`."""
    with run(job, path.with_name(path.name + PARTS)) as (store, finished):
        remove_unfinished_of(path)
        # The run of another share may have been interrupted here, and left rows.
        chosen = store.batches(None if job.share is None else job.share.of_store(store))
        yield (_Batch(store, rows, predictions) for rows, predictions in chosen), finished, job.metadata


@contextmanager
def _scored_store(classifier: ClassifierFile, images: str | os.PathLike[str], job: Job) -> Iterator[_Scored]:
    """Score stored embeddings."""
    store = open_store(images)
    classifier.require_store_of_same_backbone(store)
    if job.metadata:
        store.require_metadata()
    chosen = store.batches(None if job.share is None else job.share.of_store(store))
    batches = (_Batch(store, rows, classifier.predictions(embeddings)) for rows, embeddings in chosen)
    yield batches, None, bool(store.metadata)


class _Tally:
    """Turns batches into predictions, and counts them on their way into the file."""

    def __init__(self, classifier: ClassifierFile, top: int) -> None:
        self.top, self.knows_unknown = top, classifier.prediction == PREDICTION
        self._has_distance = classifier.has_distance
        self._counts = dict.fromkeys(classifier.classes, 0)
        self._reasons: Counter[str] = Counter()
        self._failed = self._labelled = self._agreeing = self._unknown = 0

    def predictions(self, batch: _Batch) -> Iterator[Prediction]:
        store, names = batch.store, list(self._counts)
        code_of = codes_among(store.classes, names)
        order = likeliest(batch.predictions[:, : len(names)], self.top)
        for row, best, values in zip(batch.rows, order, batch.predictions, strict=True):
            path = os.fsdecode(store.rows.path[row])
            if store.rows.status[row] != EMBEDDED:
                self._failed += 1
                self._reasons[reason := store.rows.reason[row].decode("utf-8", "replace")] += 1
                yield Prediction(path, [], reason)
                continue
            metadata = store.rows.metadata_of(row)
            prediction = prediction_of(path, names, values, best, metadata=metadata, has_distance=self._has_distance)
            code = code_of[store.labels[row]] if store.labels[row] >= 0 else -1
            self._counts[names[best[0]]] += 1
            self._labelled += code >= 0
            self._agreeing += code == best[0]
            self._unknown += bool(prediction.unknown)
            yield prediction

    def summary(self, output: Path | str, finished: RunSummary | None, seconds: float) -> ScoreSummary:
        scored = sum(self._counts.values())
        return ScoreSummary(
            output=output,
            inputs=scored + self._failed,
            scored=scored,
            failed=self._failed,
            counts=self._counts,
            reasons=dict(self._reasons.most_common()),
            labelled=self._labelled,
            agreeing=self._agreeing,
            unknown=self._unknown if self.knows_unknown else None,
            provider=finished.provider if finished else None,
            passed_over=finished.passed_over if finished else [],
            notes=finished.notes if finished else [],
            seconds=seconds,
            stages=finished.stages if finished else {},
        )
