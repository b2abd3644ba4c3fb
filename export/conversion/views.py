"""Augmented views of each image, made inside the graph: the whole, its mirror image, and its enlarged middle.

A backbone recognises things at the scale and orientation of its training images; a head on the mean of several views
depends less on either. An image is still decoded once, to the same H x W pixels.
"""

from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from headstart.files.errors import OptionError
from headstart.files.graph import add_constant

VIEWS: Final[dict[int, tuple[str, ...]]] = {
    1: ("full",),
    2: ("full", "flip"),
    4: ("full", "flip", "zoom", "zoom-flip"),
}
"""The numbers of views that a backbone can make, and which views these are."""

ZOOM: Final = (7, 9)
"""Share of the height and width that the enlarged middle has: 224 of 288 pixels."""


def check_views(views: int) -> None:
    """Refuse a number of views other than those of `VIEWS`.

    Raises
    ------
    OptionError
        Listing them.
    """
    if views not in VIEWS:
        raise OptionError(f"expected a number of views out of {', '.join(map(str, VIEWS))}, found {views}")


def add_views(model: onnx.ModelProto, views: int) -> list[str]:
    """Make a backbone embed several views of each image, in place.

    The embedding becomes the mean over the views: a linear head's logits for it are the mean of its logits for each
    view. Node names are part of the format, because the tail of a file is found by them.

    Parameters
    ----------
    model
        A backbone, in fp32 or int8: ``image`` uint8 (n, H, W, 3) to ``embedding`` float32 (n, d), and if it is cut
        ``tensor`` float32 (n, h, w, c), which becomes (n, views, h, w, c).
    views
        2 or 4.

    Returns
    -------
    The names of the views, in their order.
    """
    graph, names = model.graph, VIEWS[views]
    outputs = {output.name: _shape(output)[1:] for output in graph.output}
    _, height, width, _ = _shape(graph.input[0])
    exported = list(graph.node)
    del graph.node[:], graph.value_info[:]
    stacked = _stack(graph, names, height, width)
    for node in exported:
        node.input[:] = [stacked if name == "image" else name for name in node.input]
        node.output[:] = [f"views_{name}" if name in outputs else name for name in node.output]
    graph.node.extend(exported)
    apart = _reshape(graph, "views_embedding", "views_apart", [-1, views, *outputs["embedding"]])
    _add(graph, "ReduceMean", [apart], "embedding", axes=[1], keepdims=0)
    for name in outputs.keys() - {"embedding"}:
        outputs[name] = [views, *outputs[name]]
        _reshape(graph, f"views_{name}", name, [-1, *outputs[name]])
    del graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name, shape in outputs.items()
    )
    onnx.checker.check_model(model, full_check=True)
    return list(names)


def _stack(graph: onnx.GraphProto, names: tuple[str, ...], height: int, width: int) -> str:
    """Return the views of every image, one image after another, as uint8 (n * views, H, W, 3)."""
    made = {"full": "image"}
    if "zoom" in names:
        made["zoom"] = _enlarged(graph, height, width)
    for name in names:
        if name not in made:
            made[name] = _mirrored(graph, made[name.removesuffix("flip").removesuffix("-") or "full"], name)
    # One below the other they are one tall image, whose bytes are laid out like a batch of the views.
    tall = _add(graph, "Concat", [made[name] for name in names], "views_tall", axis=1)
    return _reshape(graph, tall, "views_stacked", [-1, height, width, 3])


def _mirrored(graph: onnx.GraphProto, source: str, name: str) -> str:
    return _sliced(graph, source, f"views_{name}", axes=[2], starts=[-1], ends=[-(2**31)], steps=[-1])


def _enlarged(graph: onnx.GraphProto, height: int, width: int) -> str:
    """Cut out the middle and enlarge it to the size of the whole, bilinearly, in whole grey levels."""
    sizes = [side * ZOOM[0] // ZOOM[1] for side in (height, width)]
    starts = [(side - size) // 2 for side, size in zip((height, width), sizes, strict=True)]
    ends = [start + size for start, size in zip(starts, sizes, strict=True)]
    middle = _sliced(graph, "image", "views_middle", axes=[1, 2], starts=starts, ends=ends, steps=[1, 1])
    planes = _add(graph, "Transpose", [middle], "views_planes", perm=[0, 3, 1, 2])
    floats = _add(graph, "Cast", [planes], "views_floats", to=TensorProto.FLOAT)
    # Runtimes round size times factor down: without the surplus the image could be one pixel short.
    factors = [1, 1, height / sizes[0] * (1 + 1e-6), width / sizes[1] * (1 + 1e-6)]
    large = _add(
        graph, "Resize", [floats, "", add_constant(graph, "views_scales", factors)], "views_large", mode="linear"
    )
    levels = _add(graph, "Cast", [_add(graph, "Round", [large], "views_round")], "views_levels", to=TensorProto.UINT8)
    return _add(graph, "Transpose", [levels], "views_zoom", perm=[0, 2, 3, 1])


def _sliced(graph: onnx.GraphProto, source: str, name: str, **parts: list[int]) -> str:
    inputs = [
        add_constant(graph, f"{name}_{part}", parts[part], np.int64) for part in ("starts", "ends", "axes", "steps")
    ]
    return _add(graph, "Slice", [source, *inputs], name)


def _reshape(graph: onnx.GraphProto, source: str, name: str, shape: list[int]) -> str:
    return _add(graph, "Reshape", [source, add_constant(graph, f"{name}_shape", shape, np.int64)], name)


def _add(graph: onnx.GraphProto, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
    graph.node.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
    return output


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]
