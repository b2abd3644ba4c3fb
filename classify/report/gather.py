"""A training result as plain values, from which the page is made; a section without data is None."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from headstart.classify.report.confusion import confusion_matrix
from headstart.classify.report.figures import (
    baseline_table,
    class_table,
    reliability_charts,
    search_table,
    threshold_table,
    tuning_curves,
)
from headstart.classify.report.map import embedding_map
from headstart.classify.report.photos import Album
from headstart.classify.report.summary import summary
from headstart.classify.report.text import printable
from headstart.classify.result import TrainResult
from headstart.extract.store.store import Store

MOST_PHOTOS = 60
"""Among the mistakes, and among the likely label mistakes."""
MOST_GROUPS, MOST_PER_GROUP = 40, 8
MOST_FAILURES = 200


def gather(store: Store, result: TrainResult) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return everything that a report shows.

    Returns
    -------
    Values for the template, and values for the page's script. Photos and thumbnails are listed once, in ``photos`` and
    ``thumbs``; the sections point into them.
    """
    evaluation = result.evaluation
    album = Album(store, evaluation)
    # In the order in which sections may use up the space for thumbnails.
    photos = {
        "mistakes": _mistakes(result, album),
        "label_issues": _label_issues(result, album),
        "duplicates": _duplicates(result, album),
        "confusion": confusion_matrix(evaluation, album),
        "map": embedding_map(store, album, int(result.classifier.model.metadata["head"]["seed"])),
    }
    data = {
        "classes": [printable(name, 80) for name in store.classes],
        **photos,
        "table": class_table(store, evaluation.classes),
        "reliability": reliability_charts(result.calibration, evaluation.reliability),
        "learning_curve": asdict(result.learning_curve) if result.learning_curve.points else None,
        "search": search_table(result.search, result.heads),
        "baselines": baseline_table(result.baselines),
        "tuning": tuning_curves(store.header.model),
        "failures": _failures(store),
        **album.to_json(),
    }
    return {
        "summary": summary(store, result),
        "unknown": result.unknown,
        "thresholds": threshold_table(evaluation.thresholds),
        "provenance": _provenance(store, result),
    }, data


def _mistakes(result: TrainResult, album: Album) -> dict[str, Any] | None:
    rows = [row for row in result.evaluation.rows.tolist() if album.is_wrong(row)]
    first = album.most_confident_first(rows)[:MOST_PHOTOS]
    return {"total": len(rows), "photos": [album.add(row) for row in first]} if rows else None


def _label_issues(result: TrainResult, album: Album) -> dict[str, Any] | None:
    issues = result.label_issues or []  # None if they were not looked for
    items = [
        {"photo": album.add(one.row), "likely": result.classifier.classes.index(one.likely), "quality": one.quality}
        for one in issues[:MOST_PHOTOS]
    ]
    return {"total": len(issues), "items": items} if items else None


def _duplicates(result: TrainResult, album: Album) -> dict[str, Any] | None:
    groups = result.duplicates.groups
    # The harmful ones first: one photo under two labels, then one in two splits.
    ordered = sorted(groups, key=lambda group: (not group.crosses_labels, not group.crosses_splits))
    shown = [
        {
            "photos": [album.add(row) for row in group.rows[:MOST_PER_GROUP]],
            "total": len(group.rows),
            "kind": group.kind,
            "labels": group.crosses_labels,
            "splits": group.crosses_splits,
        }
        for group in ordered[:MOST_GROUPS]
    ]
    return {"total": len(groups), "groups": shown} if shown else None


def _failures(store: Store) -> dict[str, Any] | None:
    failures = list(store.failures.items())
    shown = [[printable(path), printable(reason, 300)] for path, reason in failures[:MOST_FAILURES]]
    return {"total": len(failures), "rows": shown} if shown else None


def _provenance(store: Store, result: TrainResult) -> list[tuple[str, str]]:
    model, header = result.classifier.model, store.header
    metadata = {name: value for name, value in model.metadata.items() if name not in ("classes", "backbone_sha256")}
    return [
        ("classifier", printable(result.path.name)),
        ("classifier sha256", model.sha256),
        ("store", printable(store.location.name)),
        ("photos in", printable(header.root)),
        ("backbone sha256", header.model_sha256),
        ("embedded with", printable(", ".join(header.providers))),
        *_flat("", metadata),
    ]


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{prefix} {name}".strip(), inner)
    elif value is not None and value != "":
        yield printable(prefix, 80), printable(str(value))
