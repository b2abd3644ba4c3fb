"""Look up and change parts of an ONNX graph."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike, NDArray
from onnx import helper, numpy_helper


def constant(graph: onnx.GraphProto, name: str) -> NDArray[Any] | None:
    """Return a constant's value, with float32 widened to float64, or None if the tensor is computed."""
    found = next((item for item in graph.initializer if item.name == name), None)
    if found is None:
        return None
    array: NDArray[Any] = numpy_helper.to_array(found)
    return array.astype(np.float64) if array.dtype == np.float32 else array


def add_constant(graph: onnx.GraphProto, name: str, value: ArrayLike, dtype: DTypeLike = np.float32) -> str:
    """Add a constant and return its name."""
    graph.initializer.append(numpy_helper.from_array(np.asarray(value, dtype, order="C"), name))
    return name


def consumers_of(graph: onnx.GraphProto, name: str) -> list[onnx.NodeProto]:
    """Return the nodes that read a tensor."""
    return [node for node in graph.node if name in node.input]


def producer_of(graph: onnx.GraphProto, name: str) -> onnx.NodeProto | None:
    """Return the node that computes a tensor, or None for an input or constant."""
    return next((node for node in graph.node if name in node.output), None)


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Return a node's attribute, or `default` if it is missing."""
    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


def set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    """Set or replace an attribute of a node."""
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])
