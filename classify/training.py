"""Embedding store -> classifier file, in one call."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from classify.calibration import Calibration, fit_temperature, softmax
from classify.caveats import caveats
from classify.classifier import (
    Classifier,
    Provenance,
    check_classifier_output,
    spread,
    write_classifier,
)
from classify.curve import LearningCurve, learning_curve
from classify.duplicates import LEAST, Duplicates, find_duplicates
from classify.errors import LabelError
from classify.evaluation import Evaluation, judge_rows
from classify.heads import HeadOptions, check_head, fit_head, import_ahead, make_head
from classify.mislabels import Suspect, find_suspects
from classify.rows import TrainingRows, draw_folds
from classify.search import Search, logits_of, refined, search_head
from classify.splitting import Split, digest_of_rows, split_rows
from classify.streaming import bytes_needed, fit_streamed, judged_sample, sampled_for_search
from classify.threads import blas_threads
from classify.unknown import Unknown, fit_unknown
from extract.cores import machine_memory
from extract.store import Store, open_store

LEAST_TO_CALIBRATE = 50
"""On fewer images a temperature would be noise."""


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
    """

    classifier: Classifier = field(repr=False)
    path: Path
    head: Any = field(repr=False)
    evaluation: Evaluation
    search: Search
    calibration: Calibration | None
    unknown: Unknown | None
    curve: LearningCurve
    duplicates: Duplicates
    suspects: list[Suspect] | None
    split: Split = field(repr=False)
    warnings: list[str]
    seconds: float

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


def train(
    store: str | os.PathLike[str] | Store,
    output: str | os.PathLike[str] = "classifier.onnx",
    *,
    head: str = "logreg",
    options: HeadOptions | None = None,
    holdout: float = 0.2,
    false_alarms: float = 0.05,
    untrained: str | os.PathLike[str] | Store | None = None,
    suspects: bool = False,
    report: str | os.PathLike[str] | None = None,
    memory: float | None = None,
    listener: Callable[[str], None] | None = None,
) -> TrainResult:
    """Choose and train a head on a store's labelled embeddings, judge it on images that it has not seen, and write it.

    Parameters
    ----------
    store
        An embedding store, or its path. It carries its backbone, which goes into the classifier.
    output
        The classifier file, ``*.onnx``.
    head
        A name of `classify.heads.HEADS`, or ``"auto"``: the one with the least log loss in cross-validation.
    holdout
        Share of images to judge on where the store has no val or test split, above 0 and below 1.
    false_alarms
        Share of known images that may be answered with "none of these"; 0 never gives that answer.
    untrained
        A store of the same images by a backbone with random weights, to compare with.
    suspects
        Whether to look for likely label mistakes (a report always does). Needs the extra `report`.
    report
        Where to write a report, ``*.html``. Needs the extra `report`.
    memory
        Bytes that embeddings may take; half of the machine's by default. Where they need more, ``logreg`` is fitted by
        passes over the store and at most `MOST_JUDGED` images are judged on; where a single copy of them does, near
        copies are not looked for. The warnings say so.
    listener
        Told what is being done, in a few words.

    Raises
    ------
    ClassifyError
        `LabelError`, `HeadError` or `ClassifierError`.
    ExtractError
        Where the store cannot be read, or the output cannot be written.
    """
    started = time.monotonic()
    tell = listener or (lambda _what: None)
    options, place = options or HeadOptions(), Path(output)
    _check(head, options, holdout, false_alarms, place)
    if report is not None:
        from classify.report import check_report_output

        check_report_output(report)
    import_ahead()
    table, other = _opened(store), _untrained(untrained)
    with blas_threads(len(table)):
        tell("looking for copies")
        memory = machine_memory() / 2 if memory is None else memory
        duplicates = find_duplicates(table, near=4 * table.header.dim * len(table) <= memory)
        split = split_rows(table, holdout, options.seed, duplicates.group_of_rows(len(table)))
        tell("searching and fitting")
        is_streamed, offered = bytes_needed(table, split) > memory, len(split.test)
        if is_streamed:
            search, fitted, options = fit_streamed(table, split, head, options)
            split = judged_sample(table, split, options.seed)
        else:
            search, fitted, options = fit_chosen(training_rows(table, split), head, options)
        tell("judging")
        answer = _Answer.of(search, fitted, split, false_alarms, options.seed)
        test, labels = table.embeddings(split.test), table.labels[split.test]
        probabilities, answer = answer.measured_on(test)
        evaluation = judge_rows(table, probabilities, split.test, table.classes)
        if other is not None:
            few = sampled_for_search(table, split, options.seed) if is_streamed else split
            evaluation = replace(evaluation, untrained=baseline_accuracy(table, other, few, head, options))
        curve = learning_curve(search, options, test, labels)
        suspected = None
        if suspects or report is not None:
            tell("looking for label mistakes")
            suspected = _suspects(table, search, answer, split, probabilities)
        tell("writing")
        classifier = write_classifier(
            place,
            fitted,
            table,
            check_rows=spread(split.test),
            temperature=answer.temperature,
            unknown=answer.unknown,
            provenance=Provenance(
                head={"name": search.chosen.head, **asdict(options)},
                calibration=_said_of(answer.calibration),
                trained_on={
                    **_origin(table), "images": len(split.train), "judged_on": split.origin, "holdout": holdout,
                    "copies": [group.rows for group in duplicates.groups],
                },
                measured={
                    "images": evaluation.images, "accuracy": evaluation.accuracy, "log_loss": evaluation.log_loss,
                    "calibration_error": evaluation.reliability.error,
                },
            ),
        )  # fmt: skip
        result = TrainResult(
            classifier=classifier,
            path=place,
            head=fitted,
            evaluation=replace(evaluation, judged_on=split.origin),
            search=search,
            calibration=answer.calibration,
            unknown=answer.unknown,
            curve=curve,
            duplicates=duplicates,
            suspects=suspected,
            split=split,
            warnings=[
                *caveats(table, split, evaluation, duplicates, options, classifier.model.is_trained),
                *(_of_streaming(split, offered, memory) if is_streamed else ()),
                *_of_near_copies(table, duplicates),
            ],
            seconds=time.monotonic() - started,
        )
    if report is not None:
        from classify.report import write_report

        tell("writing the report")
        write_report(report, table, result)
    return result


