"""Looking things up in an ONNX graph, and the few ways in which the rewrites change one."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import ArrayLike, DTypeLike, NDArray
from onnx import helper, numpy_helper


def constant(graph: onnx.GraphProto, name: str) -> NDArray[Any] | None:
    """Give a constant's value, floats widened to float64 for arithmetic; None if the tensor is computed."""
    found = next((item for item in graph.initializer if item.name == name), None)
    if found is None:
        return None
    array: NDArray[Any] = numpy_helper.to_array(found)
    return array.astype(np.float64) if array.dtype == np.float32 else array


def add_constant(graph: onnx.GraphProto, name: str, value: ArrayLike, dtype: DTypeLike = np.float32) -> str:
    """Add a constant and return its name."""
    graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
    return name


def consumers_of(graph: onnx.GraphProto, name: str) -> list[onnx.NodeProto]:
    """Give the nodes that read a tensor."""
    return [node for node in graph.node if name in node.input]


def producer_of(graph: onnx.GraphProto, name: str) -> onnx.NodeProto | None:
    """Give the node that computes a tensor; None for an input or a constant."""
    return next((node for node in graph.node if name in node.output), None)


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """Give a node's attribute, or `default` where it is left out."""
    return next((helper.get_attribute_value(item) for item in node.attribute if item.name == name), default)


def set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    """Set a node's attribute, replacing one of that name."""
    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])
