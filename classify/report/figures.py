"""The numbers behind the charts and tables of a report."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from headstart.classify.confidence.calibration import Calibration, Reliability
from headstart.classify.evaluation.baselines import Baseline
from headstart.classify.evaluation.class_figures import ClassFigures
from headstart.classify.evaluation.comparison import ComparedHead
from headstart.classify.evaluation.thresholds import ThresholdFigures
from headstart.classify.heads.candidate import Candidate, Search, describe
from headstart.classify.heads.registry import title_of
from headstart.classify.report.text import counted, percent, printable
from headstart.extract.store.store import Store

MOST_CLASSES = 500
"""Rows of the table of classes, and of the table of thresholds."""


def reliability_charts(calibration: Calibration | None, held_out: Reliability) -> list[dict[str, Any]]:
    """Return a chart of the training photos before and after calibration, and one of the photos held out, if any."""
    series = [_series("as written to the file", "after", held_out)]
    charts = [{"title": "Held-out photos", "series": series}] * bool(held_out.count.any())
    if calibration is not None:
        before = _series("before calibration", "before", calibration.before)
        after = _series(f"after (temperature {calibration.temperature:.2f})", "after", calibration.after)
        charts.insert(0, {"title": "Training photos, out of fold", "series": [before, after]})
    return charts


def _series(name: str, kind: str, found: Reliability) -> dict[str, Any]:
    bins = np.stack([found.confidence, found.accuracy, found.count], axis=1)
    return {"name": name, "kind": kind, "error": found.error, "points": bins[found.count > 0].tolist()}


def search_table(search: Search, heads: Sequence[ComparedHead]) -> dict[str, Any]:
    """Return the candidates in the order tried, the chosen one marked, each in the series of those that differ in C.

    With them come the heads that were compared, the chosen one first.
    """
    tried = [one.to_json() | {"series": _series_of(one), "chosen": one == search.chosen} for one in search.candidates]
    return {
        "candidates": tried,
        "folds": search.folds,
        "with_prior": search.with_prior,
        "heads": list(map(_head_row, heads)),
    }


def _head_row(one: ComparedHead) -> list[Any]:
    """Return [head, log loss, its difference to the chosen one with interval, accuracy]."""
    words = ""
    if one.difference is not None:
        low, high = one.difference.log_loss_interval
        words = f"{one.difference.log_loss_difference:+.4f} ({low:+.4f} to {high:+.4f})"
    return [one.words, one.log_loss, words, one.candidate.accuracy]


def _series_of(one: Candidate) -> str:
    others = {name: value for name, value in one.settings.items() if name != "c"}
    return describe(title_of(one.head), others)


def baseline_table(baselines: list[Baseline]) -> list[dict[str, Any]] | None:
    """Return the heads that were compared, this one first; None if the majority class is the only baseline."""
    if len(baselines) <= 2:
        return None
    return [asdict(one) | {"what": printable(one.what, 80), "store": printable(one.store, 80)} for one in baselines]


def tuning_curves(model: dict[str, Any]) -> dict[str, Any] | None:
    """Return the epochs of a tuned tail from the metadata of its backbone; None if it was not tuned."""
    tuned = model.get("tuned")
    if tuned is None:
        return None
    text = (
        f"The layers after {printable(tuned['block'], 80)} were tuned on {counted(tuned['images'], 'photo')}. "
        f"Epoch {tuned['kept_epoch']} of {len(tuned['epochs'])} was best on {tuned['held_out']:,} others and was kept."
    )
    frozen = {"log_loss": tuned["frozen_log_loss"], "accuracy": tuned["frozen_accuracy"]}
    return {"text": text, "kept": tuned["kept_epoch"], "frozen": frozen, "epochs": tuned["epochs"]}


def class_table(store: Store, figures: list[ClassFigures]) -> dict[str, Any]:
    """Return a row per class, the lowest recall first.

    A row is [code, photos embedded, photos evaluated, precision, recall, F1, ROC AUC, PR AUC].
    """
    labels = store.labels[store.is_embedded & (store.labels >= 0)]
    embedded = np.bincount(labels, minlength=len(figures)).tolist()
    rows = [
        [code, embedded[code], one.images, one.precision, one.recall, one.f1, one.roc_auc, one.pr_auc]
        for code, one in enumerate(figures)
    ]
    rows.sort(key=lambda row: np.nan_to_num(row[4], nan=np.inf))
    return {"rows": rows[:MOST_CLASSES], "total": len(rows)}


def threshold_table(thresholds: list[ThresholdFigures]) -> dict[str, Any] | None:
    """Return text for a row per class with a threshold, in the order of the classes; None if there is none.

    A row is [class, target, threshold, precision, its interval, coverage].
    """
    if not thresholds:
        return None
    rows = [[printable(one.name, 80), *map(_text, (one.target, one.probability, one.precision)), _interval(one),
             _text(one.coverage)] for one in thresholds[:MOST_CLASSES]]  # fmt: skip
    return {"rows": rows, "total": len(thresholds)}


def _text(share: float | None) -> str:
    return "–" if share is None else percent(share)


def _interval(one: ThresholdFigures) -> str:
    return "–" if one.precision_interval is None else " to ".join(map(percent, one.precision_interval))
