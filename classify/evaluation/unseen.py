"""Which rows of a store a classifier is evaluated on: none that it has seen, whatever the store was then."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headstart.classify.artifact.classifier import ClassifierFile
from headstart.classify.errors import LabelError
from headstart.classify.heads.tuned import is_seen_by_tail, is_tuned_without_epoch, without_tuned
from headstart.classify.split.duplicates import find_duplicates, group_numbers
from headstart.classify.split.groups import belong_to, units_of
from headstart.classify.split.holdout import digest_of_rows, draws_of, have_two_labels, split_rows
from headstart.extract.store.store import Store
from headstart.files.cores import machine_memory


@dataclass(frozen=True)
class ChosenRows:
    """Rows to evaluate on.

    Attributes
    ----------
    rows
        int64, (m,): row numbers.
    groups
        int64, (m,): the same number for duplicates of one image, and within the user's groups.
    origin
        Which images these are, in words.
    warnings
        Reasons to doubt that the classifier has seen none of them.
    """

    rows: NDArray[np.int64]
    groups: NDArray[np.int64]
    origin: str
    warnings: list[str] = field(default_factory=list)


def choose_rows(store: Store, classifier: ClassifierFile, split: str | None = None) -> ChosenRows:
    """Choose the labelled rows of a store, or of one of its splits, that a classifier has not seen.

    In the split ``train``, the user asks for the images that it has seen: they are counted, and stay.

    Raises
    ------
    LabelError
        If there are none.
    """
    groups = _groups(store, classifier)
    offered, origin = _offered(store, classifier, split)
    seen = is_seen_or_copied(store, classifier, groups)
    count = np.count_nonzero(offered & seen)
    if split == "train":
        origin += f", {count:,} of which it was trained on" if count else ""
    else:
        offered &= ~seen
        related = "duplicates of these" if store.groups is None else "duplicates or in one group with these"
        origin += f", less {count:,} that it was trained on, or {related}" if count else ""
    if not offered.any():
        of = f" of the split {split!r}" if split else ""
        unseen = f" that {classifier.model.source} was not trained on{_before_refit(classifier)}" if count else ""
        raise LabelError(f"{store.location}: found no labelled images{of} to evaluate on{unseen}")
    rows = np.flatnonzero(offered)
    return ChosenRows(rows, units_of(store, groups)[rows], origin, _warnings(store, classifier))


def is_seen_or_copied(
    store: Store, classifier: ClassifierFile, groups: NDArray[np.int64] | None = None
) -> NDArray[np.bool_]:
    """Tell which rows, bool (n,), a classifier was trained on, its tail was tuned on, or that are duplicates of these.

    If the store has groups of the user's, all images in a group with such an image count too.
    `groups` are each row's group of duplicates, int (n,), if they are known.
    """
    if groups is None:
        groups = _groups(store, classifier)
    seen, trained = is_seen_by_tail(store), classifier.has_seen(store)
    return belong_to(store, groups, seen if trained is None else seen | trained)


def _offered(store: Store, classifier: ClassifierFile, split: str | None) -> tuple[NDArray[np.bool_], str]:
    """Return the rows to choose from, bool (n,), and describe them."""
    labelled = store.is_embedded & (store.labels >= 0)
    if split is None and _is_as_trained(store, classifier):
        rows, origin = _evaluated_in_training(store, classifier)
        if len(rows):  # there are none if all classes have a single image
            offered = np.zeros(len(store), bool)
            offered[rows] = True
            return offered, f"{origin}, on which it was not trained"
    offered, origin = labelled, "every labelled image"
    if split is not None:
        offered, origin = labelled & (store.splits == split), f"the {split} split"
    contradictory = offered & have_two_labels(store, labelled)  # left out as `split_rows` does
    if contradictory.any():
        origin += f", less {np.count_nonzero(contradictory):,} whose bytes also have another label"
    return offered & ~contradictory, origin


def _groups(store: Store, classifier: ClassifierFile) -> NDArray[np.int64]:
    """Return each row's group of duplicates, as found in training if the store is as it was then.

    On another machine, a pair near the threshold might be missed or added.
    """
    if _is_as_trained(store, classifier):
        return group_numbers(classifier.model.metadata["trained_on"].get("copies", []), len(store))
    near = 4 * store.header.dim * len(store) <= machine_memory() / 2
    return find_duplicates(store, near=near).group_of_rows(len(store))


def _is_as_trained(store: Store, classifier: ClassifierFile) -> bool:
    return bool(classifier.model.metadata.get("trained_on", {}).get("rows_sha256") == digest_of_rows(store))


def _is_refitted(classifier: ClassifierFile) -> bool:
    return bool(classifier.model.metadata.get("trained_on", {}).get("refitted"))


def _before_refit(classifier: ClassifierFile) -> str:
    """Say how a classifier did before it was fitted on every image of its store."""
    if not _is_refitted(classifier):
        return ""
    metadata = classifier.model.metadata
    measured, origin = metadata["measured"], metadata["trained_on"]["judged_on"]
    return (
        f": after its evaluation (accuracy {measured['accuracy']:.4f}, log loss {measured['log_loss']:.4f}, {origin}) "
        "it was fitted on all of them; evaluate it on other photos"
    )


def _evaluated_in_training(store: Store, classifier: ClassifierFile) -> tuple[NDArray[np.int64], str]:
    """Repeat the split of the training, on the same rows."""
    trained_on = classifier.model.metadata["trained_on"]
    groups = _groups(store, classifier)
    seed = int(classifier.model.metadata["head"]["seed"])
    own = split_rows(store, float(trained_on["holdout"]), seed, groups)
    own = without_tuned(store, own, draws_of(store, seed, groups))
    return own.test, own.origin


def _warnings(store: Store, classifier: ClassifierFile) -> list[str]:
    found = []
    if is_tuned_without_epoch(store):
        found.append(
            "the backbone was tuned by an earlier release, which did not note the images that chose its epoch: some of "
            "these may be among them; tune it again"
        )
    if classifier.has_seen(store) is not None or _is_as_trained(store, classifier):
        return found
    return [
        *found,
        f"{classifier.model.source} does not say which images it was trained on, as an earlier release wrote it: some "
        "of these may be among them; train it again",
    ]
