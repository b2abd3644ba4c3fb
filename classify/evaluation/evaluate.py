"""How good a classifier file is on the labelled rows of a store, by itself and beside another."""

import os
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from headstart.classify.artifact.classifier import Classifier, read_classifier
from headstart.classify.errors import ClassifierError, LabelError
from headstart.classify.evaluation.comparison import Comparison, compare
from headstart.classify.evaluation.metrics import Evaluation, judge_rows
from headstart.classify.split.duplicates import group_numbers
from headstart.classify.split.holdout import digest_of_rows, have_two_labels, split_rows
from headstart.extract.sources.items import SPLITS
from headstart.extract.store.store import Store, open_store


def evaluate(
    store: str | os.PathLike[str] | Store, classifier: str | os.PathLike[str], *, split: str | None = None
) -> Evaluation:
    """Judge a classifier file on a store's labelled embeddings.

    Parameters
    ----------
    split
        Only the rows of this split (train, val or test). By default, on the very store that the classifier was trained
        on, the rows that it was not fitted on; on another store, every labelled row.

    Raises
    ------
    ClassifyError
        Where no labelled rows are left, the classes are not the classifier's, or the backbone is another.
    """
    table = store if isinstance(store, Store) else open_store(store)
    judged = read_classifier(classifier)
    judged.require_store_of_same_backbone(table)
    rows, judged_on = _rows_to_judge(table, judged, split)
    if not len(rows):
        of = f" of the split {split!r}" if split else ""
        raise LabelError(f"{table.location}: expected labelled images{of} to judge on, found none")
    foreign = sorted(set(table.classes) - set(judged.classes))
    if foreign:
        raise ClassifierError(
            f"{table.location}: has the class {foreign[0]!r}, which {classifier} does not know "
            f"(it knows {', '.join(judged.classes)}); train it again, or judge it on images of its own classes"
        )
    probabilities = judged.probabilities(table.embeddings(rows))
    return replace(judge_rows(table, probabilities, rows, judged.classes), judged_on=judged_on)


def compare_classifiers(
    store: str | os.PathLike[str] | Store,
    evaluation: Evaluation,
    classifier: str | os.PathLike[str],
    against: str | os.PathLike[str],
) -> Comparison:
    """Compare a classifier with another one (an older one, say) on the very images that it was judged on.

    Parameters
    ----------
    store
        What `evaluation` was made on.
    evaluation
        Of `classifier`.
    against
        The other classifier's file. It may know the classes in another order, but it must know the same.

    Raises
    ------
    ClassifierError
        Where its classes or its backbone are others.

    Notes
    -----
    Where the other was trained on some of these images, the comparison favours it.
    """
    table = store if isinstance(store, Store) else open_store(store)
    new, old = read_classifier(classifier), read_classifier(against)
    old.require_store_of_same_backbone(table)
    if set(old.classes) != set(new.classes):
        raise ClassifierError(
            f"{against}: knows {', '.join(old.classes)}, but {classifier} knows {', '.join(new.classes)}; compare "
            "classifiers of the same classes"
        )
    order = [old.classes.index(name) for name in new.classes]
    code = np.array([new.classes.index(name) for name in table.classes], np.int32)
    probabilities = old.probabilities(table.embeddings(evaluation.rows))[:, order]
    return compare(evaluation.probabilities, probabilities, code[table.labels[evaluation.rows]])


def _rows_to_judge(table: Store, judged: Classifier, split: str | None) -> tuple[NDArray[np.int64], str]:
    labelled = table.is_embedded & (table.labels >= 0)
    if split is not None:
        if split not in SPLITS[1:]:
            raise LabelError(f"unknown split {split!r}; expected one of {', '.join(SPLITS[1:])}")
        return _without_doubtful(table, labelled, labelled & (table.splits == split), f"the {split} split")
    trained_on = judged.model.metadata.get("trained_on", {})
    if trained_on.get("rows_sha256") == digest_of_rows(table):
        # As they were found then: a pair on the edge of being alike might be seen otherwise on another machine.
        groups = group_numbers(trained_on.get("copies", []), len(table))
        own = split_rows(table, float(trained_on["holdout"]), int(judged.model.metadata["head"]["seed"]), groups)
        return own.test, f"{own.origin}, on which it was not trained"
    return _without_doubtful(table, labelled, labelled, "every labelled image")


def _without_doubtful(
    table: Store, labelled: NDArray[np.bool_], chosen: NDArray[np.bool_], origin: str
) -> tuple[NDArray[np.int64], str]:
    """Leave out files whose bytes stand under another label too, as `split_rows` does, and say how many."""
    doubtful = chosen & have_two_labels(table, labelled)
    if doubtful.any():
        origin += f", less {np.count_nonzero(doubtful):,} whose bytes stand under another label too"
    return np.flatnonzero(chosen & ~doubtful), origin
