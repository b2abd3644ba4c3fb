"""Measure a training: fit a head on each split's images to train on, and predict its images to evaluate on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from headstart.classify.confidence.calibrated_head import CalibratedHead
from headstart.classify.evaluation.metrics import Evaluation, evaluate_rows
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
    rows, probabilities, flagged, first = [], [], 0.0, None
    for number, split in enumerate(splits, 1):
        of = f" (fold {number} of {len(splits)})" if len(splits) > 1 else ""
        announce(f"searching and fitting{of}")
        fitted = fit(store, split, plan)
        test = fitted.split.test
        head = CalibratedHead.of(fitted.search, fitted.head, fitted.split, plan.false_alarms, fitted.options.seed)
        announce(f"evaluating{of}")
        each(fitted)
        found, head = head.measured_on(vectors for _, vectors in store.batches(test))
        rows.append(test)
        probabilities.append(found)
        flagged += len(test) * (head.unknown.measured if head.unknown else np.nan)
        first = first or (fitted, head)
    if first is None:
        raise ValueError("expected at least one split")
    evaluated, order = np.concatenate(rows), np.argsort(np.concatenate(rows), kind="stable")
    evaluated = evaluated[order]
    evaluation = evaluate_rows(store, np.concatenate(probabilities)[order], evaluated, store.classes, groups[evaluated])
    return Measured(*first, replace(evaluation, judged_on=splits[0].origin), flagged / len(evaluated))
