"""`headstart train`: embedding store -> classifier file."""

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from headstart.console import Json, command, fail, out, print_json, say, short_path, warn

if TYPE_CHECKING:
    from classify import Evaluation, TrainResult

SHOWN_MISTAKES = 10
SHOWN_CLASSES = 25


@command
def run(
    store: Annotated[Path, typer.Argument(help="The embedding store, made by `headstart embed`.")],
    head: Annotated[str, typer.Option(help="logreg or mlp.")] = "logreg",
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")] = Path("classifier.onnx"),
    c: Annotated[float, typer.Option("--C", help="logreg: the larger, the weaker the penalty.")] = 0.01,
    hidden: Annotated[str, typer.Option(help="mlp: units of the hidden layers, as in 1024,1024,512.")] = "256",
    class_weight: Annotated[str, typer.Option(help="none, or balanced.")] = "none",
    holdout: Annotated[float, typer.Option(help="Share to judge on, where the images have no val or test split.")] = (
        0.2
    ),
    seed: Annotated[int, typer.Option(min=0, help="Of the hold-out and of the head.")] = 0,
    json: Json = False,
) -> None:
    """Train a head on stored embeddings and write a classifier: one ONNX file, image to probabilities."""
    from classify import HeadOptions, train

    options = HeadOptions(c, _units(hidden), class_weight, seed)
    result = train(store, output, head=head, options=options, holdout=holdout)
    if json:
        print_json(_summary(result))
        return
    say(
        f"{result.path}: {head} on {result.trained_images} images, {len(result.classifier.classes)} classes, "
        f"{result.seconds:.1f} s"
    )
    if not result.is_backbone_trained:
        warn("the backbone's weights are untrained: this is only a baseline")
    say(f"judged on {result.evaluation.images} images that it has not seen ({result.judged_on}):")
    show(result.evaluation)
    say(f"next: headstart score IMAGES --classifier {quote(str(result.path))} -o predictions.csv")


def show(evaluation: "Evaluation") -> None:
    """Print figures, the confusion matrix and the most confident mistakes."""
    from rich.table import Table

    say(f"  accuracy {evaluation.accuracy:.4f}, log loss {evaluation.log_loss:.4f}")
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


def _units(hidden: str) -> tuple[int, ...]:
    try:
        return tuple(int(units) for units in hidden.split(","))
    except ValueError:
        fail(f"--hidden {hidden!r}: expected whole numbers with commas between them, as in 1024,1024,512", 2)


def _summary(result: "TrainResult") -> dict[str, object]:
    return {
        "output": result.path,
        "classes": result.classifier.classes,
        "trained_images": result.trained_images,
        "judged_on": result.judged_on,
        "is_backbone_trained": result.is_backbone_trained,
        "seconds": result.seconds,
        "evaluation": result.evaluation.to_json(),
    }
