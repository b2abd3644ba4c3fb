"""Keras to ONNX: tf2onnx translates the network, `cleanup` simplifies the graph, and pixel scaling is put first."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from headstart.export.backbones import Pixels, Plan
from headstart.export.conversion.cleanup import clean, drop_unused, order, rename
from headstart.export.conversion.features import TO_CHANNELS_LAST, Group, channels_first, pool_blocks
from headstart.export.conversion.frameworks import Frameworks, quiet
from headstart.export.conversion.network import OUTPUT, TENSOR
from headstart.export.errors import ConversionError
from headstart.files.errors import one_line
from headstart.files.graph import add_constant, constant, consumers_of

OPSET: Final = 17
IR_VERSION: Final = 8
INPUT: Final = "image"


def finish(
    graph: onnx.GraphProto, plan: Plan, groups: Sequence[Group], cut_shape: tuple[int, ...] | None
) -> onnx.ModelProto:
    """Make a clean ONNX model of a network's graph, with its pixel scaling inside.

    Parameters
    ----------
    graph : onnx.GraphProto
        float32 (n, h, w, 3), preprocessed, to ``embedding`` and to the blocks of `groups` or ``tensor``; changed.
    plan : Plan
        Its image size and pixel scaling are used.
    groups : sequence of Group
        The columns of the embedding.
    cut_shape : tuple of ints or None
        Shape of ``tensor``, if the network is cut.

    Returns
    -------
    onnx.ModelProto
        ``image`` uint8 (n, h, w, 3), RGB, 0-255, to ``embedding`` float32 (n, d), in the default operator set alone.

    Raises
    ------
    ConversionError
        If the graph does not begin with one convolution of the image.
    """
    attach_pixels(graph, plan.backbone.pixels)
    outputs: dict[str, tuple[int, ...]] = {OUTPUT: (sum(group.size for group in groups),)}
    if cut_shape is None:
        pool_blocks(graph, OUTPUT, groups)
    else:
        expose_cut(graph)
        outputs[TENSOR] = cut_shape
    order(graph, list(outputs))
    rename(graph, keep=(INPUT, *outputs))
    model = _finished(graph, plan, outputs)
    onnx.checker.check_model(model, full_check=True)
    return model


def translate(network: Any, plan: Plan, frameworks: Frameworks) -> onnx.GraphProto:
    """Translate a Keras network into a clean graph, from preprocessed pixels to its outputs.

    Raises
    ------
    ConversionError
        If tf2onnx cannot translate it, or it needs another operator set.
    """
    graph = _translate(network, plan, frameworks).graph
    clean(graph)
    return graph


def expose_cut(graph: onnx.GraphProto) -> None:
    """Add the tensor at the cut as an output with the channels last, in place, at the end of the nodes.

    The rest of the network reads it with the channels first, as before, so that the cut does not change the embedding.
    """
    source = channels_first(graph, TENSOR, single_pixel=False)
    graph.node.append(helper.make_node("Transpose", [source], [TENSOR], perm=TO_CHANNELS_LAST))


def _translate(network: Any, plan: Plan, frameworks: Frameworks) -> onnx.ModelProto:
    tensorflow = frameworks.tensorflow
    spec = tensorflow.TensorSpec((None, *plan.image_size, 3), tensorflow.float32, name=INPUT)
    # tf2onnx's own function for Keras models expects Keras 2; a plain TensorFlow function works with Keras 3.
    function = tensorflow.function(lambda image: network(image, training=False), input_signature=[spec])
    try:
        with quiet(), tensorflow.device("/CPU:0"):
            model, _ = frameworks.tf2onnx.convert.from_function(function, input_signature=[spec], opset=OPSET)
    except Exception as error:  # of any kind, as from a compiler
        raise ConversionError(f"{plan.backbone.name}: tf2onnx cannot translate it: {one_line(error)}") from error
    foreign = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    if foreign:
        raise ConversionError(
            f"{plan.backbone.name} needs the operator sets {sorted(foreign)}: only core ONNX is allowed"
        )
    return model


def attach_pixels(graph: onnx.GraphProto, pixels: Pixels) -> None:
    """Put the pixel scaling before the first convolution, in place: Transpose (of bytes), Cast, Sub, Conv.

    Scaling that is part of the Keras model is folded into the same nodes. Subtracting the offset stays a node of its
    own: a convolution pads with zeros *after* scaling, so that an offset moved into its bias would be wrong at the
    borders. The factor and the channel order commute with zero padding and move into the kernel, at no cost.

    Raises
    ------
    ConversionError
        If the graph does not begin with a transposed image and one convolution.
    """
    factor, shift = _fold_model_scaling(graph)
    transpose, conv = _entry(graph)
    kernel = constant(graph, conv.input[1])
    if kernel is None:
        raise ConversionError("expected the first convolution's kernel to be a constant: extend attach_pixels")
    if pixels.bgr:
        kernel, factor, shift = kernel[:, ::-1], factor[::-1], shift[::-1]
    factor = factor * pixels.scale
    offset = np.array(pixels.offset) - shift / factor
    conv.input[:2] = ["centred_pixels", add_constant(graph, "pixel_kernel", kernel * factor.reshape(1, 3, 1, 1))]
    offset_name = add_constant(graph, "pixel_offset", offset.reshape(1, 3, 1, 1))
    graph.node.remove(transpose)
    entry = [
        helper.make_node("Transpose", [INPUT], ["pixels"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["pixels"], ["float_pixels"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["float_pixels", offset_name], ["centred_pixels"]),
    ]
    for node in reversed(entry):
        graph.node.insert(0, node)
    drop_unused(graph)


def _fold_model_scaling(graph: onnx.GraphProto) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Remove the scaling that is part of the model, ``factor * x + shift`` per channel, and return factor and shift."""
    factor, shift, name = np.ones(3), np.zeros(3), graph.input[0].name
    while len(users := consumers_of(graph, name)) == 1 and users[0].op_type in _LINEAR:
        node = users[0]
        data, other = node.input
        value = constant(graph, other if data == name else data)
        if value is None or value.size not in (1, 3) or (node.op_type in ("Sub", "Div") and data != name):
            break
        factor, shift = _LINEAR[node.op_type](factor, shift, value.reshape(-1))
        for user in consumers_of(graph, node.output[0]):
            user.input[:] = [name if tensor == node.output[0] else tensor for tensor in user.input]
        graph.node.remove(node)
    return factor, shift


