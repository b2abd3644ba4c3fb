"""The classifier's graph: a head appended to a backbone, and the head extracted again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from headstart.classify.confidence.novelty import Novelty
from headstart.classify.confidence.subspace import Subspace
from headstart.classify.heads.converted import ConvertedHead
from headstart.classify.heads.kinds import AnyHead
from headstart.classify.heads.layers import Layer
from headstart.extract.inference.sessions import TensorSession
from headstart.extract.inference.subgraph import keep

PROBABILITIES, DISTANCE, UNKNOWN, PREDICTION = "probabilities", "distance", "unknown", "prediction"


@dataclass(frozen=True)
class Head:
    """The part of the graph behind the embedding.

    Attributes
    ----------
    body
        What computes the logits.
    temperature
        Divides the logits.
    unknown
        When an image is marked unknown; None if never.
    least
        (k,): an image whose likeliest class has a lower probability is marked unknown too; None if none is.
    """

    body: AnyHead
    temperature: float = 1.0
    unknown: Novelty | None = None
    least: NDArray[np.float64] | None = None


def join(backbone: bytes, head: Head) -> Any:
    """Append the head to a backbone's ONNX model, with core operators alone unless skl2onnx converted it.

    Outputs: ``probabilities`` (n, k); with `unknown` also ``distance`` (n, 1); with `unknown` or `least` also
    ``unknown`` (1 or 0), (n, 1), and ``prediction``, (n, k + 2): the three side by side, 0 for a distance that the
    file does not have; all float32.
    """
    import onnx

    proto = onnx.load_model_from_string(backbone)
    graph = _Graph(proto.graph)
    classes = head.body.classes
    if isinstance(head.body, ConvertedHead):
        _add_converted(proto, graph, head.body, head.temperature)
    else:
        _add_layers(graph, head.body.layers, head.temperature)
    outputs, flags = {PROBABILITIES: classes}, []
    if head.unknown is not None:
        flags.append(_add_unknown(graph, head.unknown))
        outputs[DISTANCE] = 1
    if head.least is not None:
        flags.append(_add_least(graph, head.least))
    if flags:
        _add_prediction(graph, flags, has_distance=DISTANCE in outputs)
        outputs |= {UNKNOWN: 1, PREDICTION: classes + 2}
    for position, (name, size) in enumerate(outputs.items()):
        info = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", size])
        proto.graph.output.insert(position, info)
    del proto.metadata_props[:]
    return proto


def head_of(data: bytes, output: str) -> Any:
    """Extract the graph from ``embedding`` to `output` of a classifier, as an ``onnx.ModelProto``."""
    import onnx

    model = onnx.load_model_from_string(data)
    nodes: list[Any] = []
    wanted = {output}
    for node in reversed(model.graph.node):
        if wanted & set(node.output) and "embedding" not in node.output:
            nodes.insert(0, node)
            wanted |= set(node.input)
    used = [tensor for tensor in model.graph.initializer if tensor.name in wanted]
    inputs = [out for out in model.graph.output if out.name == "embedding"]
    outputs = [out for out in model.graph.output if out.name == output]
    head = onnx.helper.make_graph(nodes, "head", inputs, outputs, used)
    return onnx.helper.make_model(head, opset_imports=model.opset_import, ir_version=model.ir_version)


def runner_of(head: Any) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return a function that evaluates such a graph: in numpy, or if skl2onnx converted it, by onnxruntime."""
    from onnx.reference import ReferenceEvaluator

    if any(node.domain for node in head.graph.node):
        return TensorSession(head.SerializeToString(), "embedding", head.graph.output[0].name).run
    evaluator = ReferenceEvaluator(head)
    return lambda embeddings: evaluator.run(None, {"embedding": embeddings})[0]


def _add_converted(proto: Any, graph: "_Graph", head: ConvertedHead, temperature: float) -> None:
    """Add a converted classifier, and softmax of the logarithms of its probabilities over the temperature."""
    opset = next(entry.version for entry in proto.opset_import if entry.domain == "")
    converted = head.to_onnx(opset)
    keep(converted.graph, [PROBABILITIES], ["embedding"])
    value = graph.append(converted.graph, "embedding", PROBABILITIES)
    proto.opset_import.extend(entry for entry in converted.opset_import if entry.domain)
    logarithm = graph.add("Log", graph.add("Max", value, graph.constant("floor", head.floor)))
    logits = graph.add("Div", logarithm, graph.constant("temperature", temperature))
    graph.add("Softmax", logits, axis=1, out=PROBABILITIES)


def _add_layers(graph: "_Graph", layers: Sequence[Layer], temperature: float) -> None:
    last = layers[-1]
    scaled = replace(last, weights=last.weights / temperature, bias=last.bias / temperature)
    value = "embedding"
    for number, layer in enumerate([*layers[:-1], scaled]):
        value = graph.add("Relu", value) if number else value
        if layer.centre is not None:
            value = graph.add("Sub", value, graph.constant("centre", layer.centre))
        value = graph.add("Gemm", value, graph.constant("weights", layer.weights), graph.constant("bias", layer.bias))
    graph.add("Softmax", value, axis=1, out=PROBABILITIES)


