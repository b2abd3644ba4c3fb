"""The tail of an exported network as a Keras model, and its tuned weights back in the ONNX file.

The Keras model is built from the ONNX graph, so that nothing but the backbone's file is needed. Batch norms are folded
into the convolutions there, as if frozen: the scale and shift of each channel are part of what is tuned.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from headstart.export.conversion.frameworks import Frameworks
from headstart.export.errors import ConversionError
from headstart.files.graph import attribute, constant

TO_KERAS = (2, 3, 1, 0)
"""Axes of an ONNX kernel, (outputs, inputs, height, width), in Keras' order, unless it is depthwise."""
TO_ONNX = (3, 2, 0, 1)
DEPTHWISE = (2, 3, 0, 1)
"""The same for depthwise kernels, in both directions."""


def build_tail(tail: onnx.ModelProto, frameworks: Frameworks) -> Any:
    """Build the Keras model of a tail.

    Parameters
    ----------
    tail : onnx.ModelProto
        ``tensor``, float32 (n, h, w, c), to ``embedding``, float32 (n, d); see `subgraph.tail` (one view).
    frameworks : Frameworks
        The imported modules.

    Returns
    -------
    keras.Model
        The same computation, its layers named like the nodes.

    Raises
    ------
    ConversionError
        If a node or its padding has no counterpart here.
    """
    keras, graph = frameworks.keras, tail.graph
    first, *nodes = graph.node
    shape = tuple(dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim[1:])
    tensor = keras.Input(shape, name="tensor")
    values: dict[str, Any] = {first.output[0]: tensor}
    weights = {}
    for node in nodes:
        if node.op_type not in _LAYERS:
            raise ConversionError(f"a tail with a {node.op_type} node cannot be tuned: cut at a later block")
        inputs = [values[name] for name in node.input if name in values]
        layer, before = _LAYERS[node.op_type](keras.layers, graph, node)
        for step in before:
            inputs = [step(value) for value in inputs]
        values[node.output[0]] = layer(inputs if len(inputs) > 1 else inputs[0])
        if node.op_type == "Conv":
            weights[layer] = _to_keras(graph, node)
    model = keras.Model(tensor, values["embedding"], name="tail")
    for layer, arrays in weights.items():
        layer.set_weights(arrays)
    return model


def with_weights(backbone: onnx.ModelProto, model: Any) -> onnx.ModelProto:
    """Copy a backbone with the weights of a Keras model from `build_tail` in its tail.

    Raises
    ------
    ConversionError
        If a weight is not finite: the tuning diverged.
    """
    tuned = onnx.ModelProto.FromString(backbone.SerializeToString())
    layers = {layer.name: layer for layer in model.layers}
    fresh: dict[str, NDArray[np.float32]] = {}
    for node in tuned.graph.node:
        if node.op_type == "Conv" and node.name in layers:
            kernel, *bias = layers[node.name].get_weights()
            order = DEPTHWISE if _is_depthwise(tuned.graph, node) else TO_ONNX
            fresh |= dict(zip(node.input[1:], [kernel.transpose(order), *bias], strict=True))
    if not all(np.isfinite(value).all() for value in fresh.values()):
        raise ConversionError("the tuned weights are not finite: tune with a smaller learning rate")
    for tensor in tuned.graph.initializer:
        if tensor.name in fresh:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(fresh[tensor.name], np.float32), tensor.name))
    return tuned


def _is_depthwise(graph: onnx.GraphProto, node: onnx.NodeProto) -> bool:
    return bool(_kernel(graph, node).shape[1] == 1 and attribute(node, "group", 1) > 1)


def _kernel(graph: onnx.GraphProto, node: onnx.NodeProto) -> NDArray[Any]:
    kernel = constant(graph, node.input[1])
    if kernel is None:
        raise ConversionError(f"the kernel of {node.name} is not a constant: cut at a later block")
    return kernel


