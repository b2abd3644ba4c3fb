"""A store under other labels, splits and groups: those of a list of its photos, or of its own metadata."""

from headstart.classify.labels.match import LabelMatch
from headstart.classify.labels.options import LabelOptions
from headstart.extract.store.store import Store


def join_labels(store: Store, options: LabelOptions, holdout: float = 0.2) -> tuple[Store, LabelMatch | None]:
    """Give a store the labels, splits and groups that the options name.

    Parameters
    ----------
    holdout
        The share of photos to evaluate on in a split by time.

    Returns
    -------
    The same rows, of which those that do not count have no label; and what was joined, None if nothing was asked for.

    Raises
    ------
    LabelError, SourceError, LocationError
        If the file cannot be read, names no photo, or lacks a column; if a time or the condition makes no sense.
    OptionError
        If an option would do nothing.
    """
    options.check_labels()
    if not options.joins:
        return store, None
    from headstart.classify.labels.view import labelled_view  # reads lists, which most trainings need not load

    return labelled_view(store, options, holdout)
