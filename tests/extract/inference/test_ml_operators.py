"""Operators of `ai.onnx.ml` are accepted if every number in them leads somewhere, and nothing leads back."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from headstart.extract.errors import ModelError
from headstart.extract.inference.model import parse_model

TREES = {
    "nodes_treeids": [0, 0, 0, 1, 1, 1],
    "nodes_nodeids": [0, 1, 2, 0, 1, 2],
    "nodes_featureids": [15, 0, 0, 3, 0, 0],
    "nodes_values": [0.5, 0.0, 0.0, 0.25, 0.0, 0.0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"] * 2,
    "nodes_truenodeids": [1, 0, 0, 1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0, 2, 0, 0],
    "class_treeids": [0, 0, 1, 1],
    "class_nodeids": [1, 2, 1, 2],
    "class_ids": [0, 1, 1, 0],
    "class_weights": [1.0, 1.0, 1.0, 1.0],
    "classlabels_int64s": [0, 1],
}
VECTORS = {
    "kernel_type": "RBF",
    "kernel_params": [0.1, 0.0, 3.0],
    "vectors_per_class": [1, 2],
    "support_vectors": [0.0] * 48,
    "coefficients": [1.0] * 3,
    "rho": [0.0],
    "prob_a": [-1.0],
    "prob_b": [0.0],
    "classlabels_ints": [0, 1],
}
LINES = {"coefficients": [0.0] * 32, "intercepts": [0.0, 0.0], "classlabels_ints": [0, 1]}
SCALES = {"offset": [0.0] * 16, "scale": [1.0]}
VALID = {
    "TreeEnsembleClassifier": TREES,
    "SVMClassifier": VECTORS,
    "LinearClassifier": LINES,
    "Scaler": SCALES,
    "Normalizer": {"norm": "L2"},
}


@pytest.fixture
def with_operator(backbone_bytes):
    """Give the bytes of a backbone followed by an operator on its embedding."""

    def make(kind: str, attributes: dict, inputs=("embedding",)) -> bytes:
        proto = onnx.load_model_from_string(backbone_bytes())
        outputs = ["label", "scores"] if kind.endswith("Classifier") else ["scores"]
        proto.graph.node.append(helper.make_node(kind, list(inputs), outputs, domain="ai.onnx.ml", **attributes))
        proto.graph.initializer.append(numpy_helper.from_array(np.array([0, 16], np.int64), "columns"))
        proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
        return proto.SerializeToString()

    return make


@pytest.mark.parametrize("kind", VALID)
def test_operators_whose_numbers_fit_are_read(with_operator, kind):
    data = with_operator(kind, VALID[kind])
    assert parse_model(data, "my.onnx").data == data


WRONG = {
    "a node that is its own child": ("TreeEnsembleClassifier", TREES | {"nodes_truenodeids": [0, 0, 0, 1, 0, 0]}),
    "a child that is not there": ("TreeEnsembleClassifier", TREES | {"nodes_falsenodeids": [9, 0, 0, 2, 0, 0]}),
    "a feature beyond the input": ("TreeEnsembleClassifier", TREES | {"nodes_featureids": [16, 0, 0, 3, 0, 0]}),
    "a feature below 0": ("TreeEnsembleClassifier", TREES | {"nodes_featureids": [-1, 0, 0, 3, 0, 0]}),
    "the same node twice": ("TreeEnsembleClassifier", TREES | {"nodes_nodeids": [0, 1, 1, 0, 1, 2]}),
    "too few values": ("TreeEnsembleClassifier", TREES | {"nodes_values": [0.5]}),
    "another comparison": ("TreeEnsembleClassifier", TREES | {"nodes_modes": ["BRANCH_X", "LEAF", "LEAF"] * 2}),
    "a leaf with a NUL": ("TreeEnsembleClassifier", TREES | {"nodes_modes": ["BRANCH_LEQ", "LEAF\0", "LEAF"] * 2}),
    "a class beyond the others": ("TreeEnsembleClassifier", TREES | {"class_ids": [0, 1, 1, 2]}),
    "a vote of a node that is not there": ("TreeEnsembleClassifier", TREES | {"class_nodeids": [1, 2, 1, 7]}),
    "too few votes": ("TreeEnsembleClassifier", TREES | {"class_weights": [1.0]}),
    "no nodes": ("TreeEnsembleClassifier", {}),
    "too few vectors": ("SVMClassifier", VECTORS | {"support_vectors": [0.0] * 47}),
    "more vectors than there are": ("SVMClassifier", VECTORS | {"vectors_per_class": [1, 20]}),
    "a count below 0": ("SVMClassifier", VECTORS | {"vectors_per_class": [-1, 4]}),
    "too few coefficients": ("SVMClassifier", VECTORS | {"coefficients": [1.0]}),
    "no rho": ("SVMClassifier", {name: value for name, value in VECTORS.items() if name != "rho"}),
    "too many of a sigmoid": ("SVMClassifier", VECTORS | {"prob_a": [1.0, 2.0]}),
    "half of a sigmoid": ("SVMClassifier", {name: value for name, value in VECTORS.items() if name != "prob_b"}),
    "two parameters of a kernel": ("SVMClassifier", VECTORS | {"kernel_params": [0.1, 0.0]}),
    "too few weights": ("LinearClassifier", LINES | {"coefficients": [0.0] * 31}),
    "too many classes": ("LinearClassifier", LINES | {"classlabels_ints": [0, 1, 2]}),
    "too few scales": ("Scaler", SCALES | {"scale": [1.0] * 5}),
    "columns without an index": ("ArrayFeatureExtractor", {}),
    "a map": ("ZipMap", {"classlabels_int64s": [0, 1]}),
    "an operator that nobody knows": ("RunShell", {}),
}


@pytest.mark.parametrize("case", WRONG)
def test_operators_whose_numbers_lead_elsewhere_are_refused(with_operator, case):
    kind, attributes = WRONG[case]
    with pytest.raises(ModelError, match=r"my\.onnx: its") as caught:
        parse_model(with_operator(kind, attributes), "my.onnx")
    assert "\n" not in str(caught.value)


def test_columns_beyond_the_input_are_refused(with_operator):
    with pytest.raises(ModelError, match="ArrayFeatureExtractor"):
        parse_model(with_operator("ArrayFeatureExtractor", {}, ("embedding", "columns")), "my.onnx")


@pytest.mark.parametrize("attributes", [{}, {"columns": [0]}])
def test_columns_that_a_node_gives_are_refused(with_operator, attributes):
    proto = onnx.load_model_from_string(with_operator("ArrayFeatureExtractor", attributes, ("embedding", "numbers")))
    value = numpy_helper.from_array(np.array([99], np.int64))
    proto.graph.node.append(helper.make_node("Constant", [], ["numbers"], value=value))
    with pytest.raises(ModelError, match="ArrayFeatureExtractor"):
        parse_model(proto.SerializeToString(), "my.onnx")


def test_columns_of_a_wide_sum_of_a_narrow_product_are_not_taken_for_narrow(with_operator):
    """A constant that is added to one column widens it."""
    proto = onnx.load_model_from_string(
        with_operator("LinearClassifier", LINES | {"coefficients": [0.0] * 2}, ("sum",))
    )
    for name, shape in (("narrow", (16, 1)), ("wide", (1, 16))):
        proto.graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), name))
    proto.graph.node.append(helper.make_node("MatMul", ["embedding", "narrow"], ["product"]))
    proto.graph.node.append(helper.make_node("Add", ["product", "wide"], ["sum"]))
    proto.graph.node.append(proto.graph.node.pop(-3))
    with pytest.raises(ModelError, match="LinearClassifier"):
        parse_model(proto.SerializeToString(), "my.onnx")


@pytest.mark.parametrize("repeated", ["attribute", "tensor"])
def test_a_name_with_two_values_is_refused(with_operator, repeated):
    proto = onnx.load_model_from_string(with_operator("Scaler", SCALES))
    if repeated == "attribute":
        proto.graph.node[-1].attribute.append(helper.make_attribute("scale", [1.0] * 5))
    else:
        proto.graph.node.append(helper.make_node("Identity", ["embedding"], ["columns"]))
    with pytest.raises(ModelError, match=f"my.onnx: its {repeated} '(scale|columns)' is defined twice"):
        parse_model(proto.SerializeToString(), "my.onnx")


@pytest.mark.parametrize("kind", sorted(VALID.keys() - {"Normalizer", "Scaler"}))
def test_an_input_of_unknown_width_is_refused(with_operator, kind):
    with pytest.raises(ModelError, match=kind):
        parse_model(with_operator(kind, VALID[kind], ("maps",)), "my.onnx")


def test_other_domains_are_still_refused(backbone_bytes):
    proto = onnx.load_model_from_string(backbone_bytes())
    proto.graph.node.append(helper.make_node("Gelu", ["embedding"], ["more"], domain="com.microsoft"))
    with pytest.raises(ModelError, match=r"beyond the ONNX standard \(com\.microsoft\)"):
        parse_model(proto.SerializeToString(), "my.onnx")
