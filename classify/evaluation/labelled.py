"""The labels that a classifier is evaluated against: the user's, completed by those that it was trained with."""

from headstart.classify.artifact.classifier import ClassifierFile
from headstart.classify.labels.join import join_labels
from headstart.classify.labels.match import LabelMatch
from headstart.classify.labels.options import LabelOptions
from headstart.extract.store.store import Store


def join_as_trained(store: Store, classifier: ClassifierFile, options: LabelOptions) -> tuple[Store, LabelMatch | None]:
    """Join labels as `join_labels` does, with the options of the training where the user gives none.

    They are those of the same task if the list of labels has the same file name; or if neither has a list, if the store
    has the same file name and the columns that they need.
    """
    trained_on = classifier.model.metadata.get("trained_on", {})
    completed = options.like(trained_on.get("labels", {}))
    is_of_store = trained_on.get("store") == store.location.name and store.metadata.keys() >= {*completed.columns}
    if options.labels is None and not is_of_store:
        completed = options
    return join_labels(store, completed, float(trained_on.get("holdout", 0.2)))


def other_labels(classifier: ClassifierFile, options: LabelOptions) -> list[str]:
    """Say, as a warning, that a classifier was trained with a list of labels, if none is given now."""
    recorded = classifier.model.metadata.get("trained_on", {}).get("labels", {})
    if options.labels is not None or not recorded.get("file"):
        return []
    column = recorded.get("label_column")
    group = recorded.get("group")
    return [
        f"{classifier.model.source} was trained with labels of {recorded['file']}"
        + f" (column {column!r})" * bool(column)
        + f"; images of the groups ({group!r}) that it was trained on may be among these and flatter it" * bool(group)
        + "; to evaluate it as it was trained, give that file with --labels"
    ]
