"""Cleaning a translated graph, in place: constants and paddings move into the convolutions, and names become stable.

One function per rewrite; none changes what the graph computes, up to the rounding of float32. TensorFlow's constant
folding has already made ``scale = gamma / sqrt(variance + epsilon)`` of each batch norm; products here are in float64.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from headstart.files.graph import add_constant, attribute, constant, consumers_of, producer_of, set_attribute


def clean(graph: onnx.GraphProto) -> None:
    """Apply every rewrite, in place, then drop unused constants; the nodes are in topological order, as ONNX asks."""
    for node in list(graph.node):
        fold_scale(graph, node)
        fold_shift(graph, node)
        fuse_pad(graph, node)
    drop_unused(graph)


def fold_scale(graph: onnx.GraphProto, node: onnx.NodeProto) -> None:
    """Fold a Mul by one constant per channel into the convolution before it: ``s * (w x + b) = (s w) x + s b``."""
    match = _after_conv(graph, node, "Mul")
    if match is None:
        return
    conv, kernel, factor = match
    conv.input[1] = add_constant(graph, f"{node.output[0]}/kernel", (kernel.T * factor).T)
    bias = constant(graph, conv.input[2]) if len(conv.input) == 3 else None
    if bias is not None:
        conv.input[2] = add_constant(graph, f"{node.output[0]}/scaled_bias", bias * factor)
    _skip(graph, conv, node)


def fold_shift(graph: onnx.GraphProto, node: onnx.NodeProto) -> None:
    """Fold an Add of one constant per channel into the bias of the convolution before it."""
    match = _after_conv(graph, node, "Add")
    if match is None:
        return
    conv, _, shift = match
    bias = constant(graph, conv.input[2]) if len(conv.input) == 3 else None
    del conv.input[2:]
    conv.input.append(add_constant(graph, f"{node.output[0]}/bias", shift if bias is None else bias + shift))
    _skip(graph, conv, node)


def fuse_pad(graph: onnx.GraphProto, node: onnx.NodeProto) -> None:
    """Fuse a Pad with zeros into the convolution after it, or into a max-pooling after it if that is equivalent.

    ONNX pads a max-pooling with minus infinity. That equals zeros if the values are never negative and every window
    touches one of them.
    """
    users = consumers_of(graph, node.output[0])
    if node.op_type != "Pad" or len(users) != 1 or users[0].op_type not in ("Conv", "MaxPool"):
        return
    pads, user = _zero_pads(graph, node), users[0]
    if pads is None or attribute(user, "auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        return
    kernel = attribute(user, "kernel_shape", [])
    if user.op_type == "MaxPool" and not (_never_negative(graph, node.input[0]) and max(pads) < min(kernel)):
        return
    own = attribute(user, "pads", [0] * len(pads))
    set_attribute(user, "pads", [a + b for a, b in zip(pads, own, strict=True)])
    set_attribute(user, "auto_pad", "NOTSET")
    user.input[0] = node.input[0]
    graph.node.remove(node)


def drop_unused(graph: onnx.GraphProto) -> None:
    """Drop constants that no node reads, and the recorded shapes of intermediate tensors."""
    used = {name for node in graph.node for name in node.input}
    kept = [constant for constant in graph.initializer if constant.name in used]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(kept)


def order(graph: onnx.GraphProto, outputs: Sequence[str]) -> None:
    """Put the nodes that the outputs need in an order that depends on the graph alone, in place.

    A node follows its inputs, the first of them first. The translation orders parallel branches, and the two inputs of
    an Add or Mul, differently each time: of these the one with the shorter way from the image goes first.
    """
    depths: dict[str, int] = {}
    for node in _sorted(graph, outputs):
        if node.op_type in ("Add", "Mul") and all(name in depths for name in node.input):
            node.input[:] = sorted(node.input, key=depths.__getitem__)
        depths[node.output[0]] = 1 + max(depths.get(name, 0) for name in node.input)
    nodes = _sorted(graph, outputs)
    del graph.node[:]
    graph.node.extend(nodes)


def _sorted(graph: onnx.GraphProto, outputs: Sequence[str]) -> list[onnx.NodeProto]:
    makers = {name: node for node in graph.node for name in node.output}
    ordered: dict[str, onnx.NodeProto] = {}
    pending = [makers[name] for name in reversed(outputs)]
    while pending:
        node = pending[-1]
        sources = [makers[name] for name in node.input if name in makers]
        missing = next((source for source in sources if source.output[0] not in ordered), None)
        if missing is None:
            ordered[node.output[0]] = pending.pop()
        else:
            pending.append(missing)
    return list(ordered.values())


def rename(graph: onnx.GraphProto, keep: Sequence[str]) -> None:
    """Name nodes by kind and number and tensors by their node, in place; inputs and outputs `keep` their names.

    TensorFlow's own names count everything that the process built before.
    """
    names = {name: name for name in keep}
    counts: dict[str, int] = {}
    for node in graph.node:
        number = counts[node.op_type] = counts.get(node.op_type, -1) + 1
        node.name = f"{node.op_type}_{number}"
        for index, name in enumerate(node.input):
            names.setdefault(name, f"{node.name}.{index}")
        names.setdefault(node.output[0], node.name)
        node.doc_string = ""
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]
    order = {name: position for position, name in enumerate(names.values())}
    constants = [numpy_helper.from_array(numpy_helper.to_array(c), names[c.name]) for c in graph.initializer]
    del graph.initializer[:]
    graph.initializer.extend(sorted(constants, key=lambda constant: order[constant.name]))


def _after_conv(
    graph: onnx.GraphProto, node: onnx.NodeProto, op_type: str
) -> tuple[onnx.NodeProto, NDArray[Any], NDArray[np.float64]] | None:
    """Match a node that combines a convolution, read by it alone, with one constant per channel."""
    if node.op_type != op_type:
        return None
    for data, other in (tuple(node.input), tuple(node.input)[::-1]):
        conv = producer_of(graph, data)
        if conv is not None and conv.op_type == "Conv" and len(consumers_of(graph, data)) == 1:
            value = constant(graph, other)
            kernel = constant(graph, conv.input[1])
            if value is None or kernel is None:
                continue
            row = _per_channel(value, kernel.shape[0], kernel.ndim)
            if row is not None:
                return conv, kernel, row
    return None


def _per_channel(value: NDArray[Any], channels: int, ndim: int) -> NDArray[np.float64] | None:
    if value.size == 1:
        return np.full(channels, value.reshape(()), np.float64)
    full = value.reshape((1,) * (ndim - value.ndim) + value.shape)
    fits = full.shape == (1, channels, *[1] * (ndim - 2))
    return full.reshape(channels).astype(np.float64) if fits else None


def _skip(graph: onnx.GraphProto, conv: onnx.NodeProto, node: onnx.NodeProto) -> None:
    conv.output[0] = node.output[0]
    graph.node.remove(node)


def _zero_pads(graph: onnx.GraphProto, node: onnx.NodeProto) -> list[int] | None:
    """Return a Pad's spatial paddings, begins then ends; None if it does anything else than add zeros there."""
    pads = constant(graph, node.input[1])
    value = constant(graph, node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
    plain = attribute(node, "mode", b"constant") == b"constant" and len(node.input) <= 3
    if not plain or pads is None or value is None or np.any(value) or np.any(pads < 0):
        return None
    begins, ends = np.split(pads, 2)
    return None if np.any(begins[:2]) or np.any(ends[:2]) else [int(p) for p in (*begins[2:], *ends[2:])]


def _never_negative(graph: onnx.GraphProto, name: str) -> bool:
    producer = producer_of(graph, name)
    if producer is None or producer.op_type not in ("Relu", "Clip"):
        return False
    low = constant(graph, producer.input[1]) if producer.op_type == "Clip" else np.zeros(1)
    return low is not None and bool(np.all(low >= 0))
