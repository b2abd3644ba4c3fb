"""The numbers behind the charts of a report, as plain values without NaN."""

import math
from typing import Any

import numpy as np

from headstart.classify.confidence.calibration import Calibration, Reliability
from headstart.classify.evaluation.baselines import Baseline
from headstart.classify.evaluation.learning_curve import CurvePoint, LearningCurve
from headstart.classify.evaluation.metrics import ClassFigures
from headstart.classify.heads.kinds import Candidate, Search
from headstart.classify.report.text import counted, printable
from headstart.extract.store.store import Store

MOST_CLASSES = 500
"""Rows of the table of classes."""


def reliability_charts(calibration: Calibration | None, held_out: Reliability | None) -> list[dict[str, Any]]:
    """Give one chart of the training photos before and after calibration, and one of the photos held out."""
    charts = []
    if calibration is not None:
        series = [
            {"name": "before calibration", "kind": "before", **_bins(calibration.before)},
            {"name": f"after (temperature {calibration.temperature:.2f})", "kind": "after", **_bins(calibration.after)},
        ]
        charts.append({"title": "On the training photos, out of fold", "series": series})
    if held_out is not None:
        series = [{"name": "as written to the file", "kind": "after", **_bins(held_out)}]
        charts.append({"title": "On the photos held out", "series": series})
    return charts


def _bins(found: Reliability) -> dict[str, Any]:
    points = [
        [round(float(confidence), 4), round(float(accuracy), 4), int(count)]
        for confidence, accuracy, count in zip(found.confidence, found.accuracy, found.count, strict=True)
        if count
    ]
    return {"error": or_none(found.error), "points": points}


def learning_curve(curve: LearningCurve) -> dict[str, Any]:
    """Give the points measured and the forecast as [images, accuracy, log loss]."""
    return {
        "points": [_point(point) for point in curve.points],
        "forecast": None if curve.forecast is None else _point(curve.forecast),
    }


def _point(point: CurvePoint) -> list[float | None]:
    return [int(point.images), or_none(point.accuracy), or_none(point.log_loss)]


def search_chart(search: Search) -> dict[str, Any]:
    """Give what was tried, in the order tried, and which of it was chosen."""
    tried = [{**_candidate(candidate), "chosen": candidate == search.chosen} for candidate in search.candidates]
    return {"candidates": tried, "folds": search.folds}


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "head": candidate.head,
        "c": None if candidate.c is None else float(candidate.c),
        "loss": or_none(candidate.log_loss),
        "accuracy": or_none(candidate.accuracy),
    }


def compared_heads(compared: list[Baseline]) -> list[dict[str, Any]] | None:
    """Give the heads that were compared, this one first; None where there is but the majority class beside it."""
    return [_contender(one) for one in compared] if len(compared) > 2 else None


def _contender(one: Baseline) -> dict[str, Any]:
    found = one.difference
    return {
        "what": printable(one.what, 80),
        "store": printable(one.store, 80),
        "accuracy": or_none(one.accuracy),
        "interval": [or_none(end) for end in one.accuracy_interval],
        "loss": or_none(one.log_loss),
        "difference": found and [or_none(value) for value in (found.accuracy_difference, *found.accuracy_interval)],
        "bytes": one.row_bytes,
        "seconds": None if one.seconds is None else round(one.seconds, 2),
    }


def tuning_curves(model: dict[str, Any]) -> dict[str, Any] | None:
    """Give the epochs of a tuned tail as [epoch, log loss, accuracy], from the metadata of its backbone.

    None where the backbone is not a tuned one, or says too little of it.
    """
    try:
        said = model["tuned"]
        epochs = [[int(one["epoch"]), float(one["log_loss"]), float(one["accuracy"])] for one in said["epochs"]]
        kept, frozen = int(said["kept_epoch"]), [0, float(said["frozen_log_loss"]), float(said["frozen_accuracy"])]
        words = (
            f"The network behind {printable(str(said['block']), 80)} was tuned on {counted(said['images'], 'photo')}; "
            f"{said['held_out']:,} others chose epoch {kept} of {len(epochs)}."
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    if not epochs or not np.isfinite([frozen, *epochs]).all():
        return None
    return {"said": words, "kept": kept, "frozen": frozen, "epochs": epochs}


def class_table(table: Store, figures: list[ClassFigures]) -> dict[str, Any]:
    """Give [code, photos embedded, photos judged, precision, recall] of each class, those worst found first."""
    usable = table.labels[table.is_embedded & (table.labels >= 0)]
    stored = dict(zip(table.classes, np.bincount(usable, minlength=len(table.classes)).tolist(), strict=True))
    rows = [
        [code, stored.get(one.name, 0), one.images, or_none(one.precision), or_none(one.recall)]
        for code, one in enumerate(figures)
    ]
    rows.sort(key=lambda row: math.inf if row[4] is None else row[4])
    return {"rows": rows[:MOST_CLASSES], "total": len(rows)}


def or_none(value: float) -> float | None:
    """Give a float that JSON knows, or None."""
    return round(float(value), 6) if math.isfinite(value) else None
