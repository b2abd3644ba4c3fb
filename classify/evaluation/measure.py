"""Measure a training: fit a head on each split's images to train on, and predict its images to evaluate on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from headstart.classify.confidence.calibrated_head import CalibratedHead
from headstart.classify.confidence.precision import are_answered
from headstart.classify.evaluation.metrics import Evaluation, evaluate_rows
from headstart.classify.evaluation.thresholds import threshold_figures
from headstart.classify.heads.fitting import FitPlan, Fitted, fit
from headstart.classify.split.holdout import Split
from headstart.extract.store.store import Store


@dataclass(frozen=True)
class Measured:
    """How a training did.

    Attributes
    ----------
    fitted, head
        The head of the first split, plain and calibrated.
    evaluation
        Metrics over the test images of all splits, each predicted by a head that has not seen it.
    flagged
        Share of these images that the heads mark as unknown, 0..1; NaN if they mark none.
    """

    fitted: Fitted
    head: CalibratedHead = field(repr=False)
    evaluation: Evaluation
    flagged: float

    def with_thresholds_of(self, head: CalibratedHead) -> "Measured":
        """Name the thresholds of the head that is written beside the figures, if it is not the one measured."""
        named = [replace(one, probability=head.thresholds[one.name].probability) for one in self.evaluation.thresholds]
        return replace(self, evaluation=replace(self.evaluation, thresholds=named))


def measure(
    store: Store,
    splits: Sequence[Split],
    plan: FitPlan,
    groups: NDArray[np.int64],
    *,
    announce: Callable[[str], None] = lambda _stage: None,
    each: Callable[[Fitted], None] = lambda _fitted: None,
) -> Measured:
    """Search, fit and calibrate a head on each split, and evaluate all of them together.

    Parameters
    ----------
    splits
        No image is a test image of two. With several, this is nested cross-validation: settings and temperatures are
        chosen without the images that they are evaluated on (Varma and Simon 2006, "Bias in error estimation when
        using cross-validation for model selection").
    groups
        int64, for every row of the store: the same number for duplicates of one image.
    announce
        Is told each stage.
    each
        Is given the fitted head of each split; only that of the first is kept.
    """
    rows, probabilities, answered, flagged, first = [], [], [], 0.0, None
    for number, split in enumerate(splits, 1):
        of = f" (fold {number} of {len(splits)})" if len(splits) > 1 else ""
        announce(f"searching and fitting{of}")
        fitted = fit(store, split, plan)
        test = fitted.split.test
        head = CalibratedHead.of(fitted.search, fitted.head, fitted.split, plan.false_alarms, fitted.options.seed)
        head = head.with_thresholds(fitted.search, fitted.split, plan.precision, store.classes)
        announce(f"evaluating{of}")
        each(fitted)
        found, head = head.measured_on(vectors for _, vectors in store.batches(test))
        rows.append(test)
        probabilities.append(found)
        answered.append(are_answered(found, head.thresholds, store.classes))
        flagged += len(test) * (head.unknown.measured if head.unknown else np.nan)
        first = first or (fitted, head)
    if first is None:
        raise ValueError("expected at least one split")
    order = np.argsort(np.concatenate(rows), kind="stable")
    evaluated, found = np.concatenate(rows)[order], np.concatenate(probabilities)[order]
    evaluation = evaluate_rows(store, found, evaluated, store.classes, groups[evaluated])
    thresholds, labels, above = first[1].thresholds, store.labels[evaluated], np.concatenate(answered)[order]
    figures = threshold_figures(found, labels, store.classes, thresholds, groups[evaluated], above)
    evaluation = replace(evaluation, judged_on=splits[0].origin, thresholds=figures)
    return Measured(*first, evaluation, flagged / len(evaluated) if len(evaluated) else np.nan)
