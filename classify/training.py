"""Embedding store -> classifier file, in one call."""

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.classify.artifact.classifier import (
    Classifier,
    Provenance,
    check_classifier_output,
    spread,
    write_classifier,
)
from headstart.classify.confidence.calibrated_head import CalibratedHead
from headstart.classify.errors import LabelError
from headstart.classify.evaluation.baselines import contend, contender, entrant, majority
from headstart.classify.evaluation.label_issues import label_issues_of
from headstart.classify.evaluation.learning_curve import LearningCurve, learning_curve
from headstart.classify.evaluation.metrics import Evaluation, judge_rows
from headstart.classify.evaluation.warnings import find_warnings
from headstart.classify.heads.fitting import Fitted, fit, opened_embeddings, opened_untrained
from headstart.classify.heads.kinds import HeadOptions, check_head, import_ahead
from headstart.classify.heads.threads import blas_threads
from headstart.classify.heads.tuned import without_tuned
from headstart.classify.provenance import provenance_of
from headstart.classify.result import TrainResult
from headstart.classify.split.duplicates import Duplicates, find_duplicates
from headstart.classify.split.holdout import Split, draws_of, split_rows
from headstart.extract.store.store import Store
from headstart.files.cores import machine_memory
from headstart.files.progress import ProgressCallback, announcer
from headstart.files.urls import local_path


def train(
    store: str | os.PathLike[str] | Store,
    output: str | os.PathLike[str] = "classifier.onnx",
    *,
    head: str = "logreg",
    options: HeadOptions | None = None,
    holdout: float = 0.2,
    false_alarms: float = 0.05,
    compare: Sequence[str | os.PathLike[str] | Store] = (),
    untrained: str | os.PathLike[str] | Store | None = None,
    suspects: bool = False,
    report: str | os.PathLike[str] | None = None,
    memory: float | None = None,
    progress: ProgressCallback | None = None,
) -> TrainResult:
    """Choose and train a head on a store's labelled embeddings, judge it on images that it has not seen, and write it.

    Parameters
    ----------
    store
        An embedding store, or its path. It carries its backbone, which goes into the classifier.
    output
        The classifier file, ``*.onnx``.
    head
        A name of `headstart.classify.HEADS`, or ``"auto"``: the head with the lowest log loss in cross-validation.
    holdout
        Share of images to judge on where the store has no val or test split, above 0 and below 1.
    false_alarms
        Share of known images that may be answered with "none of these"; 0 never gives that answer.
    compare
        Stores of the same images by other backbones (other features, a tuned tail). On each a head is searched for and
        fitted on the same images as the main one, and judged on the same.
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
    progress
        Called as each stage begins (see `headstart.files.progress`).

    Raises
    ------
    ClassifyError
        `LabelError`, `HeadError` or `ClassifierError`.
    ExtractError
        Where the store cannot be read, or the output cannot be written.
    """
    started = time.monotonic()
    tell = announcer(progress)
    options, place = options or HeadOptions(), local_path(output)
    _check(head, options, holdout, false_alarms, place, report)
    import_ahead()
    table, *others = (opened_embeddings(one) for one in (store, *compare))
    baseline = opened_untrained(untrained)
    with blas_threads(len(table)):
        tell("looking for copies")
        memory = machine_memory() / 2 if memory is None else memory
        duplicates, split, draws = _dealt(table, holdout, options.seed, memory)
        entrants = [entrant(table, one, split, draws) for one in (*others, baseline) if one is not None]
        tell("searching and fitting")
        fitted = fit(table, split, head, options, memory)
        tell("judging")
        test = table.embeddings(fitted.split.test)
        answer, evaluation = _judged(table, fitted, test, false_alarms)
        compared = [contender(table, fitted, evaluation)]
        for one in entrants:
            tell(f"comparing with {one.store.location.name}")
            compared.append(contend(one, fitted, evaluation, head, memory))
        if baseline is not None:
            evaluation = replace(evaluation, untrained=compared[-1].accuracy)
        compared.append(majority(table, evaluation))
        curve = _curve(table, fitted, test)
        suspected = None
        if suspects or report is not None:
            tell("looking for label mistakes")
            suspected = label_issues_of(table, fitted.search, answer, fitted.split, evaluation.probabilities)
        tell("writing")
        provenance = provenance_of(table, fitted, answer, evaluation, duplicates, holdout)
        classifier = _write(place, table, fitted, answer, provenance)
        warnings = find_warnings(
            table, fitted.split, evaluation, duplicates, fitted.options, classifier.model.is_trained
        )
        result = TrainResult(
            classifier, place, fitted.head, evaluation, fitted.search, answer.calibration, answer.unknown, curve,
            duplicates, suspected, fitted.split, warnings + fitted.warnings, time.monotonic() - started, compared,
        )  # fmt: skip
    if report is not None:
        from headstart.classify.report import write_report

        tell("writing the report")
        write_report(report, table, result)
    return result


def _check(
    head: str,
    options: HeadOptions,
    holdout: float,
    false_alarms: float,
    place: Path,
    report: str | os.PathLike[str] | None,
) -> None:
    """Refuse what can be refused before anything is read."""
    check_head("logreg" if head == "auto" else head, options)
    if not 0 < holdout < 1:
        raise LabelError(f"the share to hold out must lie between 0 and 1, found {holdout}")
    if not 0 <= false_alarms < 1:
        raise LabelError(f"the share of false alarms must be at least 0 and below 1, found {false_alarms}")
    check_classifier_output(place)
    if report is not None:
        from headstart.classify.report import check_report_output

        check_report_output(report)


def _dealt(table: Store, holdout: float, seed: int, memory: float) -> tuple[Duplicates, Split, NDArray[np.float64]]:
    """Find copies, and split the rows so that none are on both sides; with the draws that it goes by."""
    duplicates = find_duplicates(table, near=4 * table.header.dim * len(table) <= memory)
    groups = duplicates.group_of_rows(len(table))
    split, draws = split_rows(table, holdout, seed, groups), draws_of(table, seed, groups)
    return duplicates, without_tuned(table, split, draws), draws


def _judged(
    table: Store, fitted: Fitted, test: NDArray[np.float32], false_alarms: float
) -> tuple[CalibratedHead, Evaluation]:
    """Turn a head's logits into answers, and judge these on the images that it has not seen, (m, d)."""
    split = fitted.split
    answer = CalibratedHead.of(fitted.search, fitted.head, split, false_alarms, fitted.options.seed)
    probabilities, answer = answer.measured_on(test)
    return answer, replace(judge_rows(table, probabilities, split.test, table.classes), judged_on=split.origin)


def _curve(table: Store, fitted: Fitted, test: NDArray[np.float32]) -> LearningCurve:
    if fitted.is_given:
        return LearningCurve([])
    curve = learning_curve(fitted.search, fitted.options, test, table.labels[fitted.split.test])
    # More photos would tune another tail, of which the head's curve says nothing.
    return replace(curve, forecast=None) if "tuned" in table.header.model else curve


def _write(place: Path, table: Store, fitted: Fitted, answer: CalibratedHead, provenance: Provenance) -> Classifier:
    return write_classifier(
        place,
        fitted.head,
        table,
        check_rows=spread(fitted.split.test),
        temperature=answer.temperature,
        unknown=answer.unknown,
        provenance=provenance,
    )
