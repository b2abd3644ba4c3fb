"""A training's result as one plain value, from which the page is made; a section without data is None."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from headstart.classify.report.confusion import confusion_grid
from headstart.classify.report.figures import (
    class_table,
    compared_heads,
    learning_curve,
    or_none,
    reliability_charts,
    search_chart,
    tuning_curves,
)
from headstart.classify.report.map import embedding_map
from headstart.classify.report.photos import Album
from headstart.classify.report.summary import summary
from headstart.classify.report.text import percent, printable
from headstart.classify.result import TrainResult
from headstart.extract.store.store import Store

MOST_PHOTOS = 60
"""Of the mistakes, and of the suspected labels."""
MOST_GROUPS, MOST_IN_GROUP = 40, 8
MOST_FAILURES = 200


def gather(table: Store, result: TrainResult) -> dict[str, Any]:
    """Give everything that a report shows.

    Returns
    -------
    Plain values: ``summary`` and ``provenance`` for the template, the rest for the page's script; photos and thumbnails
    stand once, in ``photos`` and ``thumbs``, and the sections point into them.
    """
    evaluation, classes = result.evaluation, list(result.classifier.classes)
    album = Album(table, classes, evaluation.rows, evaluation.probabilities)
    seed = int(result.classifier.model.metadata.get("head", {}).get("seed", 0))
    # In the order in which sections may use up the space for thumbnails.
    sections = {
        "mistakes": _mistakes(result, album),
        "suspects": _suspects(result, album),
        "duplicates": _duplicates(result, album),
        "confusion": confusion_grid(evaluation.confusion, evaluation.rows, evaluation.probabilities, album),
        "map": embedding_map(table, album, seed) if table.is_embedded.any() else None,
    }
    return {
        "summary": summary(table, result),
        "classes": [printable(name, 80) for name in classes],
        **sections,
        "table": class_table(table, evaluation.classes),
        "reliability": reliability_charts(result.calibration, evaluation.reliability),
        "curve": learning_curve(result.curve) if result.curve and result.curve.points else None,
        "search": search_chart(result.search) if result.search and result.search.candidates else None,
        "compared": compared_heads(result.compared),
        "tuning": tuning_curves(table.header.model),
        "unknown": _unknown(result),
        "failures": _failures(table),
        "provenance": list(_provenance(table, result)),
        **album.to_json(),
    }


def _mistakes(result: TrainResult, album: Album) -> dict[str, Any] | None:
    evaluation = result.evaluation
    surest = evaluation.probabilities.max(axis=1)
    in_order = evaluation.rows[np.argsort(-surest, kind="stable")].tolist()
    wrong = [row for row in in_order if album.is_misjudged(row)]
    return {"total": len(wrong), "photos": [album.add(row) for row in wrong[:MOST_PHOTOS]]} if wrong else None


def _suspects(result: TrainResult, album: Album) -> dict[str, Any] | None:
    suspects = result.suspects or []  # None where they were not looked for
    code = {name: number for number, name in enumerate(result.classifier.classes)}
    items = [
        {"photo": album.add(one.row), "likely": code.get(one.likely, -1), "quality": or_none(one.quality)}
        for one in suspects[:MOST_PHOTOS]
    ]
    return {"total": len(suspects), "items": items} if items else None


def _duplicates(result: TrainResult, album: Album) -> dict[str, Any] | None:
    groups = result.duplicates.groups if result.duplicates else []
    # What can do harm comes first: one photo under two labels, then one on both sides of the division.
    ordered = sorted(groups, key=lambda group: (not group.crosses_labels, not group.crosses_splits))
    shown = [
        {
            "photos": [album.add(row) for row in group.rows[:MOST_IN_GROUP]],
            "total": len(group.rows),
            "kind": group.kind,
            "labels": bool(group.crosses_labels),
            "splits": bool(group.crosses_splits),
        }
        for group in ordered[:MOST_GROUPS]
    ]
    return {"total": len(groups), "groups": shown} if shown else None


def _failures(table: Store) -> dict[str, Any] | None:
    failures = table.failures
    shown = [[printable(path), printable(reason, 300)] for path, reason in list(failures.items())[:MOST_FAILURES]]
    return {"total": len(failures), "rows": shown} if shown else None


def _unknown(result: TrainResult) -> dict[str, str] | None:
    found = result.unknown
    if found is None:
        return None
    return {
        "wanted": percent(found.false_alarm_rate),
        "measured": percent(found.measured),
        "distance": f"{found.distance:.3g}",
        "probability": percent(found.probability),
    }


def _provenance(table: Store, result: TrainResult) -> Iterator[tuple[str, str]]:
    model, header = result.classifier.model, table.header
    yield "classifier", printable(str(result.path.name))
    yield "classifier sha256", model.sha256
    yield "store", printable(table.location.name)
    yield "photos in", printable(header.root)
    yield "backbone sha256", header.model_sha256
    yield "embedded with", printable(", ".join(header.providers))
    inside = {name: value for name, value in model.metadata.items() if name not in ("classes", "backbone_sha256")}
    yield from _flat("", inside)


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{prefix} {name}".strip(), inner)
    elif value is not None and value != "":
        yield printable(prefix, 80), printable(str(value))
