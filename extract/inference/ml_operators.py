"""Operators of ONNX for classical machine learning (the domain ``ai.onnx.ml``), checked before a runtime sees them.

They address arrays by numbers from the file, which runtimes do not all check: a node of a tree may name a feature
beyond the input, or itself as its child.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from headstart.extract.errors import ModelError

DOMAIN = "ai.onnx.ml"
Attributes = dict[str, Any]
_KEEPS_WIDTH = frozenset(
    {"Add", "Cast", "Clip", "Div", "Identity", "Max", "Min", "Mul", "Normalizer", "Scaler", "Sub", "Sqrt"}
)


def check_ml_operators(graph: Any, width: int) -> None:
    """Refuse operators that are not known to be safe, or whose numbers do not fit together.

    Parameters
    ----------
    graph
        An ONNX graph with the tensor ``embedding``.
    width
        Its length.

    Raises
    ------
    ModelError
        Naming the operator.
    """
    from onnx import helper, numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    _check_names([tensor.name for tensor in graph.initializer], graph.node)
    widths: dict[str, int] = {name: (1, *tensor.dims)[-1] for name, tensor in constants.items()} | {"embedding": width}
    for node in graph.node:
        second = constants.get(node.input[1]) if len(node.input) > 1 else None
        attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        if node.domain == DOMAIN:
            attributes["columns"] = None if second is None else numpy_helper.to_array(second).ravel().tolist()
            check = _CHECKS.get(node.op_type)
            if check is None or not check(attributes, widths.get(node.input[0], 0)):
                raise ModelError(f"its operator {node.op_type} of {DOMAIN} is not supported, or its numbers do not fit")
        sizes = [widths.get(name) for name in node.input if name]
        if node.op_type in _KEEPS_WIDTH and None not in sizes:
            widths[node.output[0]] = max(size for size in sizes if size is not None)
        elif node.op_type in ("MatMul", "Gemm") and second is not None and len(second.dims) == 2:
            widths[node.output[0]] = second.dims[0 if attributes.get("transB") else 1]
        elif (node.domain, node.op_type) == (DOMAIN, "ArrayFeatureExtractor"):
            widths[node.output[0]] = len(attributes["columns"])
        elif node.domain == DOMAIN and len(node.output) == 2:
            widths[node.output[1]] = _labels(attributes)


def _check_names(constants: list[str], nodes: Any) -> None:
    """Refuse a name with two values: a runtime may take the one that was not checked."""
    values = constants + [name for node in nodes for name in node.output if name]
    for names, kind in [(values, "tensor"), *(([one.name for one in node.attribute], "attribute") for node in nodes)]:
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ModelError(f"its {kind} {twice[:100]!r} is defined twice")


def _fits_trees(attributes: Attributes, width: int) -> bool:
    """Check that children exist, and come after their parents in the same tree; that leaves and features exist."""
    trees, nodes = (np.array(attributes[f"nodes_{name}"], np.int64) for name in ("treeids", "nodeids"))
    left, right = (np.array(attributes[f"nodes_{name}nodeids"], np.int64) for name in ("true", "false"))
    features = np.array(attributes["nodes_featureids"], np.int64)
    modes = attributes["nodes_modes"]  # bytes as they are: numpy would drop NULs at the end
    columns = (trees, nodes, left, right, features, modes)
    if len({len(column) for column in columns} | {_values(attributes, "nodes_values")}) > 1:
        return False
    places = set(zip(trees.tolist(), nodes.tolist(), strict=True))
    inner = np.array([mode != b"LEAF" for mode in modes], bool)
    children = [(trees[inner], side[inner]) for side in (left, right)]
    votes = [attributes[f"class_{name}"] for name in ("treeids", "nodeids", "ids")]
    classes = _labels(attributes)
    return (
        len(places) == len(nodes)
        and set(modes) <= {b"LEAF", b"BRANCH_LEQ", b"BRANCH_LT", b"BRANCH_GT", b"BRANCH_GTE"}
        and all(bool((side > nodes[inner]).all()) for _, side in children)
        and all(set(zip(tree.tolist(), side.tolist(), strict=True)) <= places for tree, side in children)
        and bool(((features[inner] >= 0) & (features[inner] < width)).all())
        and len({*map(len, votes), _values(attributes, "class_weights")}) == 1
        and set(zip(*votes[:2], strict=True)) <= places
        and all(0 <= number < classes for number in votes[2])
        and _values(attributes, "base_values") in (0, 1, classes)
    )


def _labels(attributes: Attributes) -> int:
    """Count the classes of a classifier, which are the columns of its second output."""
    names = ("classlabels_ints", "classlabels_int64s", "classlabels_strings")
    return max(len(attributes.get(name, ())) for name in names)


def _values(attributes: Attributes, name: str) -> int:
    """Count numbers that are given as floats, or as a tensor."""
    tensor = attributes.get(f"{name}_as_tensor")
    return len(attributes.get(name, ())) if tensor is None else int(np.prod(tensor.dims))


def _fits_vectors(attributes: Attributes, width: int) -> bool:
    vectors, classes = sum(attributes.get("vectors_per_class", ())), _labels(attributes)
    pairs = classes * (classes - 1) // 2
    return (
        vectors > 0
        and all(number >= 0 for number in attributes["vectors_per_class"])
        and len(attributes["vectors_per_class"]) == classes
        and len(attributes.get("support_vectors", ())) == vectors * width
        and len(attributes.get("coefficients", ())) == vectors * (classes - 1)
        and len(attributes.get("rho", ())) == pairs
        and len(attributes.get("prob_a", ())) == len(attributes.get("prob_b", ())) in (0, pairs)
        and len(attributes.get("kernel_params", ())) in (0, 3)
    )


def _fits_lines(attributes: Attributes, width: int) -> bool:
    lines, classes = len(attributes.get("intercepts", ())), _labels(attributes)
    return len(attributes.get("coefficients", ())) == lines * width and (lines == classes or (lines, classes) == (1, 2))


def _fits_scales(attributes: Attributes, width: int) -> bool:
    return all(len(attributes.get(name, ())) in (1, width) for name in ("offset", "scale"))


def _fits_columns(attributes: Attributes, width: int) -> bool:
    """Check an index, which has to be an initializer: the values of any other tensor are not known here."""
    columns = attributes["columns"]
    return columns is not None and all(0 <= column < width for column in columns)


_CHECKS: dict[str, Callable[[Attributes, int], bool]] = {
    "TreeEnsembleClassifier": _fits_trees,
    "SVMClassifier": _fits_vectors,
    "LinearClassifier": _fits_lines,
    "Scaler": _fits_scales,
    "Normalizer": lambda *_: True,
    "ArrayFeatureExtractor": _fits_columns,
}