def _to_keras(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[NDArray[Any]]:
    order = DEPTHWISE if _is_depthwise(graph, node) else TO_KERAS
    bias = [constant(graph, node.input[2])] if len(node.input) > 2 else []
    return [array.astype(np.float32) for array in (_kernel(graph, node).transpose(order), *bias) if array is not None]


def _conv(layers: Any, graph: onnx.GraphProto, node: onnx.NodeProto) -> tuple[Any, list[Any]]:
    kernel = _kernel(graph, node)
    padding, before = _padding(layers, node, kernel.shape[2:])
    common = {
        "strides": tuple(attribute(node, "strides", [1, 1])),
        "padding": padding,
        "use_bias": len(node.input) > 2,
        "dilation_rate": tuple(attribute(node, "dilations", [1, 1])),
        "name": node.name,
    }
    if _is_depthwise(graph, node):
        return layers.DepthwiseConv2D(kernel.shape[2:], **common), before
    return layers.Conv2D(len(kernel), kernel.shape[2:], groups=attribute(node, "group", 1), **common), before


def _padding(layers: Any, node: onnx.NodeProto, size: tuple[int, ...]) -> tuple[str, list[Any]]:
    """Return Keras' padding for a node, and a layer of zeros before it if Keras has no name for that padding."""
    auto = attribute(node, "auto_pad", b"NOTSET")
    top, left, bottom, right = attribute(node, "pads", [0, 0, 0, 0])
    if auto == b"SAME_UPPER":
        return "same", []
    if auto not in (b"NOTSET", b"VALID"):
        raise ConversionError(f"{node.name} has padding {auto.decode()}: cut at a later block")
    if not (top or left or bottom or right):
        return "valid", []
    is_same = (top, left) == (bottom, right) == (size[0] // 2, size[1] // 2) and size[0] % 2 and size[1] % 2
    if is_same and attribute(node, "strides", [1, 1]) == [1, 1]:
        return "same", []
    if node.op_type != "Conv":
        raise ConversionError(f"{node.name} is padded by {top}, {left}, {bottom}, {right}: cut at a later block")
    return "valid", [layers.ZeroPadding2D(((top, bottom), (left, right)))]


def _pool(kind: str) -> Callable[[Any, onnx.GraphProto, onnx.NodeProto], tuple[Any, list[Any]]]:
    def pool(layers: Any, _graph: onnx.GraphProto, node: onnx.NodeProto) -> tuple[Any, list[Any]]:
        size = tuple(attribute(node, "kernel_shape", [1, 1]))
        padding, before = _padding(layers, node, size)
        strides = tuple(attribute(node, "strides", [1, 1]))
        return getattr(layers, kind)(size, strides, padding=padding, name=node.name), before

    return pool


def _clip(layers: Any, graph: onnx.GraphProto, node: onnx.NodeProto) -> tuple[Any, list[Any]]:
    low, high = (constant(graph, name) for name in node.input[1:])
    if low is None or high is None or float(low) != 0:
        raise ConversionError(f"{node.name} does not clip to constants from 0: cut at a later block")
    return layers.ReLU(max_value=float(high), name=node.name), []


_LAYERS: dict[str, Callable[[Any, onnx.GraphProto, onnx.NodeProto], tuple[Any, list[Any]]]] = {
    "Conv": _conv,
    "Clip": _clip,
    "Relu": lambda layers, _graph, node: (layers.ReLU(name=node.name), []),
    "Add": lambda layers, _graph, node: (layers.Add(name=node.name), []),
    "Concat": lambda layers, _graph, node: (layers.Concatenate(name=node.name), []),
    "MaxPool": _pool("MaxPooling2D"),
    "AveragePool": _pool("AveragePooling2D"),
    "GlobalAveragePool": lambda layers, _graph, node: (layers.GlobalAveragePooling2D(name=node.name), []),
    "Squeeze": lambda layers, _graph, node: (layers.Identity(name=node.name), []),
    "Flatten": lambda layers, _graph, node: (layers.Identity(name=node.name), []),
}
