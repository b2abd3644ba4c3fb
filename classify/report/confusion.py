"""Which class is taken for which: the grid, and a few photos of each of its cells."""

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.report.photos import Album

MOST_CLASSES = 40
"""Rows of the grid; of more classes, those that are mixed up most are shown."""
MOST_PHOTOS, LEAST_A_CELL, MOST_A_CELL = 600, 2, 24
MOST_PAIRS = 8


def confusion_grid(
    counts: NDArray[np.int64], rows: NDArray[np.int64], probabilities: NDArray[np.floating], album: Album
) -> dict[str, Any]:
    """Give the grid of counts, (k, k), and photos of its cells.

    Returns
    -------
    ``shown`` (codes of the classes in the grid), ``total`` (classes), ``counts`` among those shown, ``judged`` (photos
    of each), ``cells`` ("label,answer" -> numbers in the album), ``pairs`` ([label, answer, photos], the most first).
    """
    shown = _most_confused(counts)
    return {
        "shown": shown.tolist(),
        "total": len(counts),
        "counts": counts[np.ix_(shown, shown)].tolist(),
        "judged": counts.sum(axis=1)[shown].tolist(),
        "cells": _cells(set(shown.tolist()), rows, probabilities, album),
        "pairs": pairs(counts)[:MOST_PAIRS],
    }


def pairs(counts: NDArray[np.int64]) -> list[list[int]]:
    """List [label, answer, photos] of the classes that were taken for others, the most photos first."""
    wrong = counts - np.diag(counts.diagonal())
    labels, answers = np.nonzero(wrong)
    order = np.argsort(-wrong[labels, answers], kind="stable")
    return np.stack([labels, answers, wrong[labels, answers]], axis=1)[order].tolist()  # type: ignore[no-any-return]


def _most_confused(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(counts) <= MOST_CLASSES:
        return np.arange(len(counts))
    wrong = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    return np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])


def _cells(
    shown: set[int], rows: NDArray[np.int64], probabilities: NDArray[np.floating], album: Album
) -> dict[str, list[int]]:
    members: dict[tuple[int, int], list[int]] = defaultdict(list)
    answers, surest = probabilities.argmax(axis=1), probabilities.max(axis=1)
    for place in np.argsort(-surest, kind="stable").tolist():  # the surest first
        cell = int(album.labels[rows[place]]), int(answers[place])
        if shown.issuperset(cell):
            members[cell].append(place)
    most = min(max(MOST_PHOTOS // max(len(members), 1), LEAST_A_CELL), MOST_A_CELL)
    cells: dict[str, list[int]] = {}
    for label, answer in sorted(members, key=lambda cell: cell[0] == cell[1]):  # mistakes come before right answers
        places = members[label, answer]
        chosen = places[-most:][::-1] if label == answer else places[:most]  # of right answers, the least sure
        cells[f"{label},{answer}"] = [album.add(int(rows[place])) for place in chosen]
    return cells
