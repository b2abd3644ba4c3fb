"""The Keras network of a backbone, and its embeddings, which the ONNX model must reproduce."""

import importlib
import re
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from headstart.export.backbones import Plan, listed
from headstart.export.conversion.features import Group, groups_of
from headstart.export.conversion.frameworks import Frameworks
from headstart.files.errors import OptionError

OUTPUT: Final = "embedding"
TENSOR: Final = "tensor"
POOLINGS: Final[dict[str, Callable[..., Any]]] = {"mean": np.mean, "deviation": np.std}


def build_network(plan: Plan, frameworks: Frameworks) -> Any:
    """Build the plan's Keras application without its top, globally average-pooled; its weights are still to be loaded.

    The model maps float32 (n, h, w, 3), preprocessed, to float32 (n, d).
    """
    width = {"alpha": plan.width} if plan.backbone.widths else {}
    application = getattr(importlib.import_module(plan.backbone.module), plan.backbone.class_name)
    with frameworks.tensorflow.device("/CPU:0"):
        return application(include_top=False, weights=None, input_shape=(*plan.image_size, 3), pooling="avg", **width)


def with_blocks(network: Any, plan: Plan, frameworks: Frameworks) -> Any:
    """Return a network of `build_network` with named outputs: the embedding, and the blocks that the plan asks for.

    These are ``embedding``, float32 (n, d); for ``all-blocks`` also each block's output by its name, and for a cut the
    output of its block as ``tensor``, float32 (n, h, w, c).

    Raises
    ------
    OptionError
        If the backbone has no block of the cut's name.
    """
    ends = ends_of_blocks(network, plan)
    wanted = ends if plan.features == "all-blocks" else {}
    if plan.cut is not None:
        if plan.cut not in ends:
            raise OptionError(f"{plan.describe()} has no block {plan.cut!r} to cut after: choose one of {listed(ends)}")
        wanted = {TENSOR: ends[plan.cut]}
    return frameworks.keras.Model(network.input, {OUTPUT: network.output, **wanted})


def ends_of_blocks(network: Any, plan: Plan) -> dict[str, Any]:
    """Return the output of each block by its name, in order, except of the last one, which the top pools itself."""
    ends = {}
    for layer in network.layers[:-1]:
        within = re.match(plan.backbone.blocks, layer.name)
        if within:
            ends[within[1]] = layer
    return {name: layer.output for name, layer in ends.items() if layer is not network.layers[-2]}


def layout(network: Any) -> list[Group]:
    """Return the groups of columns of the embedding of a network of `with_blocks`."""
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in network.output.items() if name != TENSOR}
    (top,) = shapes.pop(OUTPUT)
    return groups_of(top, shapes)


def cut_shape(network: Any) -> tuple[int, ...] | None:
    """Return height, width and channels of the tensor at the cut of a network of `with_blocks`; None without a cut."""
    return tuple(network.output[TENSOR].shape[1:]) if TENSOR in network.output else None


def preprocess(images: NDArray[np.uint8], plan: Plan) -> Any:
    """Scale pixels (uint8, (n, h, w, 3), RGB, 0-255) by the family's own `preprocess_input`, to float32."""
    return importlib.import_module(plan.backbone.module).preprocess_input(images.astype(np.float32))


def keras_embeddings(network: Any, images: NDArray[np.uint8], plan: Plan) -> NDArray[np.float32]:
    """Embed images, uint8 (n, h, w, 3), RGB, 0-255, as Keras documents it: the reference for the ONNX model.

    The network has its weights and the outputs of `with_blocks`. Returns float32, (n, d), in the order of `layout`.
    """
    outputs = network(preprocess(images, plan), training=False)
    blocks = layout(network)[1:]
    parts = [POOLINGS[group.pooling](outputs[group.name], axis=(1, 2), dtype=np.float64) for group in blocks]
    return np.concatenate([outputs[OUTPUT], *parts], axis=1).astype(np.float32)


def keras_tensors(network: Any, images: NDArray[np.uint8], plan: Plan) -> NDArray[np.float32]:
    """Compute the tensor at the cut, float32 (n, h, w, c), with Keras; see `keras_embeddings`."""
    tensors: NDArray[np.float32] = network(preprocess(images, plan), training=False)[TENSOR].numpy()
    return tensors
