"""How a training is printed: the head that was chosen, how good it is, and what else was found."""

from dataclasses import asdict
from math import isnan
from typing import TYPE_CHECKING

from rich.table import Table

from headstart.console import out, say, short_path, warn
from headstart.results.evaluation import SHOWN_MISTAKES, show_evaluation, show_labels

if TYPE_CHECKING:
    from headstart.classify import TrainResult
    from headstart.classify.evaluation.baselines import Baseline
    from headstart.classify.evaluation.comparison import ComparedHead


def show_training(result: "TrainResult") -> None:
    """Print which head was chosen, how good it is, and the warnings."""
    say(
        f"{result.path}: {result.search.chosen.head} on {result.trained_images} images, "
        f"{len(result.classifier.classes)} classes, {result.seconds:.1f} s"
    )
    show_labels(result.labels)
    say(f"  {result.search.reason}")
    if len(result.heads) > 1:
        _show_heads(result.heads)
    if result.calibration:
        before, after = result.calibration.before.error, result.calibration.after.error
        say(f"  calibrated: temperature {result.calibration.temperature:.2f}, error {before:.3f} -> {after:.3f}")
    if result.unknown:
        rate, measured = result.unknown.false_alarm_rate, result.unknown.measured
        found = "" if isnan(measured) else f", measured: {measured:.1%}"
        say(f"  flags images unlike the training images as unknown (false alarms: {rate:.0%}{found})")
    _show_figures(result)
    if result.domain and not result.domain.is_far:
        say(f"  {result.domain.describe()}")
    if len(result.baselines) > 2:
        _show_baselines(result.baselines)
    if forecast := result.learning_curve.forecast:
        images, accuracy = f"{forecast.images:,}", f"{forecast.accuracy:.3f}"
        say(f"  forecast from the learning curve: accuracy about {accuracy} with {images} training images")
    if duplicates := sum(len(group.rows) - 1 for group in result.duplicates.groups):
        say(f"  duplicate images: {duplicates}; none were split between training and evaluation")
    for issue in (result.label_issues or [])[:SHOWN_MISTAKES]:
        label, likely = short_path(issue.label), short_path(issue.likely)
        say(f"  likely label mistake: {short_path(issue.path)}: labelled {label}, looks like {likely}")
    for warning in result.warnings:
        warn(warning)


def _show_figures(result: "TrainResult") -> None:
    if not result.evaluation.images:
        say(f"not evaluated on any image: {result.judged_on}")
        return
    say(f"evaluated on {result.evaluation.images} unseen images ({result.judged_on}):")
    if result.is_refitted:
        say(f"  by heads trained on {result.measured_images} other images; the classifier is trained on all of them")
    prior = result.baselines[-1]
    say(f"  without learning: accuracy {prior.accuracy:.4f}, log loss {prior.log_loss:.4f} (by the class sizes alone)")
    show_evaluation(result.evaluation)


def _show_heads(heads: list["ComparedHead"]) -> None:
    say("heads, calibrated, out of fold (difference to the first, 95 % interval):")
    table = Table(box=None, header_style="bold")
    table.add_column("head", overflow="fold")
    for heading in ("log loss", "difference", "accuracy"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in heads:
        difference = ""
        if one.difference is not None:
            low, high = one.difference.log_loss_interval
            difference = f"{one.difference.log_loss_difference:+.3f} ({low:+.3f} to {high:+.3f})"
        table.add_row(one.words, f"{one.log_loss:.4f}", difference, f"{one.candidate.accuracy:.4f}")
    out.print(table)
    if alike := [one.candidate.head for one in heads[1:] if not one.is_clearly_worse]:
        say(f"  {heads[0].candidate.head} is not clearly better than {', '.join(alike)}")


def _head_to_json(one: "ComparedHead") -> dict[str, object]:
    return {
        "head": one.candidate.head,
        "settings": dict(one.candidate.settings),
        "log_loss": one.log_loss,
        "accuracy": one.candidate.accuracy,
        "is_clearly_worse": one.is_clearly_worse,
        "difference": one.difference and asdict(one.difference),
    }


def _show_baselines(baselines: list["Baseline"]) -> None:
    say("compared on the same images (difference to the first head, 95 % interval):")
    table = Table(box=None, header_style="bold")
    for heading in ("features", "store"):
        table.add_column(heading, overflow="fold")
    for heading in ("accuracy", "95 %", "log loss", "difference", "bytes per row", "seconds"):
        table.add_column(heading, justify="right", no_wrap=heading != "bytes per row")
    for one in baselines:
        low, high = one.accuracy_interval
        table.add_row(
            short_path(one.what), short_path(one.store), f"{one.accuracy:.4f}", f"{low:.3f} to {high:.3f}",
            f"{one.log_loss:.4f}", _difference(one), "" if one.row_bytes is None else f"{one.row_bytes:,}",
            "" if one.seconds is None else f"{one.seconds:.1f}",
        )  # fmt: skip
    out.print(table)


def _difference(one: "Baseline") -> str:
    if one.difference is None:
        return ""
    low, high = one.difference.accuracy_interval
    return f"{one.difference.accuracy_difference:+.3f} ({low:+.3f} to {high:+.3f})"


def training_to_json(result: "TrainResult") -> dict[str, object]:
    """Return what ``train --json`` prints."""
    calibration, unknown, search = result.calibration, result.unknown, result.search
    return {
        "output": result.path,
        "classes": result.classifier.classes,
        "labels": result.labels and result.labels.to_json(),
        "trained_images": result.trained_images,
        "measured_images": result.measured_images,
        "is_refitted": result.is_refitted,
        "judged_on": result.judged_on,
        "is_backbone_trained": result.is_backbone_trained,
        "seconds": result.seconds,
        "search": {
            "candidates": [candidate.to_json() for candidate in search.candidates],
            "chosen": search.chosen.to_json(),
            "folds": search.folds,
            "reason": search.reason,
            "heads": [_head_to_json(one) for one in result.heads],
            "untried": dict(search.untried),
        },
        "calibration": calibration
        and {
            "temperature": calibration.temperature,
            "error_before": calibration.before.error,
            "error_after": calibration.after.error,
        },
        "unknown": unknown
        and {name: getattr(unknown, name) for name in ("distance", "false_alarm_rate", "measured")}
        | {"probability": 0.0},  # release 0.1 also flagged images below this
        "thresholds": {name: vars(one) for name, one in result.thresholds.items()},
        "learning_curve": [vars(point) for point in result.learning_curve.points],
        "forecast": result.learning_curve.forecast and vars(result.learning_curve.forecast),
        "duplicates": [vars(group) for group in result.duplicates.groups],
        "suspects": result.label_issues and [vars(issue) for issue in result.label_issues],
        "domain": result.domain and {"factor": result.domain.factor, "is_far": result.domain.is_far},
        "warnings": result.warnings,
        "without_learning": {name: getattr(result.baselines[-1], name) for name in ("accuracy", "log_loss")},
        "evaluation": result.evaluation.to_json(),
        "compared": [asdict(one) for one in result.baselines],
    }
