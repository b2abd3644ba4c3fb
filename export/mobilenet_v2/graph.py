"""MobileNetV2's ONNX graph from its arrays, with the batch norms folded into the convolutions."""

from collections.abc import Collection, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from headstart.export.conversion.features import TO_CHANNELS_FIRST, TO_CHANNELS_LAST
from headstart.export.mobilenet_v2.units import Unit, Weights, paddings
from headstart.files.graph import add_constant


def build_graph(
    units: Sequence[Unit], weights: Weights, image_size: tuple[int, int], names: dict[str, str]
) -> onnx.GraphProto:
    """Build the graph as the translation of a Keras network would be after its clean-up.

    Parameters
    ----------
    image_size : tuple of 2 ints
        Height and width.
    names : dict
        Block -> name under which its output is read too, with the channels last.

    Returns
    -------
    onnx.GraphProto
        ``image`` float32 (n, h, w, 3), scaled, to ``embedding`` float32 (n, d) and the named blocks.
    """
    graph = onnx.GraphProto(name="mobilenet_v2")
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", *image_size, 3]))
    for name in ("embedding", *names.values()):
        graph.output.append(helper.make_empty_tensor_value_info(name))
    graph.node.append(helper.make_node("Transpose", ["image"], ["planes"], perm=TO_CHANNELS_FIRST))
    limits = [add_constant(graph, "relu6/low", 0.0), add_constant(graph, "relu6/high", 6.0)]
    maps = block_input = "planes"
    size = image_size
    for number, unit in enumerate(units):
        maps = _convolution(graph, unit, weights, number, maps, size)
        size = (-(-size[0] // unit.stride), -(-size[1] // unit.stride))
        if unit.is_clipped:
            graph.node.append(helper.make_node("Clip", [maps, *limits], [f"{unit.name}/relu6"]))
            maps = f"{unit.name}/relu6"
        if unit.adds_block_input:
            graph.node.append(helper.make_node("Add", [block_input, maps], [f"{unit.name}/add"]))
            maps = f"{unit.name}/add"
        if unit.ends:
            block_input = maps
        if unit.ends in names:
            graph.node.append(helper.make_node("Transpose", [maps], [names[unit.ends]], perm=TO_CHANNELS_LAST))
    graph.node.append(helper.make_node("GlobalAveragePool", [maps], ["pooled"]))
    axes = add_constant(graph, "pooled/axes", [2, 3], np.int64)
    graph.node.append(helper.make_node("Squeeze", ["pooled", axes], ["embedding"]))
    return graph


def _convolution(
    graph: onnx.GraphProto, unit: Unit, weights: Weights, number: int, maps: str, size: tuple[int, int]
) -> str:
    norm = weights.norms[number]
    kernel = weights.kernels[number].astype(np.float64)
    # From Keras' (h, w, in, out) to ONNX's (out, in, h, w); a depthwise kernel is (h, w, channels, 1).
    kernel = kernel.transpose(2, 3, 0, 1) if unit.is_depthwise else kernel.transpose(3, 2, 0, 1)
    folded = kernel * norm.scale.reshape(-1, 1, 1, 1)
    inputs = [
        maps,
        add_constant(graph, f"{unit.name}/kernel", folded),
        add_constant(graph, f"{unit.name}/bias", norm.shift),
    ]
    side = unit.kernel[0]
    (top, bottom), (left, right) = (paddings(axis, unit.stride) if side == 3 else (0, 0) for axis in size)
    graph.node.append(
        helper.make_node(
            "Conv", inputs, [unit.name], kernel_shape=[side, side], strides=[unit.stride] * 2, dilations=[1, 1],
            pads=[top, left, bottom, right], group=unit.channels if unit.is_depthwise else 1,
        )
    )  # fmt: skip
    return unit.name


def wanted_blocks(units: Sequence[Unit], features: str, cut: str | None, tensor: str) -> dict[str, str]:
    """Return the blocks whose outputs are read too, with the names of these outputs (see `build_graph`)."""
    ends = block_names(units)
    if cut is not None:
        return {cut: tensor}
    return {name: name for name in ends} if features == "all-blocks" else {}


def block_names(units: Sequence[Unit]) -> list[str]:
    """Name the blocks, first to last."""
    return [unit.ends for unit in units if unit.ends]


def shapes_of(
    units: Sequence[Unit], image_size: tuple[int, int], blocks: Collection[str]
) -> dict[str, tuple[int, int, int]]:
    """Return height, width and channels of the outputs of some blocks."""
    height, width = image_size
    shapes = {}
    for unit in units:
        height, width = -(-height // unit.stride), -(-width // unit.stride)
        if unit.ends and unit.ends in blocks:
            shapes[unit.ends] = height, width, unit.channels
    return shapes
