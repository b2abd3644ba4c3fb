"""`headstart train`: embedding store -> classifier file."""

from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from headstart import options
from headstart.console import command, fail, out, print_json, say, short_path, warn, working

if TYPE_CHECKING:
    from headstart.classify import Evaluation, TrainResult
    from headstart.classify.evaluation.baselines import Baseline

SHOWN_MISTAKES = 10
SHOWN_CLASSES = 25


@command
def run(
    store: Annotated[str, typer.Argument(help="A labelled store from `headstart embed`.")],
    head: Annotated[str, typer.Option(help="Kind of head: logreg, mlp, or auto for the better of the two.")] = "logreg",
    output: Annotated[Path, typer.Option("-o", "--output", help="The classifier to write.")] = Path("classifier.onnx"),
    c: Annotated[
        float | None,
        typer.Option("--C", help="logreg: inverse strength of the penalty.", show_default="found by cross-validation"),
    ] = None,
    hidden: Annotated[str, typer.Option(help="mlp: units per hidden layer, for example 1024,1024,512.")] = "256",
    class_weight: Annotated[
        str, typer.Option(help="none, or balanced to give every class the same total weight.")
    ] = "none",
    holdout: Annotated[
        float, typer.Option(help="Share of images held out for evaluation, if the store has no val or test split.")
    ] = 0.2,
    false_alarms: Annotated[
        float, typer.Option(help="Accepted share of known images flagged `unknown`; 0 turns the flag off.")
    ] = 0.05,
    compare: Annotated[
        list[str] | None,
        typer.Option(help="Compare with a store of the same images by another backbone. Can be repeated."),
    ] = None,
    untrained: Annotated[
        str | None, typer.Option(help="Compare with a store of the same images by an untrained backbone.")
    ] = None,
    suspects: Annotated[bool, typer.Option(help="List probable label errors (needs the extra `report`).")] = False,
    report: Annotated[Path | None, typer.Option(help="Write a report to NAME.html (needs the extra `report`).")] = None,
    memory_gb: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Memory for embeddings; a larger store is read in passes.",
            show_default="half of the machine's",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed for the hold-out split and the head.")] = 0,
    json: options.Json = False,
) -> None:
    """Train a head on stored embeddings and write a classifier: one ONNX file from image to probabilities."""
    from headstart.classify import HeadOptions, train

    options = HeadOptions(c, _units(hidden), class_weight, seed)
    with working() as callback:
        result = train(
            store,
            output,
            head=head,
            options=options,
            holdout=holdout,
            false_alarms=false_alarms,
            compare=compare or (),
            untrained=untrained,
            suspects=suspects,
            report=report,
            memory=None if memory_gb is None else memory_gb * 1e9,
            progress=callback,
        )
    if json:
        print_json(_summary(result))
        return
    show_training(result)
    if report:
        say(f"report: {report}")
    say(f"next: headstart score IMAGES --classifier {quote(str(result.path))} -o predictions.csv")


def show_training(result: "TrainResult") -> None:
    """Print what was chosen, how it did, and what to know about that."""
    say(
        f"{result.path}: {result.search.chosen.head} on {result.trained_images} images, "
        f"{len(result.classifier.classes)} classes, {result.seconds:.1f} s"
    )
    say(f"  {result.search.reason}")
    if result.calibration:
        before, after = result.calibration.before.error, result.calibration.after.error
        say(f"  calibrated: temperature {result.calibration.temperature:.2f}; error {before:.3f} -> {after:.3f}")
    if result.unknown:
        rate, measured = result.unknown.false_alarm_rate, result.unknown.measured
        say(f"  marks unknown what is none of its classes, and {rate:.0%} of the others (measured: {measured:.1%})")
    say(f"judged on {result.evaluation.images} images that it has not seen ({result.judged_on}):")
    show(result.evaluation)
    if len(result.compared) > 2:
        _show_compared(result.compared)
    forecast = result.curve.forecast
    if forecast:
        say(
            f"  with {forecast.images} training images instead: accuracy {forecast.accuracy:.3f}, by its learning curve"
        )
    copies = sum(len(group.rows) - 1 for group in result.duplicates.groups)
    if copies:
        say(f"  copies of another image: {copies}; none of them are on both sides of the judgement")
    for suspect in (result.suspects or [])[:SHOWN_MISTAKES]:
        label, likely = short_path(suspect.label), short_path(suspect.likely)
        say(f"  label mistake? {short_path(suspect.path)}: labelled {label}, looks like {likely}")
    for warning in result.warnings:
        warn(warning)


