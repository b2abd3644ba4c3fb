"""`headstart evaluate`: a classifier on a store's labels, for people and as a gate."""

from pathlib import Path
from typing import Annotated

import typer

from headstart.commands.train import show
from headstart.console import Json, command, fail, print_json, say


@command
def run(
    store: Annotated[Path, typer.Argument(help="A store with labels, made by `headstart embed`.")],
    classifier: Annotated[Path, typer.Option(help="The file to judge, made by `headstart train`.")],
    split: Annotated[str | None, typer.Option(help="Only this split: train, val or test.")] = None,
    require_accuracy: Annotated[
        float | None, typer.Option(min=0, max=1, help="Exit with code 1 below this accuracy.")
    ] = None,
    json: Json = False,
) -> None:
    """Judge a classifier on stored embeddings with labels."""
    from classify import evaluate

    evaluation = evaluate(store, classifier, split=split)
    if json:
        print_json(evaluation.to_json())
    else:
        say(f"{classifier} on {evaluation.images} images of {store} ({evaluation.judged_on}):")
        show(evaluation)
    if require_accuracy is not None and evaluation.accuracy < require_accuracy:
        fail(f"{classifier}: accuracy {evaluation.accuracy:.4f} is below the required {require_accuracy}")
