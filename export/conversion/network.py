"""The Keras side: building a backbone, and the embeddings that its ONNX twin must reproduce."""

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
    """Build the plan's Keras application without its top, globally average-pooled, with weights yet to be set.

    Returns
    -------
    keras.Model
        float32 (n, h, w, 3), scaled by its family's rule, to float32 (n, d).
    """
    width = {"alpha": plan.width} if plan.backbone.widths else {}
    application = getattr(importlib.import_module(plan.backbone.module), plan.backbone.class_name)
    with frameworks.tensorflow.device("/CPU:0"):
        return application(include_top=False, weights=None, input_shape=(*plan.image_size, 3), pooling="avg", **width)


def with_blocks(network: Any, plan: Plan, frameworks: Frameworks) -> Any:
    """Give a backbone's outputs by name: the embedding, and what the plan wants of the blocks before it.

    For the features ``all-blocks`` that is what each block gives, but for what the top itself pools, which is in the
    embedding already; for a cut what its block gives.

    Parameters
    ----------
    network : keras.Model
        As `build_network` gives it: its last layer pools.
    plan : Plan
        Says which features, and what the family's blocks are called.
    frameworks : Frameworks
        The imported modules.

    Returns
    -------
    keras.Model
        To a dict, from ``embedding`` to float32 (n, d), and from each block's name, or from ``tensor`` for the cut, to
        float32 (n, h, w, c).

    Raises
    ------
    OptionError
        The backbone has no block of the cut's name.
    """
    ends = ends_of_blocks(network, plan)
    wanted = ends if plan.features == "all-blocks" else {}
    if plan.cut is not None:
        if plan.cut not in ends:
            raise OptionError(
                f"{plan.describe()} has no block {plan.cut!r} to be cut after: choose one of {listed(ends)}"
            )
        wanted = {TENSOR: ends[plan.cut]}
    return frameworks.keras.Model(network.input, {OUTPUT: network.output, **wanted})


def ends_of_blocks(network: Any, plan: Plan) -> dict[str, Any]:
    """Give what each block of a backbone gives, by name and in order, but for what the top itself pools."""
    ends = {}
    for layer in network.layers[:-1]:
        within = re.match(plan.backbone.blocks, layer.name)
        if within:
            ends[within[1]] = layer
    return {name: layer.output for name, layer in ends.items() if layer is not network.layers[-2]}


def layout(network: Any) -> list[Group]:
    """Give the columns of the embedding that becomes of a network of `with_blocks`."""
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in network.output.items() if name != TENSOR}
    (top,) = shapes.pop(OUTPUT)
    return groups_of(top, shapes)


def cut_shape(network: Any) -> tuple[int, ...] | None:
    """Give the height, width and channels of what a network of `with_blocks` gives at its cut; None without one."""
    return tuple(network.output[TENSOR].shape[1:]) if TENSOR in network.output else None


def preprocess(images: NDArray[np.uint8], plan: Plan) -> Any:
    """Scale pixels (uint8, (n, h, w, 3), RGB, 0-255) by the family's own `preprocess_input`, to float32."""
    return importlib.import_module(plan.backbone.module).preprocess_input(images.astype(np.float32))


def keras_embeddings(network: Any, images: NDArray[np.uint8], plan: Plan) -> NDArray[np.float32]:
    """Embed images the way Keras documents it: the reference for the ONNX model.

    Parameters
    ----------
    network : keras.Model
        A backbone of the plan with its weights and the outputs of `with_blocks`.
    images : ndarray of uint8, (n, h, w, 3), RGB, 0-255
        Of the plan's height and width.
    plan : Plan
        Says the family.

    Returns
    -------
    ndarray of float32, (n, d)
        In the order of `layout`.
    """
    found = network(preprocess(images, plan), training=False)
    blocks = layout(network)[1:]
    parts = [POOLINGS[group.pooling](found[group.name], axis=(1, 2), dtype=np.float64) for group in blocks]
    return np.concatenate([found[OUTPUT], *parts], axis=1).astype(np.float32)


def keras_tensors(network: Any, images: NDArray[np.uint8], plan: Plan) -> NDArray[np.float32]:
    """Give what a network gives at its cut, float32 (n, h, w, c), the way Keras computes it."""
    tensors: NDArray[np.float32] = network(preprocess(images, plan), training=False)[TENSOR].numpy()
    return tensors
