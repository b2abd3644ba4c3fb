"""`headstart tune`: store of tensors -> tuned backbone."""

from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from headstart import options
from headstart.console import command, note, print_json, say, warn

if TYPE_CHECKING:
    from headstart.files.progress import Progress


@command
def run(
    tensors: Annotated[
        str, typer.Argument(help="A store of tensors, made with a backbone from `headstart export --cut`.")
    ],
    output: Annotated[str, typer.Option("-o", "--output", help="The backbone to write.")] = "tuned.onnx",
    epochs: Annotated[int, typer.Option(min=1, help="Maximum passes over the images.")] = 10,
    learning_rate: Annotated[float, typer.Option(help="Peak learning rate of AdamW.")] = 2e-4,
    weight_decay: Annotated[float, typer.Option(min=0, help="Weight decay of AdamW.")] = 0.05,
    label_smoothing: Annotated[float, typer.Option(min=0, max=0.9, help="Label smoothing; 0 turns it off.")] = 0.1,
    mixup: Annotated[float, typer.Option(min=0, help="Alpha of mixup; 0 turns it off.")] = 0.4,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per step.")] = 32,
    patience: Annotated[int, typer.Option(min=1, help="Stop after this many epochs without improvement.")] = 4,
    class_weight: Annotated[
        str, typer.Option(help="none, or balanced to give every class the same total weight.")
    ] = "none",
    holdout: Annotated[
        float, typer.Option(help="Share of images held out for `headstart train` to evaluate on.")
    ] = 0.2,
    min_photos: Annotated[
        int | None,
        typer.Option(min=1, help="Leave out classes with fewer training images.", show_default="stop and name them"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Random seed for the hold-out and the training.")] = 0,
    json: options.Json = False,
) -> None:
    """Fine-tune the last blocks of a network on stored tensors (needs the extra `export`: TensorFlow)."""
    from headstart.tune import Recipe, tune_backbone

    recipe = Recipe(
        epochs=epochs, learning_rate=learning_rate, weight_decay=weight_decay, label_smoothing=label_smoothing,
        mixup=mixup, batch_size=batch_size, patience=patience, class_weight=class_weight, seed=seed,
    )  # fmt: skip
    made = tune_backbone(
        tensors, output, recipe=recipe, holdout=holdout, min_photos=min_photos, progress=_show_progress
    )
    if json:
        print_json(made)
        return
    say(
        f"{made.path}: layers after {made.block} tuned on {made.images} images in {made.seconds:.0f} s; "
        f"kept epoch {made.best.number} of {len(made.history)}"
    )
    say(
        f"on {made.held_out} held-out images: log loss {made.best.log_loss:.4f}, accuracy {made.best.accuracy:.4f} "
        f"(before tuning: {made.frozen[0]:.4f}, {made.frozen[1]:.4f})"
    )
    for warning in made.warnings:
        warn(warning)
    name = quote(str(made.path))
    say(f"next: headstart embed {quote(tensors)} --model {name} -o tuned.h5, then headstart train tuned.h5")


def _show_progress(progress: "Progress") -> None:
    note(f"epoch {progress.done}/{progress.total}: {progress.note}" if progress.note else progress.stage)
