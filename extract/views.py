"""Several views of one picture, made inside the graph: whole, mirrored, its middle enlarged.

A backbone sees things at the scale, and facing the way, that its training pictures had; a head that is trained and
asked on several views depends less on either. The picture is still decoded once, to the same H x W pixels.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from extract.errors import ModelError
from extract.model import Model, parse_model

VIEWS: Final[dict[int, tuple[str, ...]]] = {
    1: ("full",),
    2: ("full", "flip"),
    4: ("full", "flip", "zoom", "zoom-flip"),
}
"""How many views are to be had, and which they are."""

ZOOM: Final = (7, 9)
"""Share of the height and of the width that the enlarged middle has: 224 of 288 pixels."""

BACKBONE: Final = "headstart-backbone"


@dataclass(frozen=True)
class _Graph:
    """An ONNX graph that is being changed."""

    proto: Any

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.proto.node.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        self.proto.initializer.append(numpy_helper.from_array(value, name))
        return name


def with_views(model: Model, views: int, *, average: bool = False) -> Model:
    """Give a backbone that embeds several views of each picture.

    Parameters
    ----------
    model
        A backbone, in fp32 or int8.
    views
        A number of `VIEWS`.
    average
        Give the mean of the views' embeddings, (n, d), instead of all of them. A linear head's logits of it are the
        mean of its logits of the views.

    Returns
    -------
    Model
        The same input, uint8 (n, H, W, 3). Its ``embedding`` is float32, (n, views * d): the d numbers of the first
        view, then those of the second. The metadata's ``views`` names them in this order, ``views_averaged`` says
        whether they were, ``dim`` counts the numbers, and ``one_view_sha256`` is the digest of `model`. One view gives
        `model` itself.

    Raises
    ------
    ModelError
        Where `views` is another number, or the model is a classifier or has views already.
    """
    if views not in VIEWS:
        raise ModelError(f"expected a number of views out of {', '.join(map(str, VIEWS))}, found {views}")
    if model.metadata.get("format") != BACKBONE or "views" in model.metadata:
        raise ModelError(f"{model.source}: views can be added only to a backbone as it was exported")
    return model if views == 1 else parse_model(_rewritten(model, VIEWS[views], average), model.source)


def _rewritten(model: Model, names: tuple[str, ...], average: bool) -> bytes:
    import onnx
    from onnx import TensorProto, helper

    proto = onnx.load_model_from_string(model.data)
    exported = list(proto.graph.node)
    del proto.graph.node[:], proto.graph.value_info[:]
    graph = _Graph(proto.graph)
    stacked = _stack(graph, names, model.rule.height, model.rule.width)
    for node in exported:
        node.input[:] = [stacked if name == "image" else name for name in node.input]
        node.output[:] = ["views_embedding" if name == "embedding" else name for name in node.output]
    proto.graph.node.extend(exported)
    dim = model.outputs["embedding"] * (1 if average else len(names))
    if average:
        apart = _reshape(graph, "views_embedding", "views_apart", [-1, len(names), dim])
        graph.add("ReduceMean", [apart], "embedding", axes=[1], keepdims=0)
    else:
        _reshape(graph, "views_embedding", "embedding", [-1, dim])
    del proto.graph.output[:], proto.metadata_props[:]
    proto.graph.output.append(helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", dim]))
    said = model.metadata | {
        "dim": dim,
        "views": list(names),
        "views_averaged": average,
        "one_view_sha256": model.sha256,
    }
    helper.set_model_props(proto, {"headstart": json.dumps(said, sort_keys=True)})
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString(deterministic=True))


def _stack(graph: _Graph, names: tuple[str, ...], height: int, width: int) -> str:
    """Give the views of every picture, one picture after another, as uint8 (n * views, H, W, 3)."""
    made = {"full": "image"}
    if "zoom" in names:
        made["zoom"] = _enlarged(graph, height, width)
    for name in names:
        if name not in made:
            made[name] = _mirrored(graph, made[name.removesuffix("flip").removesuffix("-") or "full"], name)
    # One below the other they are one tall picture, whose bytes lie as those of the views in a batch do.
    tall = graph.add("Concat", [made[name] for name in names], "views_tall", axis=1)
    return _reshape(graph, tall, "views_stacked", [-1, height, width, 3])


def _mirrored(graph: _Graph, source: str, name: str) -> str:
    return _sliced(graph, source, f"views_{name}", axes=[2], starts=[-1], ends=[-(2**31)], steps=[-1])


def _enlarged(graph: _Graph, height: int, width: int) -> str:
    """Cut out the middle and bring it to the size of the whole, bilinear, in whole grey levels."""
    import numpy as np
    from onnx import TensorProto

    sizes = [side * ZOOM[0] // ZOOM[1] for side in (height, width)]
    starts = [(side - size) // 2 for side, size in zip((height, width), sizes, strict=True)]
    ends = [start + size for start, size in zip(starts, sizes, strict=True)]
    middle = _sliced(graph, "image", "views_middle", axes=[1, 2], starts=starts, ends=ends, steps=[1, 1])
    planes = graph.add("Transpose", [middle], "views_planes", perm=[0, 3, 1, 2])
    floats = graph.add("Cast", [planes], "views_floats", to=TensorProto.FLOAT)
    # Runtimes cut size times factor down to a whole number: without the little more it could be one pixel short.
    factors = np.array([1, 1, height / sizes[0] * (1 + 1e-6), width / sizes[1] * (1 + 1e-6)], np.float32)
    scales = graph.constant("views_scales", factors)
    large = graph.add("Resize", [floats, "", scales], "views_large", mode="linear")
    levels = graph.add("Cast", [graph.add("Round", [large], "views_round")], "views_levels", to=TensorProto.UINT8)
    return graph.add("Transpose", [levels], "views_zoom", perm=[0, 2, 3, 1])


def _sliced(graph: _Graph, source: str, name: str, **parts: list[int]) -> str:
    import numpy as np

    given = [
        graph.constant(f"{name}_{part}", np.array(parts[part], np.int64))
        for part in ("starts", "ends", "axes", "steps")
    ]
    return graph.add("Slice", [source, *given], name)


def _reshape(graph: _Graph, source: str, name: str, shape: list[int]) -> str:
    import numpy as np

    return graph.add("Reshape", [source, graph.constant(f"{name}_shape", np.array(shape, np.int64))], name)
