"""The head of a report: the figures that matter, and what they mean in plain English."""

from typing import Any

from headstart.classify.evaluation.metrics import Evaluation
from headstart.classify.heads.candidate import describe
from headstart.classify.heads.registry import title_of
from headstart.classify.report.confusion import confused_pairs
from headstart.classify.report.text import counted, percent, printable
from headstart.classify.result import TrainResult
from headstart.extract.store.store import Store

FEW = 100
"""Evaluated photos below which a figure is called rough."""


def summary(store: Store, result: TrainResult) -> dict[str, Any]:
    """Return the values for the head of the page."""
    evaluation = result.evaluation
    return {
        "name": printable(result.path.name),
        "accuracy": percent(evaluation.accuracy),
        "interval": [percent(share) for share in evaluation.accuracy_interval],
        "bars": _bars(evaluation),
        "facts": _facts(store, result),
        "verdict": _verdict(evaluation),
        "warnings": [printable(text[:1].upper() + text[1:], 1000) for text in result.warnings],
        "images": f"{evaluation.images:,}",
        "evaluated": _evaluated(result),
        "head": _head(result),
        "reason": printable(result.search.reason, 400),
        "seconds": f"{result.seconds:.1f}",
    }


def _verdict(evaluation: Evaluation) -> list[str]:
    if not evaluation.images:
        return ["Not evaluated: every class has a single photo, and the classifier was trained on it."]
    return [*_how_good(evaluation), *_how_certain(evaluation), _confused(evaluation), *_calibrated(evaluation)]


def _evaluated(result: TrainResult) -> str:
    """Say which photos the figures are of, and if other heads than that of the file had not seen them."""
    if not result.evaluation.images:
        return ""
    others = f", by heads trained on {counted(result.measured_images, 'other photo')}"
    whole = "; the classifier is trained on all of them"
    return f"Evaluated on {printable(result.judged_on)}{(others + whole) * result.is_refitted}."


def _bars(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Return the accuracy beside the baselines it has to beat, each in percent of the width."""
    if not evaluation.images:
        return []
    bars = [_bar("this classifier", "own", evaluation.accuracy, *evaluation.accuracy_interval)]
    if evaluation.untrained is not None:
        bars.append(_bar("with an untrained backbone", "base", evaluation.untrained))
    return [*bars, _bar("majority class", "base", evaluation.majority)]


def _bar(name: str, kind: str, share: float, *interval: float) -> dict[str, Any]:
    ends = [round(100 * end, 2) for end in interval]
    return {"name": name, "kind": kind, "text": percent(share), "width": round(100 * share, 2), "ends": ends}


def _facts(store: Store, result: TrainResult) -> list[tuple[str, str, str]]:
    """Return a name, a value and a note each."""
    evaluation = result.evaluation
    failed = len(store.failures)
    figures = [
        ("Log loss", f"{evaluation.log_loss:.3f}", "nats; lower is better, 0 is perfect"),
        ("Calibration error", percent(evaluation.reliability.error), _by_chance(evaluation)),
        ("Macro-F1", f"{evaluation.macro_f1:.3f}", "mean F1 of the classes"),
        ("Balanced accuracy", percent(evaluation.balanced_accuracy), "mean recall of the classes"),
        *_top_5(evaluation),
    ]
    return [
        *figures * bool(evaluation.images),
        ("Photos", f"{len(store):,}", f"{failed:,} could not be read" if failed else "all could be read"),
        ("Trained on", f"{result.trained_images:,}", f"photos of {counted(len(store.classes), 'class', 'classes')}"),
        ("Evaluated on", f"{evaluation.images:,}", "unseen photos"),
    ]


def _top_5(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    if evaluation.top_5_accuracy is None or evaluation.top_5_accuracy_interval is None:
        return []
    low, high = (percent(share) for share in evaluation.top_5_accuracy_interval)
    return [("Top-5 accuracy", percent(evaluation.top_5_accuracy), f"95% interval {low} to {high}")]


def _head(result: TrainResult) -> str:
    """Name the head in words: ``logistic regression with C = 0.01``."""
    chosen = result.search.chosen
    return printable(describe(title_of(chosen.head), chosen.settings))


def _how_good(evaluation: Evaluation) -> list[str]:
    majority = percent(evaluation.majority)
    if evaluation.accuracy_interval[0] <= evaluation.majority:
        return [f"Not shown to be better than always predicting the most common class ({majority})."]
    return [f"Clearly better than always predicting the most common class ({majority})."]


def _how_certain(evaluation: Evaluation) -> list[str]:
    low, high = (percent(share) for share in evaluation.accuracy_interval)
    rough = [f"Only {counted(evaluation.images, 'photo')} to evaluate on: take every figure here as rough."]
    return [f"On other photos like these, expect between {low} and {high}.", *rough * (evaluation.images < FEW)]


def _confused(evaluation: Evaluation) -> str:
    pairs = confused_pairs(evaluation.confusion)
    if not pairs:
        return "No photo was misclassified."
    label, prediction, count = pairs[0]
    if count == 1:
        return "No two classes were confused more than once."
    names = [isolated(evaluation.classes[code].name) for code in (label, prediction)]
    return f"The most frequent confusion: {names[0]} taken for {names[1]} ({counted(count, 'photo')})."


def _by_chance(evaluation: Evaluation) -> str:
    return f"gap between confidence and accuracy; up to {percent(evaluation.reliability.chance)} by chance alone"


def _calibrated(evaluation: Evaluation) -> list[str]:
    """Judge the probabilities by how far their error exceeds that of perfect ones."""
    found = evaluation.reliability
    if evaluation.images < FEW:  # on few photos it is mostly noise
        return []
    if found.error <= found.chance:
        return [f"Its probabilities are reliable: they are off by {percent(found.error)}, as chance alone would."]
    verdict = "are reliable" if found.error <= 0.05 else "are only a rough guide" if found.error <= 0.1 else "mislead"
    return [f"Its probabilities {verdict}: they are off by {percent(found.error)} on average."]


def isolated(name: str) -> str:
    """Quote a name within Unicode isolates, so that it can stand in a sentence whatever its direction."""
    return f"“\u2068{printable(name, 60)}\u2069”"