def show(evaluation: "Evaluation") -> None:
    """Print figures, the confusion matrix and the most confident mistakes."""
    from rich.table import Table

    low, high = evaluation.accuracy_interval
    say(
        f"  accuracy {evaluation.accuracy:.4f} (95 %: {low:.3f} to {high:.3f}; the commonest class alone: "
        f"{evaluation.majority:.3f}), log loss {evaluation.log_loss:.4f}, calibration error "
        f"{evaluation.reliability.error:.3f}"
    )
    numbers = [f"={number}" for number in range(1, len(evaluation.classes) + 1)]
    widest = max(len(short_path(figures.name)) for figures in evaluation.classes)
    fits = 38 + widest + sum(2 + len(str(count)) for count in evaluation.confusion.max(axis=0)) <= out.width
    taken_for = numbers if fits and len(numbers) <= SHOWN_CLASSES else []
    table = Table(box=None, header_style="bold")
    for heading in ("", "class", "images", "precision", "recall", *taken_for):
        table.add_column(heading, justify="left" if heading == "class" else "right", no_wrap=True)
    for number, figures, counts in zip(numbers, evaluation.classes, evaluation.confusion.tolist(), strict=True):
        cells = [f"{figures.images}", f"{figures.precision:.3f}", f"{figures.recall:.3f}"]
        table.add_row(number, short_path(figures.name), *cells, *(map(str, counts) if taken_for else []))
    out.print(table)
    if taken_for:
        say("  (right: the confusion matrix; row = label, column = what the images were taken for)")
    else:
        say("  (the confusion matrix is too wide for here: --json gives it)")
    for mistake in evaluation.mistakes[:SHOWN_MISTAKES]:
        say(
            f"  mistake: {short_path(mistake.path)}: {short_path(mistake.predicted)} "
            f"({mistake.probability:.3f}), labelled {short_path(mistake.label)}"
        )


def _show_compared(compared: list["Baseline"]) -> None:
    from rich.table import Table

    say("compared on the same images (difference: to the first, with 95 %):")
    table = Table(box=None, header_style="bold")
    for heading in ("head on", "store"):
        table.add_column(heading, overflow="fold")
    for heading in ("accuracy", "95 %", "log loss", "difference", "bytes a row", "seconds"):
        table.add_column(heading, justify="right", no_wrap=heading != "bytes a row")
    for one in compared:
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


def _units(hidden: str) -> tuple[int, ...]:
    try:
        return tuple(int(units) for units in hidden.split(","))
    except ValueError:
        fail(f"--hidden {hidden!r}: expected whole numbers with commas between them, as in 1024,1024,512", 2)


def _summary(result: "TrainResult") -> dict[str, object]:
    calibration, unknown = result.calibration, result.unknown
    return {
        "output": result.path,
        "classes": result.classifier.classes,
        "trained_images": result.trained_images,
        "judged_on": result.judged_on,
        "is_backbone_trained": result.is_backbone_trained,
        "seconds": result.seconds,
        "search": {
            "candidates": [vars(candidate) for candidate in result.search.candidates],
            "chosen": vars(result.search.chosen),
            "folds": result.search.folds,
            "reason": result.search.reason,
        },
        "calibration": calibration
        and {
            "temperature": calibration.temperature,
            "error_before": calibration.before.error,
            "error_after": calibration.after.error,
        },
        "unknown": unknown
        and {name: getattr(unknown, name) for name in ("distance", "probability", "false_alarm_rate", "measured")},
        "learning_curve": [vars(point) for point in result.curve.points],
        "forecast": result.curve.forecast and vars(result.curve.forecast),
        "duplicates": [vars(group) for group in result.duplicates.groups],
        "suspects": result.suspects and [vars(suspect) for suspect in result.suspects],
        "warnings": result.warnings,
        "evaluation": result.evaluation.to_json(),
        "compared": [asdict(one) for one in result.compared],
    }