def _add_unknown(graph: "_Graph", unknown: Novelty) -> str:
    """Add the distance, and return the name of the flag, bool (n, 1), that an image is beyond the threshold."""
    pair = _add_subspace(graph, unknown.subspace, _add_rooted_units(graph))
    offset = -(unknown.mean / unknown.deviation).sum(keepdims=True)
    scales = graph.constant("scales", 1 / unknown.deviation[:, None])
    graph.add("Gemm", pair, scales, graph.constant("offset", offset), out=DISTANCE)
    return graph.add("Greater", DISTANCE, graph.constant("most_distance", unknown.distance))


def _add_rooted_units(graph: "_Graph") -> str:
    root = graph.add("Mul", graph.add("Sign", "embedding"), graph.add("Sqrt", graph.add("Abs", "embedding")))
    length = graph.add("ReduceL2", root, axes=[1], keepdims=1)
    return graph.add("Div", root, graph.add("Max", length, graph.constant("least_length", 1e-12)))


def _add_subspace(graph: "_Graph", subspace: Subspace, image: str) -> str:
    """Add `Subspace.distances`, (n, 2)."""
    axes = graph.constant("axes", subspace.axes)
    centred = graph.add("Sub", image, graph.constant("centre", subspace.centre))
    coordinates = graph.add("MatMul", centred, axes)
    rest = graph.add("Sub", centred, graph.add("Gemm", coordinates, axes, transB=1))
    residual = graph.add("ReduceL2", rest, axes=[1], keepdims=1)
    turned = graph.add("MatMul", coordinates, graph.constant("turn", subspace.turn))
    means, lengths = -2 * subspace.means.T, (subspace.means**2).sum(axis=1)
    to_classes = graph.add("Gemm", turned, graph.constant("means", means), graph.constant("lengths", lengths))
    nearest = graph.add("ReduceMin", to_classes, axes=[1], keepdims=1)
    shares = graph.constant("shares", 1 - subspace.shares[:, None])
    background = graph.add("MatMul", graph.add("Mul", turned, turned), shares)
    return graph.add("Concat", residual, graph.add("Add", nearest, background), axis=1)


def _add_least(graph: "_Graph", least: NDArray[np.float64]) -> str:
    """Add the class thresholds, and return the name of the flag, bool (n, 1), that the likeliest class is below its."""
    likeliest = graph.add("ArgMax", PROBABILITIES, axis=1, keepdims=1)
    wanted = graph.add("Gather", graph.constant("least_of_class", least), likeliest, axis=0)
    return graph.add("Less", graph.add("ReduceMax", PROBABILITIES, axes=[1], keepdims=1), wanted)


def _add_prediction(graph: "_Graph", flags: list[str], has_distance: bool) -> None:
    flag = graph.add("Or", *flags) if len(flags) > 1 else flags[0]
    graph.add("Cast", flag, to=1, out=UNKNOWN)
    distance = DISTANCE if has_distance else graph.add("Mul", UNKNOWN, graph.constant("no_distance", 0.0))
    graph.add("Concat", PROBABILITIES, distance, UNKNOWN, axis=1, out=PREDICTION)


class _Graph:
    """Adds nodes and constants, naming them ``head_<number>_<kind>``."""

    def __init__(self, graph: Any) -> None:
        self._graph, self._count = graph, 0

    def add(self, kind: str, *inputs: str, out: str | None = None, outputs: int = 1, **attributes: Any) -> str:
        from onnx import helper

        name = self._name(kind.lower())
        names = [out or name, *(f"{name}_{number}" for number in range(1, outputs))]
        self._graph.node.append(helper.make_node(kind, list(inputs), names, name=name, **attributes))
        return names[0]

    def constant(self, name: str, value: ArrayLike, dtype: DTypeLike = np.float32) -> str:
        from headstart.files.graph import add_constant

        return add_constant(self._graph, self._name(name), value, dtype)

    def append(self, part: Any, entry: str, output: str) -> str:
        """Add another graph, all names in it replaced, and return the new name of its output."""
        defined = [tensor.name for tensor in part.initializer] + [name for node in part.node for name in node.output]
        names = {name: self._name("part") for name in defined} | {"": "", entry: entry}
        for tensor in part.initializer:
            self._graph.initializer.add().CopyFrom(tensor)
            self._graph.initializer[-1].name = names[tensor.name]
        for node in part.node:
            added = self._graph.node.add()
            added.CopyFrom(node)
            added.name = self._name(node.op_type.lower())
            added.input[:], added.output[:] = ([names[name] for name in one] for one in (node.input, node.output))
        return names[output]

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"head_{self._count}_{kind}"
