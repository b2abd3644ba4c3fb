"""Embedding store -> classifier file, in one call."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from classify.answer import Answer, suspects_of
from classify.calibration import Calibration
from classify.caveats import caveats
from classify.classifier import (
    Classifier,
    check_classifier_output,
    spread,
    write_classifier,
)
from classify.contenders import Contender, contend, contender, entrant, majority
from classify.curve import LearningCurve, learning_curve
from classify.duplicates import Duplicates, find_duplicates
from classify.errors import LabelError
from classify.fitting import fit, opened_embeddings, opened_untrained
from classify.heads import HeadOptions, check_head, import_ahead
from classify.judgement import Evaluation, judge_rows
from classify.mislabels import Suspect
from classify.origin import provenance_of
from classify.search import Search
from classify.splitting import Split, draws_of, split_rows
from classify.threads import blas_threads
from classify.tuned import without_tuned
from classify.unknown import Unknown
from extract.cores import machine_memory
from extract.store import Store


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
    compared
        This head, those on other stores in the order given, the untrained one, and the majority class.
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
    compared: list[Contender] = field(repr=False)

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
    compare: Sequence[str | os.PathLike[str] | Store] = (),
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
    table, *others = (opened_embeddings(one) for one in (store, *compare))
    baseline = opened_untrained(untrained)
    with blas_threads(len(table)):
        tell("looking for copies")
        memory = machine_memory() / 2 if memory is None else memory
        duplicates = find_duplicates(table, near=4 * table.header.dim * len(table) <= memory)
        groups = duplicates.group_of_rows(len(table))
        split = split_rows(table, holdout, options.seed, groups)
        draws = draws_of(table, options.seed, groups)
        split = without_tuned(table, split, draws)
        entrants = [entrant(table, one, split, draws) for one in (*others, baseline) if one is not None]
        tell("searching and fitting")
        fitted = fit(table, split, head, options, memory)
        search, split = fitted.search, fitted.split
        tell("judging")
        answer = Answer.of(search, fitted.head, split, false_alarms, options.seed)
        test = table.embeddings(split.test)
        probabilities, answer = answer.measured_on(test)
        evaluation = replace(judge_rows(table, probabilities, split.test, table.classes), judged_on=split.origin)
        compared = [contender(table, fitted, evaluation)]
        for one in entrants:
            tell(f"comparing with {one.store.place.name}")
            compared.append(contend(one, fitted, evaluation, head, memory))
        if baseline is not None:
            evaluation = replace(evaluation, untrained=compared[-1].accuracy)
        compared.append(majority(table, evaluation))
        labels = table.labels[split.test]
        curve = LearningCurve([]) if fitted.is_given else learning_curve(search, fitted.options, test, labels)
        if "tuned" in table.header.model:  # more photos would tune another tail, of which the head's curve says nothing
            curve = replace(curve, forecast=None)
        suspected = None
        if suspects or report is not None:
            tell("looking for label mistakes")
            suspected = suspects_of(table, search, answer, split, probabilities)
        tell("writing")
        classifier = write_classifier(
            place,
            fitted.head,
            table,
            check_rows=spread(split.test),
            temperature=answer.temperature,
            unknown=answer.unknown,
            provenance=provenance_of(table, fitted, answer, evaluation, duplicates, holdout),
        )
        is_trained = classifier.model.is_trained
        warnings = [*caveats(table, split, evaluation, duplicates, fitted.options, is_trained), *fitted.warnings]
        result = TrainResult(
            classifier, place, fitted.head, evaluation, search, answer.calibration, answer.unknown, curve, duplicates,
            suspected, split, warnings, time.monotonic() - started, compared,
        )  # fmt: skip
    if report is not None:
        from classify.report import write_report

        tell("writing the report")
        write_report(report, table, result)
    return result


def _check(head: str, options: HeadOptions, holdout: float, false_alarms: float, place: Path) -> None:
    check_head("logreg" if head == "auto" else head, options)
    if not 0 < holdout < 1:
        raise LabelError(f"the share to hold out must lie between 0 and 1, found {holdout}")
    if not 0 <= false_alarms < 1:
        raise LabelError(f"the share of false alarms must be at least 0 and below 1, found {false_alarms}")
    check_classifier_output(place)
