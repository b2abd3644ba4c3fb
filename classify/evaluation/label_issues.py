"""Likely label mistakes: images whose label neither the head nor their nearest neighbours support."""

import contextlib
import io
import os
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.classify.evaluation.measure import Measured
from headstart.classify.heads.loss import softmax
from headstart.classify.split.duplicates import rooted_embeddings, unit_rows
from headstart.extract.store.store import Store
from headstart.files.errors import MissingExtraError

NEIGHBOURS = 10
MOST_CHECKED = 2000
"""Neighbours are searched for this many rows, those with the least probable labels; this bounds the time."""
BLOCK = 2048


@dataclass(frozen=True)
class LabelIssue:
    """An image whose label may be wrong.

    Attributes
    ----------
    row
        Row in the store.
    path
        Relative to the folder of images.
    label, likely
        Its label, and the class it looks like.
    quality
        Probability of its label, 0..1.
    """

    row: int
    path: str
    label: str
    likely: str
    quality: float


def find_label_issues(
    store: Store, rows: NDArray[np.int64], labels: NDArray[np.integer], probabilities: NDArray[np.floating]
) -> list[LabelIssue]:
    """Find likely label mistakes, the likeliest first.

    Confident learning (Northcutt, Jiang and Chuang 2021, as in cleanlab) selects the rows, from the mean of two
    estimates that err on different images: the head's probabilities, and the class shares of the nearest neighbours.

    Parameters
    ----------
    rows
        int64, (m,): labelled rows of the store.
    labels
        (m,): their class codes.
    probabilities
        (m, k): out of fold, from heads that were not fitted on the row.

    Raises
    ------
    MissingExtraError
        If cleanlab is not installed.
    """
    codes = np.asarray(labels, np.int64)
    estimate = _estimate(store, rows, codes, probabilities.astype(np.float64))
    quality = estimate[np.arange(len(codes)), codes]
    found = np.flatnonzero(_is_issue(codes, estimate) & (estimate.argmax(axis=1) != codes))
    return [
        LabelIssue(
            row=int(rows[i]),
            path=os.fsdecode(store.rows.path[rows[i]]),
            label=store.classes[codes[i]],
            likely=store.classes[int(estimate[i].argmax())],
            quality=float(quality[i]),
        )
        for i in found[np.argsort(quality[found], kind="stable")]
    ]


def _is_issue(labels: NDArray[np.int64], estimate: NDArray[np.float64]) -> NDArray[np.bool_]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it would like progress bars for notebooks
            from cleanlab.filter import find_label_issues
    except ImportError:
        raise MissingExtraError(
            'finding label mistakes needs cleanlab, which is not installed; run: pip install "headstart[report]"'
        ) from None
    present, codes = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return np.zeros(len(labels), bool)
    # cleanlab requires every class to have rows, and rows that sum to 1.
    estimate = np.maximum(estimate[:, present], 1e-12)
    estimate /= estimate.sum(axis=1, keepdims=True)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of small classes, and about what it prints
        # The only one of its filters that missed none of the mistakes planted among real flowers.
        mask: NDArray[np.bool_] = find_label_issues(codes, estimate, filter_by="prune_by_class", n_jobs=1)
    return mask


def _estimate(
    store: Store, rows: NDArray[np.int64], labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give the head's probabilities, (m, k); of rows with improbable labels, their mean with the neighbours' labels."""
    checked = np.argsort(probabilities[np.arange(len(labels)), labels], kind="stable")[:MOST_CHECKED]
    nearest = _nearest(store, rows, checked)
    estimate = probabilities.copy()
    shares = np.stack([(labels[nearest] == code).mean(axis=1) for code in range(probabilities.shape[1])], axis=1)
    estimate[checked] = (estimate[checked] + shares) / 2
    return estimate


def _nearest(store: Store, rows: NDArray[np.int64], checked: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the positions of the nearest other rows by cosine for the checked ones, int64 (c, at most `NEIGHBOURS`)."""
    mean = rooted_embeddings(store, rows[:: max(len(rows) // BLOCK, 1)]).mean(axis=0)
    mine = unit_rows(rooted_embeddings(store, rows[checked]) - mean)
    best, where = np.empty((len(checked), 0), np.float32), np.empty((len(checked), 0), np.int64)
    for start in range(0, len(rows), BLOCK):
        numbers = np.arange(start, min(start + BLOCK, len(rows)))
        cosines = mine @ unit_rows(rooted_embeddings(store, rows[numbers]) - mean).T
        cosines[checked[:, None] == numbers] = -2  # no row is its own neighbour
        best = np.concatenate([best, cosines], axis=1)
        where = np.concatenate([where, np.broadcast_to(numbers, cosines.shape)], axis=1)
        first = np.argsort(-best, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(rows) - 1)]
        best, where = np.take_along_axis(best, first, 1), np.take_along_axis(where, first, 1)
    return where


def label_issues_of(store: Store, measured: Measured) -> list[LabelIssue]:
    """Find label mistakes with heads that have not seen the image: that of its fold, or the one evaluated on it."""
    search, split, evaluation = measured.fitted.search, measured.fitted.split, measured.evaluation
    held_out = search.rows.folds >= 0
    out_of_fold = split.train[search.images[held_out]]
    added = ~np.isin(out_of_fold, evaluation.rows)
    probabilities = softmax(search.logits[held_out][added] / measured.head.temperature)
    rows = np.concatenate([out_of_fold[added], evaluation.rows])
    if not len(rows):
        return []
    return find_label_issues(store, rows, store.labels[rows], np.concatenate([probabilities, evaluation.probabilities]))