_LINEAR: Final[dict[str, Callable[..., tuple[Any, Any]]]] = {
    "Mul": lambda factor, shift, value: (factor * value, shift * value),
    "Div": lambda factor, shift, value: (factor / value, shift / value),
    "Add": lambda factor, shift, value: (factor, shift + value),
    "Sub": lambda factor, shift, value: (factor, shift - value),
}


def _entry(graph: onnx.GraphProto) -> tuple[onnx.NodeProto, onnx.NodeProto]:
    name = graph.input[0].name
    first = consumers_of(graph, name)
    second = consumers_of(graph, first[0].output[0]) if len(first) == 1 else []
    found = [node.op_type for node in [*first, *second]]
    if found != ["Transpose", "Conv"]:
        raise ConversionError(f"expected the graph to begin with Transpose, Conv, found {found}: extend attach_pixels")
    return first[0], second[0]


def _finished(graph: onnx.GraphProto, plan: Plan, outputs: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
    """Make a model of the graph's nodes with declared shapes, without other traces of the translation."""
    fresh = helper.make_graph(
        list(graph.node),
        plan.backbone.name,
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["n", *plan.image_size, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name, shape in outputs.items()],
        list(graph.initializer),
    )
    model = helper.make_model(fresh, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="headstart")
    model.ir_version = IR_VERSION
    return model
