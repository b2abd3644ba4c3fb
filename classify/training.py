"""Embedding store -> classifier file, in one call."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.classify.artifact.write import write_classifier
from headstart.classify.confidence.calibrated_head import LEAST_TO_CALIBRATE, CalibratedHead
from headstart.classify.confidence.precision import doubtful_precision, targets_of
from headstart.classify.errors import HeadError, LabelError
from headstart.classify.evaluation.baselines import (
    AlignedStore,
    Baseline,
    align_store,
    baseline_of,
    head_baseline,
    majority_baseline,
)
from headstart.classify.evaluation.comparison import compare_heads
from headstart.classify.evaluation.domain import Domain, domain_of
from headstart.classify.evaluation.label_issues import label_issues_of
from headstart.classify.evaluation.learning_curve import LearningCurve, learning_curve, mean_curve
from headstart.classify.evaluation.measure import Measured, measure
from headstart.classify.evaluation.warnings import find_warnings
from headstart.classify.heads.fitting import Fitted, fit
from headstart.classify.heads.threads import blas_threads
from headstart.classify.labels.join import join_labels
from headstart.classify.options import TrainOptions
from headstart.classify.provenance import provenance_of
from headstart.classify.result import TrainResult
from headstart.classify.split.classes import left_out_classes
from headstart.classify.split.folds import LEAST_PER_CLASS
from headstart.classify.stores import opened_embeddings, opened_untrained
from headstart.classify.task import NOTHING, Task, task_of
from headstart.extract.store.store import Store
from headstart.files.atomic import check_model_output
from headstart.files.progress import ProgressCallback, announcer
from headstart.files.urls import local_path

UNCALIBRATED = (
    f"training images are too few to calibrate on (it takes {LEAST_TO_CALIBRATE} that can be held out, and "
    f"{LEAST_PER_CLASS} per class): probabilities are those of the fit itself; add images before you rely on them"
)
FEW = (
    "so few training images do not show how sure to be: probabilities rest on assumptions about images in general; add "
    "images before you rely on them"
)
EQUAL_CLASSES = (
    "probabilities assume that all classes are equally common, as balanced class weights ask for: where a class stays "
    "rare, answers for it are right less often than their probability says"
)


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
    whole, labels = join_labels(stores[0], options, options.holdout)
    announce("looking for duplicates")
    task = task_of(whole, options.plan, options.holdout, options.folds, options.refit, options.min_photos)
    store, groups = task.store, task.groups
    targets_of(options.precision, store.classes)  # a class that is none is refused before the search
    aligned = _aligned(task, stores[1:])
    curves: list[LearningCurve] = []
    measured = measure(
        store, task.splits, options.plan, groups, announce=announce,
        each=lambda fitted: curves.append(_learning_curve(store, fitted)),
    )  # fmt: skip
    baselines = [baseline_of(store, measured), *_baselines(task, measured, aligned, options, announce)]
    if options.untrained is not None:
        evaluation = replace(measured.evaluation, untrained=baselines[-1].accuracy)
        measured = replace(measured, evaluation=evaluation)
    curve, issues = mean_curve(curves), None
    if options.suspects or options.report is not None:
        announce("looking for label mistakes")
        issues = label_issues_of(store, measured)
    fitted, head = _final(task, measured, options, announce)
    measured = measured.with_thresholds_of(head)
    announce("writing")
    provenance = provenance_of(store, whole.classes, fitted, head, measured, task.duplicates, options.holdout)
    provenance["trained_on"] |= {"labels": labels.recorded} if labels else {}
    classifier = write_classifier(
        output, fitted.head, store, temperature=head.temperature, unknown=head.unknown, thresholds=head.thresholds,
        provenance=provenance, trained=fitted.split.train,
    )  # fmt: skip
    domain = domain_of(store)
    warnings = _warnings(whole, task, measured, fitted, head, classifier.model.is_trained, domain)
    searched = fitted if len(task.splits) > 1 else measured.fitted
    heads = compare_heads(searched.search, groups[searched.split.train[searched.search.images]])
    return store, TrainResult(
        classifier=classifier, path=output, fitted_head=fitted.head, evaluation=measured.evaluation,
        search=searched.search, heads=heads,
        calibration=head.calibration, unknown=head.unknown, thresholds=head.thresholds, learning_curve=curve,
        duplicates=task.duplicates, label_issues=issues, labels=labels, domain=domain, split=fitted.split,
        measured_images=measured.fitted.trained_images, warnings=[*(labels.warnings() if labels else []), *warnings],
        baselines=[*baselines, majority_baseline(store, measured.evaluation)], trained_images=fitted.trained_images,
    )  # fmt: skip


def _aligned(task: Task, others: Sequence[Store]) -> list[AlignedStore]:
    """Match other stores with the trained one, if there is anything to compare their heads on."""
    if others and not any(len(split.test) for split in task.splits):
        raise LabelError(f"{task.store.location}: {NOTHING}, so none is left to compare heads on; add images")
    return [align_store(task.store, other, task.splits, task.draws) for other in others]


def _baselines(
    task: Task, measured: Measured, others: Sequence[AlignedStore], options: TrainOptions,
    announce: Callable[[str], None],
) -> Iterator[Baseline]:  # fmt: skip
    """Search, fit and evaluate a head on each other store."""
    for other in others:
        announce(f"comparing with {other.store.location.name}")
        yield head_baseline(other, measured, options.plan, task.groups)


def _final(
    task: Task, measured: Measured, options: TrainOptions, announce: Callable[[str], None]
) -> tuple[Fitted, CalibratedHead]:
    """Return the head of the file: the evaluated one, or another fitted on all images."""
    if task.whole is None:
        return measured.fitted, measured.head
    if measured.fitted.is_tuned:
        raise HeadError("the head was tuned together with its backbone, and cannot be refitted; tune on more images")
    announce("fitting on all images")
    plan, chosen = options.plan, measured.fitted
    if options.refit and not chosen.search.with_prior:
        plan = replace(plan, head=chosen.search.kind or chosen.search.chosen.head, options=chosen.options)
    fitted = fit(task.store, task.whole, plan)
    head = CalibratedHead.of(fitted.search, fitted.head, fitted.split, plan.false_alarms, fitted.options.seed)
    head = head.with_thresholds(fitted.search, fitted.split, plan.precision, task.store.classes)
    return fitted, replace(head, unknown=head.unknown and replace(head.unknown, measured=measured.flagged))


def _warnings(
    whole: Store, task: Task, measured: Measured, fitted: Fitted, head: CalibratedHead, is_trained: bool,
    domain: Domain | None,
) -> list[str]:  # fmt: skip
    """List the reasons to doubt the figures, and what the probabilities cannot promise."""
    split = replace(task.splits[0], train=fitted.split.train)  # the images evaluated, and those of the final head
    warnings = find_warnings(task.store, split, measured.evaluation, task.duplicates, fitted.options, is_trained)
    warnings += [domain.describe()] if domain and domain.is_far else []
    warnings += [FEW if fitted.search.with_prior else UNCALIBRATED] if head.calibration is None else []
    warnings += doubtful_precision(head.thresholds)
    warnings += [] if fitted.options.class_weight == "none" else [EQUAL_CLASSES]
    return [
        *warnings,
        *dict.fromkeys([*measured.fitted.warnings, *fitted.warnings]),
        *left_out_classes(whole, task.store),
    ]


def _learning_curve(store: Store, fitted: Fitted) -> LearningCurve:
    test = fitted.split.test
    if fitted.is_tuned or fitted.search.with_prior or not len(test):
        return LearningCurve([])
    curve = learning_curve(
        fitted.search, fitted.options, store.embeddings(test), store.labels[test], len(fitted.split.train)
    )
    # More photos would tune another tail, of which the head's curve says nothing.
    return replace(curve, forecast=None) if "tuned" in store.header.model else curve