def _of_streaming(split: Split, offered: int, memory: float) -> Iterator[str]:
    yield (
        f"the embeddings do not fit in {memory / 1e9:.1f} GB: the penalty was searched for on a sample, and the head "
        f"fitted on all {len(split.train)} images by passes over the store"
    )
    if len(split.test) < offered:
        yield f"judged on a sample of {len(split.test)} of {offered} images"


def _of_near_copies(table: Store, duplicates: Duplicates) -> Iterator[str]:
    if np.isnan(duplicates.threshold) and int(table.is_embedded.sum()) >= LEAST:
        yield "near copies were not looked for, for want of memory: they may stand on both sides of the judgement"


def training_rows(table: Store, split: Split) -> TrainingRows:
    """Give what a split trains on."""
    labels = table.labels[split.train]
    return TrainingRows(table.embeddings(split.train), labels, draw_folds(labels, split.draws), len(table.classes))


def baseline_accuracy(table: Store, other: Store, split: Split, head: str, options: HeadOptions) -> float:
    """Train on another store of the same images, and give the accuracy on the same test images.

    Raises
    ------
    LabelError
        Where an image is missing from the other store.
    """
    row_of = {path: row for row, path in enumerate(other.rows.path.tolist()) if other.is_embedded[row]}
    paths = table.rows.path.tolist()
    missing = [paths[row] for row in (*split.train, *split.test) if paths[row] not in row_of]
    if missing:
        raise LabelError(
            f"{other.place}: expected the same images as {table.place}, but {os.fsdecode(missing[0])} is not among "
            "them; embed the same folder with both backbones"
        )
    train, test = (np.array([row_of[paths[row]] for row in side]) for side in (split.train, split.test))
    labels = table.labels[split.train]
    folds = draw_folds(labels, split.draws)
    rows = TrainingRows(other.embeddings(train), labels, folds, len(table.classes))
    _, fitted, _ = fit_chosen(rows, head, replace(options, c=None))
    answers = logits_of(fitted, other.embeddings(test)).argmax(axis=1)
    return float((answers == table.labels[split.test]).mean())


