"""`headstart export`: pretrained weights -> backbone (.onnx), or with --top a classifier of ImageNet's classes."""

from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headstart import options
from headstart.console import command, fail, note, print_json, say, warn, working

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
        typer.Option(help="imagenet, random, a Keras weights file (.h5), or a backbone (.onnx) for --views or int8."),
    ] = "imagenet",
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", help="The file to write.", show_default="backbone.onnx, or imagenet.onnx with --top"
        ),
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(min=32, help="Side of the input in pixels.", show_default="the backbone's own")
    ] = None,
    width: Annotated[float, typer.Option(help="Width multiplier of MobileNets.")] = 1.0,
    fit: Annotated[str, typer.Option(help="How to fit images to that size: squash, or crop the centre.")] = "squash",
    features: Annotated[
        str, typer.Option(help="top: the last layer. all-blocks: every block (more accurate, longer embeddings).")
    ] = "top",
    cut: Annotated[
        str | None,
        typer.Option(
            help="Last frozen block for `headstart tune`, for example block_12; auto tries several on --sample.",
            show_default="not cut",
        ),
    ] = None,
    sample: Annotated[str | None, typer.Option(help="Labelled images for --cut auto: a folder or manifest.")] = None,
    views: Annotated[
        int,
        typer.Option(
            help="Augmented views per image: 1, 2 (adds a flip) or 4 (adds a zoom). More are slower, but more accurate."
        ),
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Random seed for --weights random.")] = 0,
    precision: Annotated[str, typer.Option(help="fp32, or int8 (faster on CPUs; needs --calibrate).")] = "fp32",
    calibrate: Annotated[
        str | None, typer.Option(help="Typical images for int8, a few hundred: a folder or manifest.")
    ] = None,
    top: Annotated[
        bool, typer.Option("--top", help="Write a classifier of ImageNet's 1,000 classes instead of a backbone.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Export a pretrained backbone to ONNX (all but mobilenet_v2 need the extra `export`: TensorFlow)."""
    from headstart.export import export_backbone
    from headstart.imagenet import export_imagenet

    if (precision, calibrate is None) not in (("fp32", True), ("int8", False)):
        fail("expected --precision fp32, or --precision int8 together with --calibrate IMAGES", 2)
    if (cut == "auto") != (sample is not None):
        fail("expected --cut auto together with --sample IMAGES, or neither", 2)
    network: dict[str, Any] = {
        "backbone": backbone, "weights": weights, "image_size": image_size, "width": width, "fit": fit, "seed": seed,
    }  # fmt: skip
    trials: list[Trial] = []
    if sample:
        from headstart.tune.cuts import best_cut, try_cuts

        trials = try_cuts(sample, progress=lambda state: note(state.stage), **network)
        cut = best_cut(trials).block
    pixels = _pixels(calibrate, network) if calibrate else None
    with working() as callback:
        made = (export_imagenet if top else export_backbone)(
            output or ("imagenet.onnx" if top else "backbone.onnx"),
            **network,
            features=features,
            cut=cut,
            views=views,
            calibration=pixels,
            progress=callback,
        )
    if json:
        print_json({**vars(made), "cuts": trials})
    else:
        _show(made, trials)


def _show(made: "ExportSummary", trials: "list[Trial]") -> None:
    metadata = made.metadata
    for trial in trials:
        say(
            f"cut after {trial.block}: on {trial.images[1]} held-out images log loss {trial.log_loss:.4f}, accuracy "
            f"{trial.accuracy:.4f} (frozen {trial.frozen[0]:.4f}, {trial.frozen[1]:.4f}); "
            f"{1000 * trial.seconds:.0f} ms per image and epoch, {trial.bytes / 1000:.0f} KB per image and view"
            f"{'; chosen' * (trial.block == metadata['cut']['block'])}"
        )
    dim, size = metadata["dim"], metadata["image_size"]
    shape = f"{size[0]} x {size[1]} pixels -> {dim} features"
    say(f"{made.path}: {metadata['backbone']}, {shape}, {made.bytes / 1e6:.1f} MB")
    say(f"largest difference from the reference: {made.max_difference:.1e}")
    if "quantization" in metadata:
        cosine = metadata["quantization"]
        say(
            f"cosine of int8 to fp32 on {cosine['images']} held-out images: mean {cosine['cosine_mean']}, "
            f"5th percentile {cosine['cosine_p5']}, minimum {cosine['cosine_min']}"
        )
    if not metadata["weights"]["trained"]:
        warn("the weights are untrained: use this backbone only as a baseline")
    if "classes" in metadata:
        say(f"next: headstart predict {quote(str(made.path))} PHOTO")
        return
    say(f"next: headstart embed IMAGES --model {quote(str(made.path))} -o photos.h5")


def _pixels(images: str, network: dict[str, Any]) -> "NDArray[np.uint8]":
    """Decode images as the network needs them, uint8 (n, h, w, 3)."""
    from headstart.export.backbones import make_plan
    from headstart.extract import read_model
    from headstart.extract.sample import decode_sample
    from headstart.files.resize import ResizeRule

    if network["weights"].endswith(".onnx"):  # its metadata holds the image size
        return decode_sample(images, read_model(network["weights"]).rule, CALIBRATION_IMAGES)
    backbone, image_size, width, fit = (network[name] for name in ("backbone", "image_size", "width", "fit"))
    rule = ResizeRule(*make_plan(backbone, image_size, width, fit).image_size, fit)
    return decode_sample(images, rule, CALIBRATION_IMAGES)
