"""Parts of a model's graph: what one of its outputs needs, or the tail behind its cut."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from headstart.extract.errors import ModelError
from headstart.extract.inference.model import CUT, Model, parse_model


def only(model: Model, output: str) -> Model:
    """Reduce a model to one of its outputs; its digest stays that of the whole.

    A runtime executes all of a graph, whichever output is requested: the trunk would run with its tail.
    """
    import onnx

    if CUT not in model.outputs:
        return model
    proto = onnx.load_model_from_string(model.data)
    keep(proto.graph, [output], ["image"])
    return replace(model, data=proto.SerializeToString(deterministic=True), outputs={output: model.outputs[output]})


def uncut(model: Model) -> Model:
    """Drop the output at a backbone's cut; a backbone without that output is returned as it is."""
    return parse_model(only(model, "embedding").data, model.source) if CUT in model.outputs else model


def views_of(metadata: dict[str, Any]) -> list[str]:
    """Name the views per image that a backbone's graph makes (see `headstart.export.conversion.views`)."""
    return list(metadata.get("views", ["full"]))


def tail(model: Model, *, one_view: bool = False) -> Any:
    """Extract the tail of a backbone: ``tensor``, float32 (n, h, w, c), to ``embedding``, (n, d).

    Parameters
    ----------
    one_view
        By default the tail of a backbone with v views takes (n, v, h, w, c) and averages the views' embeddings; with
        `one_view` it takes the tensors of single views.

    Returns
    -------
    onnx.ModelProto
        Its first node transposes, after one that flattens the views; other tensors keep the names they have in the
        backbone.

    Raises
    ------
    ModelError
        If the backbone has no cut.
    """
    import onnx
    from onnx import TensorProto, helper

    if "cut" not in model.metadata:
        raise ModelError(
            f"{model.source}: expected a backbone with a cut; make one with `headstart export --cut BLOCK`"
        )
    cut, views = model.metadata["cut"], len(views_of(model.metadata))
    proto = onnx.load_model_from_string(model.data)
    graph, shape = proto.graph, list(cut["shape"])
    source = CUT
    if views > 1 and one_view:
        _replace_mean(graph)
    keep(graph, ["embedding"], [cut["at"]])
    entry = []
    if views > 1 and not one_view:
        graph.initializer.append(helper.make_tensor("tensor_shape", TensorProto.INT64, [4], [-1, *shape]))
        entry.append(helper.make_node("Reshape", [CUT, "tensor_shape"], ["tensor_views"], name="tensor_views"))
        source, shape = "tensor_views", [views, *shape]
    entry.append(helper.make_node("Transpose", [source], [cut["at"]], name="cut", perm=[0, 3, 1, 2]))
    for node in reversed(entry):
        graph.node.insert(0, node)
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(CUT, TensorProto.FLOAT, ["n", *shape]))
    return proto


def _replace_mean(graph: Any) -> None:
    """Make a single view's embedding the graph's output, instead of the mean over all views."""
    mean = next(node for node in graph.node if "embedding" in node.output)
    graph.node.remove(mean)
    for node in graph.node:
        node.output[:] = ["embedding" if name == "views_embedding" else name for name in node.output]


def keep(graph: Any, outputs: Iterable[str], inputs: Iterable[str]) -> None:
    """Drop all nodes except those on the paths between some tensors and others, in place."""
    outputs, inputs, kept = set(outputs), set(inputs), []
    wanted = set(outputs)
    for node in reversed(graph.node):
        if wanted & set(node.output) - inputs:
            kept.append(node)
            wanted |= set(node.input)
    kept_outputs = [output for output in graph.output if output.name in outputs]
    constants = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.node[:], graph.output[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(reversed(kept))
    graph.output.extend(kept_outputs)
    graph.initializer.extend(constants)
