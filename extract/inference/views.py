"""Several views of one picture, made inside the graph: whole, mirrored, its middle enlarged.

A backbone sees things at the scale, and facing the way, that its training pictures had; a head that is trained and
asked on several views depends less on either. The picture is still decoded once, to the same H x W pixels.
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from headstart.extract.errors import ModelError
from headstart.extract.inference.model import CUT, Model, parse_model
from headstart.extract.inference.subgraph import keep
from headstart.files.seal import SEAL_KEY

VIEWS: Final[dict[int, tuple[str, ...]]] = {
    1: ("full",),
    2: ("full", "flip"),
    4: ("full", "flip", "zoom", "zoom-flip"),
}
"""How many views are to be had, and which they are."""

ZOOM: Final = (7, 9)
"""Share of the height and of the width that the enlarged middle has: 224 of 288 pixels."""

BACKBONE: Final = "headstart-backbone"
_OF_VIEWS: Final = ("views", "views_averaged", "one_view_sha256")


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


def with_views(model: Model, views: int) -> Model:
    """Give a backbone that embeds several views of each picture.

    Its embedding is the mean of theirs: a linear head's logits of it are the mean of its logits of the views.

    Parameters
    ----------
    model
        A backbone, in fp32 or int8.
    views
        A number of `VIEWS`.

    Returns
    -------
    Model
        The same input, uint8 (n, H, W, 3), and the same ``embedding``, float32 (n, d). The ``tensor`` of a network that
        is cut is float32 (n, views, h, w, c), one for each view. The metadata's ``views`` names them in this order, and
        ``one_view_sha256`` is the digest of `model`. One view gives `model` itself.

    Raises
    ------
    ModelError
        Where `views` is another number, or the model is a classifier or has views already.
    """
    if views not in VIEWS:
        raise ModelError(f"expected a number of views out of {', '.join(map(str, VIEWS))}, found {views}")
    if model.metadata.get("format") != BACKBONE or "views" in model.metadata:
        raise ModelError(f"{model.source}: views can be added only to a backbone as it was exported")
    return model if views == 1 else parse_model(_rewritten(model, VIEWS[views]), model.source)


def without_views(model: Model) -> Model:
    """Give the backbone of one view that a model of several was made of; any other as it is."""
    import onnx
    from onnx import TensorProto, helper

    if "views" not in model.metadata:
        return model
    proto = onnx.load_model_from_string(model.data)
    shapes = {"embedding": model.outputs["embedding"]}
    if CUT in model.outputs:
        shapes[CUT] = model.outputs[CUT][1:]
    keep(proto.graph, [f"views_{name}" for name in shapes], ["views_stacked"])
    own = {"views_stacked": "image"} | {f"views_{name}": name for name in shapes}
    for node in proto.graph.node:
        node.input[:] = [own.get(name, name) for name in node.input]
        node.output[:] = [own.get(name, name) for name in node.output]
    proto.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name, shape in shapes.items()
    )
    said = {name: value for name, value in model.metadata.items() if name not in _OF_VIEWS}
    _say(proto, said)
    return parse_model(bytes(proto.SerializeToString(deterministic=True)), model.source)


def _rewritten(model: Model, names: tuple[str, ...]) -> bytes:
    import onnx
    from onnx import TensorProto, helper

    proto = onnx.load_model_from_string(model.data)
    exported = list(proto.graph.node)
    del proto.graph.node[:], proto.graph.value_info[:]
    graph = _Graph(proto.graph)
    stacked = _stack(graph, names, model.rule.height, model.rule.width)
    for node in exported:
        node.input[:] = [stacked if name == "image" else name for name in node.input]
        node.output[:] = [f"views_{name}" if name in model.outputs else name for name in node.output]
    proto.graph.node.extend(exported)
    outputs = {"embedding": model.outputs["embedding"]}
    apart = _reshape(graph, "views_embedding", "views_apart", [-1, len(names), *outputs["embedding"]])
    graph.add("ReduceMean", [apart], "embedding", axes=[1], keepdims=0)
    if CUT in model.outputs:
        outputs[CUT] = (len(names), *model.outputs[CUT])
        _reshape(graph, f"views_{CUT}", CUT, [-1, *outputs[CUT]])
    del proto.graph.output[:]
    proto.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name, shape in outputs.items()
    )
    said = model.metadata | {"views": list(names), "views_averaged": True, "one_view_sha256": model.sha256}
    _say(proto, said)
    onnx.checker.check_model(proto, full_check=True)
    return bytes(proto.SerializeToString(deterministic=True))


def _say(proto: Any, said: dict[str, Any]) -> None:
    """Put other metadata into the graph's; its other entries stay, but the digest that is none of it any more."""
    kept = {entry.key: entry.value for entry in proto.metadata_props if entry.key not in ("headstart", SEAL_KEY)}
    del proto.metadata_props[:]
    for key, value in (kept | {"headstart": json.dumps(said, sort_keys=True)}).items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value


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
