"""`headstart tune`: store of tensors -> backbone with a tuned tail."""

from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from headstart.console import Json, command, note, print_json, say, warn

if TYPE_CHECKING:
    from headstart.files.progress import Progress


@command
def run(
    tensors: Annotated[str, typer.Argument(help="A store made with a backbone of `headstart export --cut`.")],
    output: Annotated[str, typer.Option("-o", "--output", help="The backbone to write.")] = "tuned.onnx",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the images, at most.")] = 10,
    learning_rate: Annotated[float, typer.Option(help="Of AdamW, at its highest.")] = 2e-4,
    weight_decay: Annotated[float, typer.Option(min=0)] = 0.05,
    label_smoothing: Annotated[float, typer.Option(min=0, max=0.9)] = 0.1,
    mixup: Annotated[float, typer.Option(min=0, help="0: images are not mixed.")] = 0.4,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    patience: Annotated[int, typer.Option(min=1, help="Epochs that do not help before it ends.")] = 4,
    class_weight: Annotated[str, typer.Option(help="none, or balanced: small classes count like large.")] = "none",
    holdout: Annotated[float, typer.Option(help="Share of images that are left for `train` to judge on.")] = 0.2,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1)] = 0,
    json: Json = False,
) -> None:
    """Train the last blocks of a network on what its frozen ones gave (needs the extra `export`: TensorFlow)."""
    from headstart.tune import Recipe, tune_backbone

    recipe = Recipe(
        epochs=epochs, learning_rate=learning_rate, weight_decay=weight_decay, label_smoothing=label_smoothing,
        mixup=mixup, batch_size=batch_size, patience=patience, class_weight=class_weight, seed=seed,
    )  # fmt: skip
    made = tune_backbone(tensors, output, recipe=recipe, holdout=holdout, progress=_show_progress)
    if json:
        print_json(made)
        return
    say(
        f"{made.path}: tuned behind {made.block} on {made.images} images in {made.seconds:.0f} s; "
        f"epoch {made.best.number} of {len(made.history)} kept"
    )
    say(
        f"on {made.held_out} held-out images: log loss {made.best.log_loss:.4f}, accuracy {made.best.accuracy:.4f} "
        f"(before: {made.frozen[0]:.4f}, {made.frozen[1]:.4f})"
    )
    for warning in made.warnings:
        warn(warning)
    name = quote(str(made.path))
    say(f"next: headstart embed {quote(tensors)} --model {name} -o tuned.h5, then headstart train tuned.h5")


def _show_progress(progress: "Progress") -> None:
    note(f"epoch {progress.done}/{progress.total}: {progress.note}" if progress.note else progress.stage)
