"""Parts of a model's graph: what one of its outputs needs, or what lies behind its cut."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from headstart.extract.errors import ModelError
from headstart.extract.inference.model import CUT, Model, parse_model


def only(model: Model, output: str) -> Model:
    """Give a model that computes one of its outputs and nothing else; its digest stays that of the whole.

    A runtime goes through all of a graph, whichever output it is asked for: the trunk of a network would run with its
    tail.
    """
    import onnx

    if CUT not in model.outputs:
        return model
    proto = onnx.load_model_from_string(model.data)
    keep(proto.graph, [output], ["image"])
    return replace(model, data=proto.SerializeToString(deterministic=True), outputs={output: model.outputs[output]})


def uncut(model: Model) -> Model:
    """Give a backbone that no longer tells what lies at its cut; one that never did as it is."""
    return parse_model(only(model, "embedding").data, model.source) if CUT in model.outputs else model


def tail(model: Model) -> Any:
    """Cut what lies behind the cut out of a backbone: ``tensor``, float32 (n, h, w, c), to ``embedding``, (n, d).

    Returns
    -------
    onnx.ModelProto
        Its first node transposes; the names of the other tensors are those of the backbone.

    Raises
    ------
    ModelError
        Where the backbone has no cut.
    """
    import onnx
    from onnx import TensorProto, helper

    if "cut" not in model.metadata or "views" in model.metadata:
        raise ModelError(
            f"{model.source}: expected a backbone with a cut; make one with `headstart export --cut BLOCK`"
        )
    cut = model.metadata["cut"]
    proto = onnx.load_model_from_string(model.data)
    graph = proto.graph
    keep(graph, ["embedding"], [cut["at"]])
    graph.node.insert(0, helper.make_node("Transpose", [CUT], [cut["at"]], name="cut", perm=[0, 3, 1, 2]))
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(CUT, TensorProto.FLOAT, ["n", *cut["shape"]]))
    return proto


def keep(graph: Any, outputs: Iterable[str], inputs: Iterable[str]) -> None:
    """Drop all nodes but those on the way from some tensors to others, in place."""
    wanted, given, kept = set(outputs), set(inputs), []
    for node in reversed(graph.node):
        if wanted & set(node.output) - given:
            kept.append(node)
            wanted |= set(node.input)
    kept_outputs = [out for out in graph.output if out.name in set(outputs)]
    constants = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.node[:], graph.output[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(reversed(kept))
    graph.output.extend(kept_outputs)
    graph.initializer.extend(constants)
