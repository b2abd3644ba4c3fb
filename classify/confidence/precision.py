"""Class thresholds: predictions below that of their class are `unknown`, so that enough of the others are right.

A threshold is the least one with which out-of-fold predictions of the training images show, at 95 % confidence, the
precision asked for. The point estimate would not do: the least threshold at which it reaches the target is one where it
is too high by chance, and new predictions miss the target about every second time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, log

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import LabelError
from headstart.classify.heads.candidate import Search
from headstart.classify.heads.loss import softmax

ALL = "all"
"""Stands for every class that is not named itself, unless a class has this name."""
STEPS = 100_000
"""Thresholds are multiples of 1 / STEPS: this far, probabilities of the file may differ from those of the search."""
NEVER = 1 + 1 / STEPS
"""A threshold that no probability reaches."""
DOUBT = 0.05
NAMED, LISTED = 5, 20
"""Classes that a warning and an error name at most."""


@dataclass(frozen=True)
class ClassThreshold:
    """The threshold of one class, and how it was chosen.

    Attributes
    ----------
    target
        The precision asked for, 0..1.
    probability
        A prediction of the class with a lower calibrated probability is unknown.
    answers, right
        Out-of-fold predictions of the class that are not, and how many of these are right; duplicates count as one.
    promised
        Lower 95 % bound of the precision of new predictions that are not unknown.
    """

    target: float
    probability: float
    answers: float
    right: float
    promised: float


def check_precision(precision: Mapping[str, float]) -> None:
    """Reject targets out of range.

    Raises
    ------
    LabelError
        Naming the class.
    """
    if not isinstance(precision, Mapping):
        raise LabelError(f"expected the precision per class, such as {{'daisy': 0.98}}, found {precision!r}")
    for name, target in precision.items():
        if not 0 < target < 1:
            raise LabelError(f"the precision of {name!r} must be above 0 and below 1, found {target:g}")


def targets_of(precision: Mapping[str, float], classes: list[str]) -> dict[str, float]:
    """Return the targets of the classes that have one, in the order of the classes.

    Raises
    ------
    LabelError
        If one is for a class that is not among them.
    """
    everywhere = precision.get(ALL) if ALL not in classes else None
    for name in precision:
        if name not in {*classes, ALL}:
            from difflib import get_close_matches

            close = get_close_matches(name, classes, 1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            more = f" and {len(classes) - LISTED} more" if len(classes) > LISTED else ""
            raise LabelError(
                f"precision: found no class {name!r} to train on{meant} Expected {ALL} or one of "
                f"{', '.join(classes[:LISTED])}{more}"
            )
    targets = {name: precision.get(name, everywhere) for name in classes}
    return {name: target for name, target in targets.items() if target is not None}


def fit_thresholds(
    search: Search, draws: NDArray[np.float64], temperature: float, precision: Mapping[str, float], classes: list[str]
) -> dict[str, ClassThreshold]:
    """Choose the thresholds from the out-of-fold logits of a search.

    Parameters
    ----------
    draws
        float64, for each image of the search: the same number for duplicates, at random otherwise.
    temperature
        Divides the logits.
    precision
        As `targets_of` takes it.
    classes
        Class names in the order of the logits.

    Returns
    -------
    One per target. If no threshold reaches it, the one with the highest lower bound. A class that is never predicted
    out of fold has `NEVER`.

    Raises
    ------
    LabelError
        If there are targets, but no image was held out.
    """
    targets, held_out = targets_of(precision, classes), search.rows.folds >= 0
    if targets and not held_out.any():
        raise LabelError(
            "--precision: no training image could be held out to choose a threshold on; add images: a class needs two "
            "different ones, or three with cross-validation, which trains on one less"
        )
    probabilities, labels = softmax(search.logits[held_out] / temperature), search.rows.labels[held_out]
    _, group, copies = np.unique(draws[held_out], return_inverse=True, return_counts=True)
    predicted, weights = probabilities.argmax(axis=1), 1 / copies[group]
    steps = np.minimum(np.floor(probabilities.max(axis=1) * STEPS), STEPS - 1)
    chosen = {}
    for name, target in targets.items():
        own = predicted == classes.index(name)
        chosen[name] = _threshold(steps[own], weights[own], (predicted == labels)[own], target)
    return chosen


def _threshold(
    steps: NDArray[np.float64], weights: NDArray[np.float64], is_right: NDArray[np.bool_], target: float
) -> ClassThreshold:
    if not len(steps):
        return ClassThreshold(target, NEVER, 0.0, 0.0, 0.0)
    order = np.argsort(-steps)
    last = np.flatnonzero(np.diff(steps[order], append=np.nan) != 0)  # equal ones are answered together
    answers, right = (np.cumsum(values[order])[last] for values in (weights, weights * is_right))
    promised = lower_bound(right, answers)
    reached = np.flatnonzero(promised >= target)
    best = int(reached[-1] if len(reached) else promised.argmax())
    found = (float(values[best]) for values in (answers, right, promised))
    return ClassThreshold(target, float(steps[order][last[best]] / STEPS), *found)


def lower_bound(right: NDArray[np.float64], answers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the one-sided 95 % lower bound of a share (Clopper and Pearson 1934), for counts above 0."""
    from scipy.special import betaincinv

    bound: NDArray[np.float64] = betaincinv(np.maximum(right, 1e-9), np.maximum(answers - right, 0) + 1, DOUBT)
    return bound


def least_of(thresholds: Mapping[str, ClassThreshold], classes: list[str]) -> NDArray[np.float64]:
    """Return the least probability that each class answers with, float64 (k,); 0 for one without a threshold."""
    return np.array([thresholds[name].probability if name in thresholds else 0.0 for name in classes])


def are_answered(
    probabilities: NDArray[np.floating], thresholds: Mapping[str, ClassThreshold], classes: list[str]
) -> NDArray[np.bool_]:
    """Tell whose likeliest class reaches its threshold: probabilities (n, k) -> bool (n,)."""
    result: NDArray[np.bool_] = probabilities.max(axis=1) >= least_of(thresholds, classes)[probabilities.argmax(axis=1)]
    return result


def doubtful_precision(thresholds: Mapping[str, ClassThreshold]) -> list[str]:
    """Say for which classes the images do not show that they reach their target, if there are any."""
    missed = {name: one for name, one in thresholds.items() if one.promised < one.target}
    if not missed:
        return []
    worst = sorted(missed.items(), key=lambda item: item[1].promised - item[1].target)
    named = ", ".join(f"{name!r} ({_best(one)})" for name, one in worst[:NAMED])
    more = f" and {len(missed) - NAMED} more" if len(missed) > NAMED else ""
    target = max(one.target for one in missed.values())
    return [
        f"the precision asked for cannot be promised for {len(missed)} of {len(thresholds)} classes: {named}{more}; "
        f"their thresholds are the best there are. Add images or ask for less: to promise {target:g} takes "
        f"{ceil(log(DOUBT) / log(target)):,} training images predicted as the class "
        "(those of a group count once), and more if one is wrong"
    ]


def _best(one: ClassThreshold) -> str:
    if not one.answers:
        return f"{one.target:g}: never predicted out of fold, so always unknown"
    return f"{one.target:g}: at best {one.promised:.3f}, from {_count(one.right)} of {_count(one.answers)} right"


def _count(images: float) -> str:
    """Write a number of images, of which duplicates and groups count once between them."""
    return f"{round(images, 1):g}"
