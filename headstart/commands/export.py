"""`headstart export`: Keras application -> backbone.onnx."""

from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from headstart.console import Json, command, fail, note, print_json, say, warn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headstart.export import ExportSummary
    from headstart.tune.cuts import Trial

CALIBRATION_IMAGES = 300


@command
def run(
    backbone: Annotated[
        str, typer.Option(help="mobilenet_v2, mobilenet, vgg16, inception_v3 or resnet50.")
    ] = "mobilenet_v2",
    weights: Annotated[
        str,
        typer.Option(help="imagenet, random, a Keras file (.h5), or for --views and int8 a backbone (.onnx)."),
    ] = "imagenet",
    output: Annotated[str, typer.Option("-o", "--output", help="The file to write.")] = "backbone.onnx",
    image_size: Annotated[int | None, typer.Option(min=32, show_default="the backbone's own")] = None,
    width: Annotated[float, typer.Option(help="Width multiplier of the MobileNets.")] = 1.0,
    fit: Annotated[str, typer.Option(help="How images reach that size: squash, or crop the centre.")] = "squash",
    features: Annotated[
        str, typer.Option(help="top: the last layer's, or all-blocks: every block's too (better heads, longer rows).")
    ] = "top",
    cut: Annotated[
        str | None,
        typer.Option(
            help="A block (block_12) behind which the network is to be tuned; auto tries a few on --sample.",
            show_default="not cut",
        ),
    ] = None,
    sample: Annotated[str | None, typer.Option(help="For --cut auto: a folder or manifest of labelled images.")] = None,
    views: Annotated[
        int,
        typer.Option(
            help="Augmented views per image: 1, 2 (adds a flip) or 4 (adds a zoom). More are slower, but more accurate."
        ),
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="For --weights random.")] = 0,
    precision: Annotated[str, typer.Option(help="fp32, or int8: faster on CPUs, needs --calibrate.")] = "fp32",
    calibrate: Annotated[
        str | None, typer.Option(help="For int8: a folder or manifest of images like those to come; some hundreds do.")
    ] = None,
    json: Json = False,
) -> None:
    """Export a frozen backbone to ONNX, once (needs the extra `export`: TensorFlow)."""
    from headstart.export import export_backbone

    if (precision, calibrate is None) not in (("fp32", True), ("int8", False)):
        fail("expected --precision fp32, or --precision int8 together with --calibrate IMAGES", 2)
    if (cut == "auto") != (sample is not None):
        fail("expected --cut auto together with --sample IMAGES, or neither", 2)
    trials = _trials(sample, backbone, weights, image_size, width, fit, seed) if sample else []
    if trials:
        from headstart.tune.cuts import best_cut

        cut = best_cut(trials).block
    made = export_backbone(
        output,
        backbone=backbone,
        weights=weights,
        image_size=image_size,
        width=width,
        fit=fit,
        features=features,
        cut=cut,
        views=views,
        seed=seed,
        calibration=_pixels(calibrate, weights, backbone, image_size, width, fit) if calibrate else None,
    )
    if json:
        print_json({**vars(made), "cuts": trials})
    else:
        _show(made, trials)


def _show(made: "ExportSummary", trials: "list[Trial]") -> None:
    said = made.metadata
    for trial in trials:
        say(
            f"cut after {trial.block}: on {trial.images[1]} held-out images log loss {trial.log_loss:.4f}, accuracy "
            f"{trial.accuracy:.4f} (frozen {trial.frozen[0]:.4f}, {trial.frozen[1]:.4f}); "
            f"{1000 * trial.seconds:.0f} ms an image and epoch, {trial.bytes / 1000:.0f} KB an image and view"
            f"{', taken' * (trial.block == said['cut']['block'])}"
        )
    dim, size = said["dim"], said["image_size"]
    say(f"{made.path}: {said['backbone']}, {size[0]} x {size[1]} pixels -> {dim} numbers, {made.bytes / 1e6:.1f} MB")
    say(f"largest difference from Keras: {made.max_difference:.1e}")
    if "quantization" in said:
        cosine = said["quantization"]
        say(
            f"int8 against fp32 on {cosine['images']} held-back images: cosine mean {cosine['cosine_mean']}, "
            f"5th percentile {cosine['cosine_p5']}, least {cosine['cosine_min']}"
        )
    if not said["weights"]["trained"]:
        warn("these weights are untrained: use them only as a baseline")
    say(f"next: headstart embed IMAGES --model {quote(str(made.path))} -o photos.h5")


def _trials(
    images: str, backbone: str, weights: str, image_size: int | None, width: float, fit: str, seed: int
) -> "list[Trial]":
    from headstart.tune.cuts import try_cuts

    return try_cuts(
        images,
        backbone=backbone,
        width=width,
        progress=lambda state: note(state.stage),
        weights=weights,
        image_size=image_size,
        fit=fit,
        seed=seed,
    )


def _pixels(
    images: str, weights: str, backbone: str, image_size: int | None, width: float, fit: str
) -> "NDArray[np.uint8]":
    from headstart.export.backbones import make_plan
    from headstart.extract.sample import decode_sample
    from headstart.files.resize import ResizeRule

    if weights.endswith(".onnx"):  # which says itself how large its images are
        from headstart.extract import read_model

        return decode_sample(images, read_model(weights).rule, CALIBRATION_IMAGES)
    height, breadth = make_plan(backbone, image_size, width, fit).image_size
    return decode_sample(images, ResizeRule(height, breadth, fit), CALIBRATION_IMAGES)
