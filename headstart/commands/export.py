"""`headstart export`: Keras application -> backbone.onnx."""

from pathlib import Path
from typing import Annotated

import typer

from headstart.console import Json, command, print_json, say, warn


@command
def run(
    backbone: Annotated[
        str, typer.Option(help="mobilenet_v2, mobilenet, vgg16, inception_v3 or resnet50.")
    ] = "mobilenet_v2",
    weights: Annotated[str, typer.Option(help="imagenet, random, or a Keras weights file (.h5).")] = "imagenet",
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.")] = Path("backbone.onnx"),
    image_size: Annotated[int | None, typer.Option(min=32, show_default="the backbone's own")] = None,
    width: Annotated[float, typer.Option(help="Width multiplier of the MobileNets (0.35 to 1.4).")] = 1.0,
    fit: Annotated[str, typer.Option(help="How images reach that size: squash, or crop the centre.")] = "squash",
    seed: Annotated[int, typer.Option(help="For --weights random.")] = 0,
    json: Json = False,
) -> None:
    """Export a frozen backbone to ONNX, once (needs the extra `export`: TensorFlow)."""
    from export import export_backbone

    made = export_backbone(
        output, backbone=backbone, weights=weights, image_size=image_size, width=width, fit=fit, seed=seed
    )
    if json:
        print_json(made)
        return
    dim, size = made.metadata["dim"], made.metadata["image_size"]
    say(f"{made.path}: {backbone}, {size[0]} x {size[1]} pixels -> {dim} numbers, {made.bytes / 1e6:.1f} MB")
    say(f"largest difference from Keras: {made.max_difference:.1e}")
    if weights == "random":
        warn("these weights are untrained: use them only as a baseline")
    say(f"next: headstart embed IMAGES --model {made.path} -o photos.h5")
