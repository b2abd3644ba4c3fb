"""What a report says first: the figures that matter, and what they mean in plain English."""

from typing import Any

import numpy as np

from headstart.classify.evaluation.metrics import Evaluation
from headstart.classify.heads.registry import HEADS
from headstart.classify.report.confusion import pairs
from headstart.classify.report.text import counted, percent, printable
from headstart.classify.result import TrainResult
from headstart.extract.store.store import Store

FEW = 100
"""Judged photos below which a figure is called rough."""

LEVELS = {
    0.99: "Nearly all photos",
    0.95: "More than 19 in 20 photos",
    0.85: "About 9 in 10 photos",
    0.75: "About 8 in 10 photos",
    0.65: "About 7 in 10 photos",
    0.55: "About 6 in 10 photos",
    0.45: "About half of the photos",
    0.25: "About a third of the photos",
}
"""What an accuracy of at least so much is called."""


def summary(table: Store, result: TrainResult) -> dict[str, Any]:
    """Give the head of the page."""
    evaluation: Evaluation = result.evaluation
    return {
        "name": printable(result.path.name),
        "accuracy": percent(evaluation.accuracy),
        "interval": [percent(share) for share in evaluation.accuracy_interval],
        "bars": _bars(result),
        "facts": _facts(table, result),
        "verdict": _verdict(result),
        "warnings": _warnings(result),
        "judged": f"{evaluation.images:,} unseen",
        "judged_on": printable(result.judged_on),
        "head": _head(result),
        "reason": printable(result.search.reason) if result.search else "",
        "seconds": f"{result.seconds:.1f}",
    }


def _bars(result: TrainResult) -> list[dict[str, Any]]:
    """Accuracy beside what it has to beat, each in percent of the width."""
    evaluation = result.evaluation
    bars = [_bar("this classifier", "own", evaluation.accuracy, evaluation.accuracy_interval)]
    if evaluation.untrained is not None:
        bars.append(_bar("the same on an untrained backbone", "base", evaluation.untrained))
    return [*bars, _bar("always the commonest class", "base", evaluation.majority)]


def _bar(name: str, kind: str, share: float, interval: tuple[float, ...] = ()) -> dict[str, Any]:
    ends = [round(100 * end, 2) for end in interval]
    return {"name": name, "kind": kind, "text": percent(share), "width": round(100 * share, 2), "ends": ends}


def _facts(table: Store, result: TrainResult) -> list[dict[str, str]]:
    evaluation = result.evaluation
    failed = len(table.failures)
    return [
        _fact("Log loss", f"{evaluation.log_loss:.3f}", "nats; lower is better, 0 is perfect"),
        _fact("Calibration error", percent(evaluation.reliability.error), "how far its probabilities are off"),
        _fact("Photos", f"{len(table):,}", f"{failed:,} could not be read" if failed else "all of them could be read"),
        _fact("Trained on", f"{result.trained_images:,}", counted(len(evaluation.classes), "class", "classes")),
        _fact("Judged on", f"{evaluation.images:,}", "photos that it had not seen"),
    ]


def _fact(name: str, value: str, note: str) -> dict[str, str]:
    return {"name": name, "value": value, "note": note}


def _head(result: TrainResult) -> str:
    """Name the head in words: ``logistic regression, C = 0.01``."""
    recipe = result.classifier.model.metadata.get("head", {})
    name = str(recipe.get("name") or (result.search.chosen.head if result.search else ""))
    title = HEADS[name].title if name in HEADS else name
    c = result.search.chosen.c if result.search else recipe.get("c")
    return printable(title if c is None else f"{title}, C = {c:g}")


def _verdict(result: TrainResult) -> list[str]:
    evaluation = result.evaluation
    sentences = [_how_good(evaluation), _how_sure(evaluation), _mixed_up(evaluation), _how_honest(evaluation)]
    return [sentence for sentence in sentences if sentence]


def _how_good(evaluation: Evaluation) -> str:
    low = evaluation.accuracy_interval[0]
    if low <= evaluation.majority:
        return (
            "It has not been shown to do better than giving the commonest class to every photo "
            f"({percent(evaluation.majority)})."
        )
    share = next((words for least, words in LEVELS.items() if evaluation.accuracy >= least), "Few of the photos")
    return f"{share} that it had not seen are judged rightly."


def _how_sure(evaluation: Evaluation) -> str:
    low, high = (percent(share) for share in evaluation.accuracy_interval)
    rough = " That is few, so take every figure here as rough." if evaluation.images < FEW else ""
    return (
        f"On other photos like these, expect between {low} and {high}: "
        f"{counted(evaluation.images, 'photo was', 'photos were')} judged.{rough}"
    )


def _mixed_up(evaluation: Evaluation) -> str:
    worst = pairs(evaluation.confusion)[:1]
    if not worst:
        return "No photo was given a wrong class."
    label, answer, count = worst[0]
    if count == 1:
        return "No class is taken for another more than once."
    names = [isolated(evaluation.classes[code].name) for code in (label, answer)]
    return f"Most often, {names[0]} is taken for {names[1]}: {counted(count, 'time')}."


def _how_honest(evaluation: Evaluation) -> str:
    error = evaluation.reliability.error
    if evaluation.images < FEW or not np.isfinite(error):  # of few photos it is mostly noise
        return ""
    means = "can be taken at their word" if error <= 0.05 else "are only a rough guide" if error <= 0.1 else "mislead"
    return f"Its probabilities {means}: on average they are {percent(error)} off."


def isolated(name: str) -> str:
    """Give a name that can stand in a sentence whatever its direction: in quotes, within Unicode isolates."""
    return f"“\u2068{printable(name, 60)}\u2069”"


def _warnings(result: TrainResult) -> list[str]:
    warnings = [printable(text[:1].upper() + text[1:], 400) for text in result.warnings]
    if not result.is_backbone_trained and not any("untrained" in text for text in warnings):
        warnings.append("The backbone's weights are untrained: this is only a baseline.")
    return warnings
