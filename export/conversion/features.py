"""Features of every block beside those of the top: mean and deviation of each channel, pooled inside the graph.

A linear head on the features of all layers is better than one on the last layer if the new classes are finer than
ImageNet's or differ from them (Evci et al. 2022, Head2Toe, arXiv:2201.03529). The mean says how much of a channel there
is, the standard deviation over the image how it varies (docs/performance.md has figures).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, TypeGuard

import onnx
from onnx import helper

from headstart.export.conversion.cleanup import drop_unused
from headstart.export.errors import ConversionError
from headstart.files.graph import attribute, consumers_of, producer_of

TO_CHANNELS_LAST: Final = [0, 2, 3, 1]
TO_CHANNELS_FIRST: Final = [0, 3, 1, 2]


@dataclass(frozen=True)
class Group:
    """Adjacent columns of an embedding that come from one layer.

    Attributes
    ----------
    name : str
        ``top``, or the name of the block in Keras.
    pooling : str
        ``mean`` or ``deviation`` of each channel over height and width.
    start, size : int
        First column and number of columns.
    """

    name: str
    pooling: str
    start: int
    size: int

    def metadata(self) -> dict[str, Any]:
        """Return the group for the file."""
        return asdict(self)


def groups_of(top: int, blocks: Mapping[str, tuple[int, int, int]]) -> list[Group]:
    """Lay out an embedding: the `top` columns of the top, then for each block its means and standard deviations.

    `blocks` maps the name of each block to the height, width and channels of its output.
    """
    groups = [Group("top", "mean", 0, top)]
    for name, (height, width, channels) in blocks.items():
        for pooling in poolings(height * width):
            groups.append(Group(name, pooling, groups[-1].start + groups[-1].size, channels))
    return groups


def poolings(area: int) -> tuple[str, ...]:
    """Name the poolings of a channel of `area` pixels: a single pixel has no deviation."""
    return ("mean", "deviation") if area > 1 else ("mean",)


def pool_blocks(graph: onnx.GraphProto, output: str, groups: Sequence[Group]) -> None:
    """Pool the output of each block and append it to the top's columns, in place; without blocks nothing changes.

    Parameters
    ----------
    graph : onnx.GraphProto
        Its outputs are the top's columns, called `output`, and the blocks by name, with the channels last.
    output : str
        Name of the embedding, which remains the graph's only output.
    groups : sequence of Group
        The columns of the embedding, those of the top first.

    Raises
    ------
    ConversionError
        If a block's output does not come from a Transpose, as the translation makes it.
    """
    if len(groups) == 1:
        return
    producer = producer_of(graph, output)
    if producer is None:
        raise ConversionError(f"expected a node that computes {output!r}: extend pool_blocks")
    producer.output[0] = "top"
    spread = {group.name for group in groups if group.pooling == "deviation"}
    names = dict.fromkeys(group.name for group in groups[1:])
    sources = {name: channels_first(graph, name, single_pixel=name not in spread) for name in names}
    parts = [_POOLINGS[group.pooling](graph, sources[group.name]) for group in groups[1:]]
    graph.node.append(helper.make_node("Concat", ["top", *parts], [output], axis=1))
    del graph.output[:]
    graph.output.append(helper.make_empty_tensor_value_info(output))
    drop_unused(graph)


def channels_first(graph: onnx.GraphProto, name: str, *, single_pixel: bool) -> str:
    """Return the tensor before a block's Transpose to channels last; nodes that transposed it back read it directly."""
    transpose = producer_of(graph, name)
    if not _transposes(transpose, TO_CHANNELS_LAST, single_pixel):
        raise ConversionError(f"expected block {name!r} to end with a Transpose: extend pool_blocks")
    source = str(transpose.input[0])
    for back in consumers_of(graph, name):
        if not _transposes(back, TO_CHANNELS_FIRST, single_pixel):
            raise ConversionError(f"expected only a Transpose to read block {name!r}: extend pool_blocks")
        for user in consumers_of(graph, back.output[0]):
            user.input[:] = [source if tensor == back.output[0] else tensor for tensor in user.input]
        graph.node.remove(back)
    graph.node.remove(transpose)
    return source


def _transposes(node: onnx.NodeProto | None, order: list[int], single_pixel: bool) -> TypeGuard[onnx.NodeProto]:
    # For a single pixel tf2onnx makes a Reshape, which does the same.
    if node is not None and single_pixel and node.op_type == "Reshape":
        return True
    return node is not None and node.op_type == "Transpose" and attribute(node, "perm", []) == order


def _mean(graph: onnx.GraphProto, source: str) -> str:
    mean, columns = f"{source}/mean", f"{source}/mean_columns"
    graph.node.append(helper.make_node("GlobalAveragePool", [source], [mean]))
    graph.node.append(helper.make_node("Flatten", [mean], [columns], axis=1))
    return columns


def _deviation(graph: onnx.GraphProto, source: str) -> str:
    """Take the root of the mean square of the differences from the mean, which `_mean` has pooled.

    The mean of squares minus the square of the mean would be shorter, but cancels in float32.
    """
    mean, centred, squares, variance, deviation, columns = (
        f"{source}/{part}" for part in ("mean", "centred", "squares", "variance", "deviation", "deviation_columns")
    )
    graph.node.extend(
        [
            helper.make_node("Sub", [source, mean], [centred]),
            helper.make_node("Mul", [centred, centred], [squares]),
            helper.make_node("GlobalAveragePool", [squares], [variance]),
            helper.make_node("Sqrt", [variance], [deviation]),
            helper.make_node("Flatten", [deviation], [columns], axis=1),
        ]
    )
    return columns


_POOLINGS = {"mean": _mean, "deviation": _deviation}
