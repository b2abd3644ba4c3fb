"""The settings of a training."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from headstart.classify.confidence.precision import check_precision
from headstart.classify.errors import LabelError
from headstart.classify.heads.fitting import FitPlan
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import AUTO, DEFAULT_HEAD, find_kind
from headstart.classify.labels.options import LabelOptions
from headstart.classify.split.classes import require_min_photos
from headstart.classify.split.holdout import HOLDOUT
from headstart.extract.store.store import Store
from headstart.files.cores import machine_memory

MOST_FOLDS = 100
"""More folds train on hardly more images each, and take longer."""


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
        Share of images to evaluate on if the store has no val or test split, above 0 and below 1. With the default,
        fewer than 5 images per class are cross-validated instead, as by `folds`.
    false_alarms
        Share of known images that may be marked unknown; 0 marks none.
    precision
        Class name -> share of its predictions that must be right, above 0 and below 1; predictions below the threshold
        that this takes are unknown. ``"all"`` stands for every class that is not named.
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
        Leave out the classes with fewer different images to train on than this; by default, a single one
        is enough, though it is never evaluated on.
    folds
        Evaluate by nested cross-validation with this many folds instead of on a hold-out: every labelled image is
        evaluated on once, whatever its split, and the classifier's head is fitted on all of them.
    refit
        After the evaluation, fit the head of the chosen settings once more on all labelled images. The figures stay
        those of the head before, and no image of the store counts as unseen any more.
    """

    head: Any = DEFAULT_HEAD
    options: HeadOptions = field(default_factory=HeadOptions)
    holdout: float = HOLDOUT
    false_alarms: float = 0.05
    precision: Mapping[str, float] = field(default_factory=dict)
    compare: Sequence[str | os.PathLike[str] | Store] = ()
    untrained: str | os.PathLike[str] | Store | None = None
    suspects: bool = False
    report: str | os.PathLike[str] | None = None
    memory: float | None = None
    min_photos: int | None = None
    folds: int | None = None
    refit: bool = False

    @property
    def plan(self) -> FitPlan:
        """How heads are searched for and fitted."""
        head = self.head if isinstance(self.head, str) else find_kind(self.head)
        memory = machine_memory() / 2 if self.memory is None else self.memory
        return FitPlan(head, self.options, memory, self.false_alarms, self.precision)

    def check(self) -> None:
        """Reject invalid settings before anything is read.

        Raises
        ------
        ClassifyError
            `LabelError` for a share out of range, `HeadError` for the head.
        OptionError, MissingExtraError, OutputError
            If the report cannot be written; also if an option about labels does nothing.
        """
        if isinstance(self.head, str) and self.head == AUTO:
            self.options.check()
        else:
            find_kind(self.head).check(self.options)
        if not 0 < self.holdout < 1:
            raise LabelError(f"the share to hold out must lie between 0 and 1, found {self.holdout}")
        if self.folds is not None:
            self._check_folds(self.folds)
        if not 0 <= self.false_alarms < 1:
            raise LabelError(f"the share of false alarms must be at least 0 and below 1, found {self.false_alarms}")
        check_precision(self.precision)
        require_min_photos(self.min_photos)
        self.check_labels()
        if self.report is not None:
            from headstart.classify.report import check_report_output

            check_report_output(self.report)

    def _check_folds(self, folds: int) -> None:
        if not isinstance(folds, Integral) or folds < 2:
            raise LabelError(f"cross-validation needs a whole number of folds, at least 2; found {folds!r}")
        if folds > MOST_FOLDS:
            raise LabelError(f"--folds {folds:,} would train {folds:,} times; give at most {MOST_FOLDS}")
        every = "cross-validation evaluates on every image"
        if self.refit:
            raise LabelError("cross-validation already fits the head on all labelled images; leave --refit out")
        if self.holdout != TrainOptions.holdout:
            raise LabelError(f"{every}, without a hold-out; leave out --folds or --holdout")
        if self.split_by_time:
            raise LabelError(f"{every}, not on the latest; leave out --folds or --split-by-time")