@dataclass(frozen=True)
class _Answer:
    """What turns the head's logits into an answer."""

    head: Any
    calibration: Calibration | None
    unknown: Unknown | None

    @property
    def temperature(self) -> float:
        return self.calibration.temperature if self.calibration else 1.0

    @classmethod
    def of(cls, search: Search, head: Any, split: Split, false_alarms: float, seed: int) -> "_Answer":
        judged = search.rows.folds >= 0
        calibration = None
        if judged.sum() >= LEAST_TO_CALIBRATE:
            calibration = fit_temperature(search.logits[judged], search.rows.labels[judged])
        answer = cls(head, calibration, None)
        if not false_alarms:
            return answer
        probabilities = softmax(search.logits / answer.temperature)
        draws = split.draws[search.images]
        return replace(answer, unknown=fit_unknown(search.rows, draws, probabilities, false_alarms, seed))

    def measured_on(self, test: NDArray[np.float32]) -> tuple[NDArray[np.float64], "_Answer"]:
        """Give probabilities, (m, k), of images (m, d), and how many of them would be marked unknown."""
        probabilities = softmax(logits_of(self.head, test) / self.temperature)
        if self.unknown is None:
            return probabilities, self
        share = float(self.unknown.marks(test, probabilities).mean())
        return probabilities, replace(self, unknown=replace(self.unknown, measured=share))


def fit_chosen(rows: TrainingRows, head: str, options: HeadOptions) -> tuple[Search, Any, HeadOptions]:
    """Search, fit the chosen setting on all rows, and give the options that were chosen."""
    search = search_head(head, rows, options)
    options = replace(options, c=search.chosen.c)
    start = refined(search, rows, options)
    return (
        search,
        fit_head(make_head(search.chosen.head, options), rows.embeddings, rows.labels, options, start),
        options,
    )


def _suspects(
    table: Store, search: Search, answer: _Answer, split: Split, probabilities: NDArray[np.float64]
) -> list[Suspect]:
    """Ask of every image a head that has not seen it: its fold's, or for the test images the final one."""
    judged = search.rows.folds >= 0
    out_of_fold = softmax(search.logits[judged] / answer.temperature)
    rows = np.concatenate([split.train[search.images[judged]], split.test])
    return find_suspects(table, rows, table.labels[rows], np.concatenate([out_of_fold, probabilities]))


def _check(head: str, options: HeadOptions, holdout: float, false_alarms: float, place: Path) -> None:
    check_head("logreg" if head == "auto" else head, options)
    if not 0 < holdout < 1:
        raise LabelError(f"the share to hold out must lie between 0 and 1, found {holdout}")
    if not 0 <= false_alarms < 1:
        raise LabelError(f"the share of false alarms must be at least 0 and below 1, found {false_alarms}")
    check_classifier_output(place)


def _opened(store: str | os.PathLike[str] | Store) -> Store:
    return store if isinstance(store, Store) else open_store(store)


def _untrained(store: str | os.PathLike[str] | Store | None) -> Store | None:
    if store is None:
        return None
    other = _opened(store)
    if other.header.model.get("weights", {}).get("trained"):
        raise LabelError(
            f"{other.place}: expected a store by an untrained backbone, found a trained one; make one with "
            "`headstart export --weights random` and embed the same images with it"
        )
    return other


def _said_of(calibration: Calibration | None) -> dict[str, float]:
    if calibration is None:
        return {}
    return {"error_before": calibration.before.error, "error_after": calibration.after.error}


def _origin(table: Store) -> dict[str, Any]:
    """Name the data and the programs that a head was made from."""
    return {
        "store": table.place.name,
        "rows_sha256": digest_of_rows(table),
        "versions": {name: version(name) for name in ("headstart", "scikit-learn", "numpy", "onnx")},
    }
