"""The confusion matrix, with a few photos of each of its cells."""

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.evaluation.metrics import Evaluation
from headstart.classify.report.photos import Album

MOST_CLASSES = 40
"""Rows of the matrix; of more classes, those confused most are shown."""
MOST_PHOTOS, LEAST_PER_CELL, MOST_PER_CELL = 600, 2, 24
MOST_PAIRS = 8


def confusion_matrix(evaluation: Evaluation, album: Album) -> dict[str, Any]:
    """Return the counts, and photos of the cells.

    Returns
    -------
    ``shown`` (codes of the classes in the matrix), ``total`` (number of classes), ``counts`` among those shown,
    ``images`` (evaluated photos per class shown), ``cells`` ("label,prediction" -> numbers in the album), ``pairs``
    ([label, prediction, photos], the most frequent first).
    """
    counts = evaluation.confusion
    shown = _most_confused(counts)
    return {
        "shown": shown.tolist(),
        "total": len(counts),
        "counts": counts[np.ix_(shown, shown)].tolist(),
        "images": counts.sum(axis=1)[shown].tolist(),
        "cells": _cells(set(shown.tolist()), evaluation, album),
        "pairs": confused_pairs(counts)[:MOST_PAIRS],
    }


def confused_pairs(counts: NDArray[np.int64]) -> list[list[int]]:
    """List [label, prediction, photos] of all confusions in a matrix of counts, (k, k), the most frequent first."""
    wrong = counts - np.diag(counts.diagonal())
    labels, predictions = np.nonzero(wrong)
    order = np.argsort(-wrong[labels, predictions], kind="stable")
    pairs: list[list[int]] = np.stack([labels, predictions, wrong[labels, predictions]], axis=1)[order].tolist()
    return pairs


def _most_confused(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    return np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])


def _cells(shown: set[int], evaluation: Evaluation, album: Album) -> dict[str, list[int]]:
    members: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in album.most_confident_first(evaluation.rows.tolist()):
        cell = album.label(row), album.prediction(row)
        if shown.issuperset(cell):
            members[cell].append(row)
    most = min(max(MOST_PHOTOS // max(len(members), 1), LEAST_PER_CELL), MOST_PER_CELL)
    cells: dict[str, list[int]] = {}
    for label, prediction in sorted(members, key=lambda cell: cell[0] == cell[1]):  # mistakes get thumbnails first
        rows = members[label, prediction]
        chosen = rows[-most:][::-1] if label == prediction else rows[:most]  # of correct ones, the least confident
        cells[f"{label},{prediction}"] = [album.add(row) for row in chosen]
    return cells
