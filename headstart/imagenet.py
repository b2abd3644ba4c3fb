"""A classifier of ImageNet's 1,000 classes, without any training: MobileNetV2 with its own top."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.files.atomic import check_model_output
from headstart.files.progress import ProgressCallback, announcer
from headstart.files.urls import local_path

if TYPE_CHECKING:
    from headstart.export import ExportSummary


def export_imagenet(
    output: str | os.PathLike[str] = "imagenet.onnx", *, progress: ProgressCallback | None = None, **options: Any
) -> "ExportSummary":
    """Write MobileNetV2 with ImageNet's 1,000 classes as a classifier file, which `score` and `predict` take.

    Parameters
    ----------
    output
        The classifier file, ``*.onnx``.
    progress
        Called as each stage begins.
    options
        Those of `headstart.export.export_backbone`.

    Returns
    -------
    ExportSummary
        Its path, digest, size and metadata are the classifier's, the rest the backbone's.

    Raises
    ------
    OptionError, WeightsError, OutputError
        If the options or the weights hold no such classes, or the file cannot be written.
    ClassifierError
        If the file would compute other probabilities than the layer.
    """
    from dataclasses import replace

    from headstart.classify.artifact.write import write_layer
    from headstart.export import export_backbone
    from headstart.export.backbones import make_plan
    from headstart.export.mobilenet_v2.top import probe_embeddings, read_top
    from headstart.extract import read_model

    path = local_path(output)
    check_model_output(path, "classifier")
    size, width, fit = options.get("image_size"), options.get("width", 1.0), options.get("fit", "squash")
    name, features = options.get("backbone", "mobilenet_v2"), options.get("features", "top")
    plan = make_plan(name, size, width, fit, features, options.get("cut"))
    top = read_top(plan, options.get("weights", "imagenet"), announcer(progress))
    with tempfile.TemporaryDirectory() as folder:
        made = export_backbone(Path(folder) / "backbone.onnx", progress=progress, **options)
        model = read_model(made.path)
    embeddings = probe_embeddings(model.data, plan.image_size)
    written = write_layer(path, model, (top.weights, top.bias), top.classes, embeddings).model
    return replace(made, path=path, sha256=written.sha256, metadata=written.metadata, bytes=len(written.data))
