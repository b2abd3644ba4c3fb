"""Embedding store -> classifier file, in one call."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.artifact.classifier import write_classifier
from headstart.classify.confidence.calibrated_head import LEAST_TO_CALIBRATE, CalibratedHead
from headstart.classify.errors import HeadError, LabelError
from headstart.classify.evaluation.baselines import align_store, baseline_of, head_baseline, majority_baseline
from headstart.classify.evaluation.domain import domain_of
from headstart.classify.evaluation.label_issues import label_issues_of
from headstart.classify.evaluation.learning_curve import LearningCurve, learning_curve
from headstart.classify.evaluation.metrics import Evaluation, evaluate_rows
from headstart.classify.evaluation.warnings import find_warnings
from headstart.classify.heads.fitting import FitPlan, Fitted, fit
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import AUTO, DEFAULT_HEAD, find_kind
from headstart.classify.heads.threads import blas_threads
from headstart.classify.heads.tuned import without_tuned
from headstart.classify.labels.join import join_labels
from headstart.classify.labels.options import LabelOptions
from headstart.classify.provenance import provenance_of
from headstart.classify.result import TrainResult
from headstart.classify.split.classes import left_out_classes, require_min_photos, with_trainable_classes
from headstart.classify.split.duplicates import Duplicates, find_duplicates
from headstart.classify.split.groups import units_of
from headstart.classify.split.holdout import Split, draws_of, split_rows
from headstart.classify.stores import opened_embeddings, opened_untrained
from headstart.extract.store.store import Store
from headstart.files.atomic import check_model_output
from headstart.files.cores import machine_memory
from headstart.files.progress import ProgressCallback, announcer
from headstart.files.urls import local_path

UNCALIBRATED = (
    f"fewer than {LEAST_TO_CALIBRATE} training images could be held out, too few to calibrate on: probabilities are "
    "those of the penalised fit itself; add images before you rely on them"
)
EQUAL_CLASSES = (
    "probabilities assume that all classes are equally common, as balanced class weights ask for: where a class stays "
    "rare, answers for it are right less often than their probability says"
)


@dataclass(frozen=True)
class TrainOptions(LabelOptions):
    """The settings of a training, with those of `LabelOptions` by keyword.

    Attributes
    ----------
    head
        A name of `headstart.classify.HEADS`; ``"auto"``: the head with the least log loss in cross-validation; or an
        unfitted classifier or pipeline of scikit-learn. One that is not linear needs the extra `sklearn-heads`.
    options
        The head's own settings.
    holdout
        Share of images to evaluate on if the store has no val or test split, above 0 and below 1.
    false_alarms
        Share of known images that may be marked unknown; 0 marks none.
    compare
        Stores of the same images from other backbones (other features, a tuned tail). On each a head is searched for,
        fitted and evaluated on the same images as the main one.
    untrained
        A store of the same images from a backbone with random weights, to compare with.
    suspects
        Whether to look for likely label mistakes (a report always does). Needs the extra `report`.
    report
        Path of the report to write, ``*.html``. Needs the extra `report`.
    memory
        Bytes that embeddings may take, by default half of the machine's. If they need more, the head is fitted by
        passes over the store and evaluated on at most `MOST_JUDGED` images; if a single copy needs more, near
        duplicates are not looked for. The warnings say so.
    min_photos
        Leave out the classes with fewer different images to train on than this; by default, a class with too few is an
        error.
    """

    head: Any = DEFAULT_HEAD
    options: HeadOptions = field(default_factory=HeadOptions)
    holdout: float = 0.2
    false_alarms: float = 0.05
    compare: Sequence[str | os.PathLike[str] | Store] = ()
    untrained: str | os.PathLike[str] | Store | None = None
    suspects: bool = False
    report: str | os.PathLike[str] | None = None
    memory: float | None = None
    min_photos: int | None = None

    @property
    def plan(self) -> FitPlan:
        """How heads are searched for and fitted."""
        head = self.head if isinstance(self.head, str) else find_kind(self.head)
        return FitPlan(head, self.options, machine_memory() / 2 if self.memory is None else self.memory)

    def check(self) -> None:
        """Reject invalid settings before anything is read.

        Raises
        ------
        ClassifyError
            `LabelError` for a share out of range, `HeadError` for the head.
        OptionError, MissingExtraError, OutputError
            If the report cannot be written; also if an option about labels does nothing.
        """
        if not isinstance(self.head, str) and self.options.c is not None:
            raise HeadError("C belongs to the heads of Headstart's own; set it in your classifier")
        if not (isinstance(self.head, str) and self.head == AUTO):
            find_kind(self.head)
        self.options.check()
        if not 0 < self.holdout < 1:
            raise LabelError(f"the share to hold out must lie between 0 and 1, found {self.holdout}")
        if not 0 <= self.false_alarms < 1:
            raise LabelError(f"the share of false alarms must be at least 0 and below 1, found {self.false_alarms}")
        require_min_photos(self.min_photos)
        self.check_labels()
        if self.report is not None:
            from headstart.classify.report import check_report_output

            check_report_output(self.report)


def train(
    store: str | os.PathLike[str] | Store,
    output: str | os.PathLike[str] = "classifier.onnx",
    *,
    progress: ProgressCallback | None = None,
    **settings: Any,
) -> TrainResult:
    """Search, fit, calibrate and evaluate a head on a store's labelled embeddings, and write the classifier.

    Parameters
    ----------
    store
        An embedding store, or its path. It carries its backbone, which becomes part of the classifier.
    output
        The classifier file, ``*.onnx``.
    progress
        Called as each stage begins (see `headstart.files.progress`).
    **settings
        The fields of `TrainOptions`: ``head="mlp"``, ``labels="species.csv"``, ``report="flowers.html"``, ...

    Raises
    ------
    ClassifyError
        `LabelError`, `HeadError` or `ClassifierError`.
    ExtractError
        If the store or the list of labels cannot be read.
    OutputError
        If the classifier or the report cannot be written.
    """
    started = time.monotonic()
    options, output, announce = TrainOptions(**settings), local_path(output), announcer(progress)
    options.check()
    check_model_output(output, "classifier")
    stores = [opened_embeddings(each) for each in (store, *options.compare)]
    if options.untrained is not None:
        stores.append(opened_untrained(options.untrained))
    with blas_threads(len(stores[0])):
        store, result = _train(stores, output, options, announce)
    result = replace(result, seconds=time.monotonic() - started)
    if options.report is not None:
        from headstart.classify.report import write_report

        announce("writing the report")
        write_report(options.report, store, result)
    return result


def _train(
    stores: Sequence[Store], output: Path, options: TrainOptions, announce: Callable[[str], None]
) -> tuple[Store, TrainResult]:
    """Train on the first store, and compare with heads on the others; also return it with the trained classes."""
    whole, *others = stores
    whole, labels = join_labels(whole, options, options.holdout)
    announce("looking for duplicates")
    store, duplicates, split, draws = _split(whole, options)
    aligned = [align_store(store, other, split, draws) for other in others]
    announce("searching and fitting")
    fitted = fit(store, split, options.plan)
    announce("evaluating")
    test = store.embeddings(fitted.split.test)
    head, evaluation = _evaluate(store, fitted, test, options.false_alarms, duplicates)
    baselines = [baseline_of(store, fitted, evaluation)]
    for other in aligned:
        announce(f"comparing with {other.store.location.name}")
        baselines.append(head_baseline(other, fitted, evaluation, options.plan))
    if options.untrained is not None:
        evaluation = replace(evaluation, untrained=baselines[-1].accuracy)
    curve, issues = _learning_curve(store, fitted, test), None
    if options.suspects or options.report is not None:
        announce("looking for label mistakes")
        issues = label_issues_of(store, fitted.search, head, fitted.split, evaluation.probabilities)
    announce("writing")
    left_out = sorted(set(whole.classes) - set(store.classes))
    provenance = provenance_of(store, left_out, fitted, head, evaluation, duplicates, options.holdout)
    provenance["trained_on"] |= {"labels": labels.recorded} if labels else {}
    classifier = write_classifier(
        output, fitted.head, store, temperature=head.temperature, unknown=head.unknown, provenance=provenance,
        trained=fitted.split.train,
    )  # fmt: skip
    is_trained = classifier.model.is_trained
    warnings = labels.warnings() if labels else []
    warnings += find_warnings(store, fitted.split, evaluation, duplicates, fitted.options, is_trained)
    domain = domain_of(store)
    warnings += [domain.describe()] if domain and domain.is_far else []
    warnings += [*_doubts(head, fitted), *fitted.warnings, *left_out_classes(whole, store)]
    return store, TrainResult(
        classifier=classifier, path=output, fitted_head=fitted.head, evaluation=evaluation, search=fitted.search,
        calibration=head.calibration, unknown=head.unknown, learning_curve=curve, duplicates=duplicates,
        label_issues=issues, labels=labels, domain=domain, split=fitted.split, warnings=warnings,
        baselines=[*baselines, majority_baseline(store, evaluation)], trained_images=fitted.trained_images,
    )  # fmt: skip


def _split(whole: Store, options: TrainOptions) -> tuple[Store, Duplicates, Split, NDArray[np.float64]]:
    """Return the store with the classes to train on, its duplicates, a split with none on both sides, and its draws."""
    duplicates = find_duplicates(whole, near=4 * whole.header.dim * len(whole) <= options.plan.memory)
    groups, seed = duplicates.group_of_rows(len(whole)), options.options.seed
    store = with_trainable_classes(whole, groups, options.min_photos)
    split, draws = split_rows(store, options.holdout, seed, groups), draws_of(store, seed, groups)
    return store, duplicates, without_tuned(store, split, draws), draws


def _evaluate(
    store: Store, fitted: Fitted, test: NDArray[np.float32], false_alarms: float, duplicates: Duplicates
) -> tuple[CalibratedHead, Evaluation]:
    """Calibrate a head, and evaluate it on the embeddings of images that it has not seen, (m, d)."""
    split = fitted.split
    head = CalibratedHead.of(fitted.search, fitted.head, split, false_alarms, fitted.options.seed)
    probabilities, head = head.measured_on(test)
    groups = units_of(store, duplicates.group_of_rows(len(store)))[split.test]
    evaluation = evaluate_rows(store, probabilities, split.test, store.classes, groups)
    return head, replace(evaluation, judged_on=split.origin)


def _doubts(head: CalibratedHead, fitted: Fitted) -> list[str]:
    """List what the probabilities cannot promise."""
    doubts = [UNCALIBRATED] if head.calibration is None else []
    return doubts if fitted.options.class_weight == "none" else [*doubts, EQUAL_CLASSES]


def _learning_curve(store: Store, fitted: Fitted, test: NDArray[np.float32]) -> LearningCurve:
    if fitted.is_tuned:
        return LearningCurve([])
    labels, trained = store.labels[fitted.split.test], len(fitted.split.train)
    curve = learning_curve(fitted.search, fitted.options, test, labels, trained)
    # More photos would tune another tail, of which the head's curve says nothing.
    return replace(curve, forecast=None) if "tuned" in store.header.model else curve
