"""Evaluate a classifier file on the labelled rows of a store, alone or against another classifier."""

import os
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from headstart.classify.artifact.classifier import Classifier, read_classifier
from headstart.classify.errors import ClassifierError, LabelError
from headstart.classify.evaluation.comparison import Comparison, compare
from headstart.classify.evaluation.metrics import Evaluation, evaluate_rows
from headstart.classify.heads.tuned import without_tuned
from headstart.classify.split.duplicates import group_numbers
from headstart.classify.split.holdout import digest_of_rows, draws_of, have_two_labels, split_rows
from headstart.extract.sources.items import SPLITS
from headstart.extract.store.store import Store, open_store


def evaluate(
    store: str | os.PathLike[str] | Store, classifier: str | os.PathLike[str], *, split: str | None = None
) -> Evaluation:
    """Evaluate a classifier file on a store's labelled embeddings.

    Parameters
    ----------
    split
        Only the rows of this split (train, val or test). By default, the rows that the classifier was not fitted on if
        this is the store it was trained on; every labelled row of any other store.

    Raises
    ------
    ClassifyError
        If there are no such labelled rows, or the classes or the backbone are not the classifier's.
    """
    opened = store if isinstance(store, Store) else open_store(store)
    evaluated = read_classifier(classifier)
    evaluated.require_store_of_same_backbone(opened)
    rows, judged_on = _rows_to_evaluate(opened, evaluated, split)
    if not len(rows):
        of = f" of the split {split!r}" if split else ""
        raise LabelError(f"{opened.location}: found no labelled images{of} to evaluate on")
    foreign = sorted(set(opened.classes) - set(evaluated.classes))
    if foreign:
        raise ClassifierError(
            f"{opened.location}: has the class {foreign[0]!r}, which {classifier} does not know (it knows "
            f"{', '.join(evaluated.classes)}); train it again, or evaluate it on images of its own classes"
        )
    probabilities = evaluated.probabilities(opened.embeddings(rows))
    return replace(evaluate_rows(opened, probabilities, rows, evaluated.classes), judged_on=judged_on)


def compare_classifiers(
    store: str | os.PathLike[str] | Store,
    evaluation: Evaluation,
    classifier: str | os.PathLike[str],
    against: str | os.PathLike[str],
) -> Comparison:
    """Compare a classifier with another one, such as an older one, on the images that it was evaluated on.

    Parameters
    ----------
    store
        The store of the evaluation.
    evaluation
        What `evaluate` returned for `classifier`.
    against
        The other classifier's file. It must have the same classes, in any order.

    Raises
    ------
    ClassifierError
        If its classes or its backbone differ.

    Notes
    -----
    If the other was trained on some of these images, the comparison favours it.
    """
    opened = store if isinstance(store, Store) else open_store(store)
    new, old = read_classifier(classifier), read_classifier(against)
    old.require_store_of_same_backbone(opened)
    if set(old.classes) != set(new.classes):
        raise ClassifierError(
            f"{against}: knows {', '.join(old.classes)}, but {classifier} knows {', '.join(new.classes)}; compare "
            "classifiers of the same classes"
        )
    order = [old.classes.index(name) for name in new.classes]
    code = np.array([new.classes.index(name) for name in opened.classes], np.int32)
    probabilities = old.probabilities(opened.embeddings(evaluation.rows))[:, order]
    return compare(evaluation.probabilities, probabilities, code[opened.labels[evaluation.rows]])


def _rows_to_evaluate(store: Store, classifier: Classifier, split: str | None) -> tuple[NDArray[np.int64], str]:
    """Choose the rows, and describe them in words."""
    labelled = store.is_embedded & (store.labels >= 0)
    trained_on = classifier.model.metadata.get("trained_on", {})
    if split is not None and split not in SPLITS[1:]:
        raise LabelError(f"unknown split {split!r}; expected one of {', '.join(SPLITS[1:])}")
    if split is None and trained_on.get("rows_sha256") == digest_of_rows(store):
        # Duplicates as found in training: on another machine, a pair near the threshold might be missed or added.
        groups = group_numbers(trained_on.get("copies", []), len(store))
        seed = int(classifier.model.metadata["head"]["seed"])
        own = split_rows(store, float(trained_on["holdout"]), seed, groups)
        own = without_tuned(store, own, draws_of(store, seed, groups))
        return own.test, f"{own.origin}, on which it was not trained"
    chosen, origin = labelled, "every labelled image"
    if split is not None:
        chosen, origin = labelled & (store.splits == split), f"the {split} split"
    contradictory = chosen & have_two_labels(store, labelled)  # left out as `split_rows` does
    if contradictory.any():
        origin += f", less {np.count_nonzero(contradictory):,} whose bytes also have another label"
    return np.flatnonzero(chosen & ~contradictory), origin
