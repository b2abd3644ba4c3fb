"""Images that may carry the wrong label: those whose label neither the head nor their nearest neighbours believe."""

import contextlib
import io
import os
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.classify.confidence.calibrated_head import CalibratedHead
from headstart.classify.errors import ClassifyError, LabelError
from headstart.classify.heads.kinds import Search
from headstart.classify.heads.loss import softmax
from headstart.classify.split.duplicates import top_embeddings
from headstart.classify.split.holdout import Split
from headstart.extract.store.store import Store

NEIGHBOURS = 10
MOST_ASKED = 2000
"""Of how many rows, those with the least probable labels, the neighbours are asked; this bounds the time."""
BLOCK = 2048


@dataclass(frozen=True)
class LabelIssue:
    """An image that may be labelled wrongly.

    Attributes
    ----------
    row
        In the store.
    path
        Relative to the root.
    label, likely
        What it is labelled, and what it looks like.
    quality
        How far its label is believed, 0..1.
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

    Confident learning (Northcutt, Jiang and Chuang 2021, as in cleanlab) says which rows, from the mean of two
    opinions that err on different images: the head's probabilities, and the classes' shares of the nearest neighbours.

    Parameters
    ----------
    rows
        int64, (m,): labelled rows of the store.
    labels
        (m,): their codes into the store's classes.
    probabilities
        (m, k): of heads that were not fitted on the row in question (out of fold).

    Raises
    ------
    ClassifyError
        Where cleanlab is not installed; as LabelError where the three do not belong together.
    """
    if not len(rows) == len(labels) == len(probabilities) or probabilities.shape[1:] != (len(store.classes),):
        raise LabelError(
            f"expected probabilities of {len(rows)} rows for {len(store.classes)} classes, found {probabilities.shape} "
            f"and {len(labels)} labels; pass those of the same rows"
        )
    if not len(rows):
        return []
    codes = np.asarray(labels, np.int64)
    belief = _belief(store, rows, codes, probabilities.astype(np.float64))
    quality = belief[np.arange(len(codes)), codes]
    found = np.flatnonzero(_is_suspect(codes, belief) & (belief.argmax(axis=1) != codes))
    return [
        LabelIssue(
            row=int(rows[i]),
            path=os.fsdecode(store.rows.path[rows[i]]),
            label=store.classes[codes[i]],
            likely=store.classes[int(belief[i].argmax())],
            quality=float(quality[i]),
        )
        for i in found[np.argsort(quality[found], kind="stable")]
    ]


def _is_suspect(labels: NDArray[np.int64], belief: NDArray[np.float64]) -> NDArray[np.bool_]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the progress bars that it would like to have in a notebook
            from cleanlab.filter import find_label_issues
    except ImportError:
        raise ClassifyError(
            'finding likely label mistakes needs cleanlab, which is not installed: pip install "headstart[report]"'
        ) from None
    present, codes = np.unique(labels, return_inverse=True)
    if len(present) < 2:
        return np.zeros(len(labels), bool)
    known = np.maximum(belief[:, present], 1e-12)  # cleanlab wants every class to have rows, and rows that sum to 1
    known /= known.sum(axis=1, keepdims=True)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of small classes, and of what it prints
        # Of its filters the one that lost none of the mistakes planted among real flowers.
        mask: NDArray[np.bool_] = find_label_issues(codes, known, filter_by="prune_by_class", n_jobs=1)
    return mask


def _belief(
    store: Store, rows: NDArray[np.int64], labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give the head's probabilities, (m, k), averaged with the neighbours' labels where the label is least probable."""
    asked = np.argsort(probabilities[np.arange(len(labels)), labels], kind="stable")[:MOST_ASKED]
    nearest = _nearest(store, rows, asked)
    belief = probabilities.copy()
    shares = np.stack([(labels[nearest] == code).mean(axis=1) for code in range(probabilities.shape[1])], axis=1)
    belief[asked] = (belief[asked] + shares) / 2
    return belief


def _nearest(store: Store, rows: NDArray[np.int64], asked: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give for each row asked for the positions of its nearest others by cosine, int64 (a, at most `NEIGHBOURS`)."""
    mean = _rooted(store, rows[:: max(len(rows) // BLOCK, 1)]).mean(axis=0)
    mine = _unit(_rooted(store, rows[asked]) - mean)
    best = np.empty((len(asked), 0), np.float32)
    where = np.empty((len(asked), 0), np.int64)
    for start in range(0, len(rows), BLOCK):
        numbers = np.arange(start, min(start + BLOCK, len(rows)))
        cosines = mine @ _unit(_rooted(store, rows[numbers]) - mean).T
        cosines[asked[:, None] == numbers] = -2  # nobody is his own neighbour
        best = np.concatenate([best, cosines], axis=1)
        where = np.concatenate([where, np.broadcast_to(numbers, cosines.shape)], axis=1)
        first = np.argsort(-best, axis=1, kind="stable")[:, : min(NEIGHBOURS, len(rows) - 1)]
        best, where = np.take_along_axis(best, first, 1), np.take_along_axis(where, first, 1)
    return where


def _rooted(store: Store, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Read vectors under a signed square root, which keeps a few loud channels from deciding who is near."""
    vectors = top_embeddings(store, rows)
    rooted: NDArray[np.float32] = np.sign(vectors) * np.sqrt(np.abs(vectors))
    return rooted


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12))
    return vectors / lengths


def label_issues_of(
    table: Store, search: Search, answer: CalibratedHead, split: Split, probabilities: NDArray[np.floating]
) -> list[LabelIssue]:
    """Ask of every image a head that has not seen it: its fold's, or for the test images the final one."""
    judged = search.rows.folds >= 0
    out_of_fold = softmax(search.logits[judged] / answer.temperature)
    rows = np.concatenate([split.train[search.images[judged]], split.test])
    return find_label_issues(table, rows, table.labels[rows], np.concatenate([out_of_fold, probabilities]))
