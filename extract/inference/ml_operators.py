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
    widths: dict[str, int] = {"embedding": width}
    for node in graph.node:
        second = constants.get(node.input[1]) if len(node.input) > 1 else None
        if node.domain == DOMAIN:
            attributes = {one.name: helper.get_attribute_value(one) for one in node.attribute}
            attributes["columns"] = () if second is None else numpy_helper.to_array(second).ravel().tolist()
            check = _CHECKS.get(node.op_type)
            if check is None or not check(attributes, widths.get(node.input[0], 0)):
                raise ModelError(f"its operator {node.op_type} of {DOMAIN} is not supported, or its numbers do not fit")
        known = [widths[name] for name in node.input if name in widths]
        if node.op_type in _KEEPS_WIDTH and known:
            widths[node.output[0]] = max(known)
        elif node.op_type in ("MatMul", "Gemm") and second is not None and len(second.dims) == 2:
            is_turned = any(one.name == "transB" and one.i for one in node.attribute)
            widths[node.output[0]] = second.dims[0 if is_turned else 1]
        elif node.op_type == "ArrayFeatureExtractor":
            widths[node.output[0]] = len(attributes["columns"])
        elif node.domain == DOMAIN and len(node.output) == 2:
            widths[node.output[1]] = _labels(attributes)


def _fits_trees(attributes: Attributes, width: int) -> bool:
    """Check that children exist, and come after their parents in the same tree; that leaves and features exist."""
    trees, nodes = (np.array(attributes[f"nodes_{name}"], np.int64) for name in ("treeids", "nodeids"))
    left, right = (np.array(attributes[f"nodes_{name}nodeids"], np.int64) for name in ("true", "false"))
    features = np.array(attributes["nodes_featureids"], np.int64)
    modes = np.array(attributes["nodes_modes"])
    columns = (trees, nodes, left, right, features, modes)
    if len({len(column) for column in columns} | {_values(attributes, "nodes_values")}) > 1:
        return False
    places = set(zip(trees.tolist(), nodes.tolist(), strict=True))
    inner = modes != b"LEAF"
    children = [(trees[inner], side[inner]) for side in (left, right)]
    votes = [attributes[f"class_{name}"] for name in ("treeids", "nodeids", "ids")]
    classes = _labels(attributes)
    return (
        len(places) == len(nodes)
        and set(modes.tolist()) <= {b"LEAF", b"BRANCH_LEQ", b"BRANCH_LT", b"BRANCH_GT", b"BRANCH_GTE"}
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
        and all(len(attributes.get(name, ())) in (0, pairs) for name in ("prob_a", "prob_b"))
    )


def _fits_lines(attributes: Attributes, width: int) -> bool:
    lines, classes = len(attributes.get("intercepts", ())), _labels(attributes)
    return len(attributes.get("coefficients", ())) == lines * width and (lines == classes or (lines, classes) == (1, 2))


def _fits_scales(attributes: Attributes, width: int) -> bool:
    return all(len(attributes.get(name, ())) in (1, width) for name in ("offset", "scale"))


_CHECKS: dict[str, Callable[[Attributes, int], bool]] = {
    "TreeEnsembleClassifier": _fits_trees,
    "SVMClassifier": _fits_vectors,
    "LinearClassifier": _fits_lines,
    "Scaler": _fits_scales,
    "Normalizer": lambda *_: True,
    "ArrayFeatureExtractor": lambda attributes, width: all(0 <= column < width for column in attributes["columns"]),
}
