"""Evaluate a classifier file on the labelled rows of a store, alone or against another classifier."""

import os
from dataclasses import replace
from typing import Any

from headstart.classify.artifact.classifier import read_classifier
from headstart.classify.errors import ClassifierError, LabelError
from headstart.classify.evaluation.comparison import Comparison, compare
from headstart.classify.evaluation.labelled import join_as_trained, other_labels
from headstart.classify.evaluation.metrics import Evaluation, codes_of, evaluate_rows
from headstart.classify.evaluation.unseen import choose_rows, is_seen_or_copied
from headstart.classify.labels.options import LabelOptions
from headstart.classify.split.classes import left_out_classes
from headstart.classify.stores import opened_store
from headstart.extract.sources.items import SPLITS
from headstart.extract.sources.labels import codes_among
from headstart.extract.store.store import Store


def evaluate(
    store: str | os.PathLike[str] | Store,
    classifier: str | os.PathLike[str],
    *,
    split: str | None = None,
    **labelling: Any,
) -> Evaluation:
    """Evaluate a classifier file on a store's labelled embeddings.

    Parameters
    ----------
    split
        Only the rows of this split (train, val or test). By default, the rows that `train` evaluated on if this is the
        store as it was then; every labelled row of any other store. Images that the classifier was trained on, that its
        backbone was tuned on, and their duplicates are left out, except from the split ``train``.
    **labelling
        The fields of `headstart.classify.labels.options.LabelOptions`: ``labels="species.csv"``, ... Those that are not
        given are as they were in training, if the list of labels has the same name.

    Raises
    ------
    ClassifyError
        If there are no such labelled rows, or the classes or the backbone are not the classifier's.
    ExtractError
        If the store or the list of labels cannot be read.
    """
    own, evaluated, options = opened_store(store), read_classifier(classifier), LabelOptions(**labelling)
    whole, labels = join_as_trained(own, evaluated, options)
    other = other_labels(evaluated, options)
    opened = evaluated.without_left_out(whole)
    evaluated.require_store_of_same_backbone(opened)
    if split is not None and split not in SPLITS[1:]:
        raise LabelError(f"unknown split {split!r}; expected one of {', '.join(SPLITS[1:])}")
    chosen = choose_rows(opened, evaluated, split)
    foreign = opened.labels[chosen.rows][codes_of(opened, chosen.rows, evaluated.classes) < 0]
    if len(foreign):
        raise ClassifierError(
            f"{opened.location}: has the class {opened.classes[foreign.min()]!r}, which {classifier} does not know "
            f"(it knows {', '.join(evaluated.classes)}); "
            + "".join(other or ["train it again, or evaluate it on images of its own classes"])
        )
    probabilities = evaluated.probabilities(opened.embeddings(chosen.rows))
    found = evaluate_rows(
        opened, probabilities, chosen.rows, evaluated.classes, chosen.groups, evaluated.class_thresholds
    )
    doubts = [*(labels.warnings() if labels else []), *other, *left_out_classes(whole, opened)]
    return replace(found, judged_on=chosen.origin, labels=labels, store=whole, warnings=[*doubts, *chosen.warnings])


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
        The store of the evaluation, whose labels are taken from there.
    evaluation
        What `evaluate` returned for `classifier`.
    against
        The other classifier's file. It must have the same classes, in any order.

    Raises
    ------
    ClassifierError
        If its classes or its backbone differ, or it was trained on all of these images.

    Notes
    -----
    Images that the other was trained on are left out. A classifier of release 0.1 does not say which these are: the
    comparison may favour it.
    """
    opened = evaluation.store or opened_store(store)
    new, old = read_classifier(classifier), read_classifier(against)
    old.require_store_of_same_backbone(opened)
    order = codes_among(new.classes, old.classes)
    if sorted(order) != list(range(len(old.classes))):
        raise ClassifierError(
            f"{against}: knows {', '.join(old.classes)}, but {classifier} knows {', '.join(new.classes)}; compare "
            "classifiers of the same classes"
        )
    kept = ~is_seen_or_copied(opened, old)[evaluation.rows] | (evaluation.judged_on.startswith("the train split"))
    if not kept.any():
        raise LabelError(f"{against}: was trained on all of these {evaluation.images} images; compare on other images")
    rows = evaluation.rows[kept]
    labels = codes_of(opened, rows, new.classes)
    probabilities = old.probabilities(opened.embeddings(rows))[:, order]
    groups = None if evaluation.groups is None else evaluation.groups[kept]
    return compare(evaluation.probabilities[kept], probabilities, labels, groups)
