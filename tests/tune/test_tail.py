"""A Keras tail does what the ONNX one does, and its weights find their way back."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from headstart.export.errors import ConversionError
from headstart.extract import read_model
from headstart.extract.engines.tail import open_tail
from headstart.extract.inference.sessions import TensorSession
from headstart.extract.inference.subgraph import tail
from headstart.tune.tail import build_tail, with_weights

RNG = np.random.default_rng(0)


def test_keras_does_what_onnx_does(cut_backbone, frameworks):
    model = read_model(cut_backbone)
    tensors = RNG.normal(0, 2, (5, 15, 15, 16)).astype(np.float32)
    built = build_tail(tail(model), frameworks)
    np.testing.assert_allclose(built(tensors).numpy(), open_tail(model).run(tensors), atol=1e-4)
    assert len(built.trainable_variables) == 4


def test_weights_go_back_and_only_those_of_the_tail(cut_backbone, frameworks):
    model = read_model(cut_backbone)
    built = build_tail(tail(model), frameworks)
    before = onnx.load_model_from_string(model.data)
    same = with_weights(before, built)
    assert same.SerializeToString() == before.SerializeToString()
    built.set_weights([weight + RNG.normal(0, 0.1, weight.shape) for weight in built.get_weights()])
    after = with_weights(before, built)
    changed = {
        one.name
        for one, other in zip(before.graph.initializer, after.graph.initializer, strict=True)
        if one.SerializeToString() != other.SerializeToString()
    }
    assert changed == {"wide", "wide_bias", "deep", "deep_bias"}
    moved = open_tail_of(after, model)
    tensors = RNG.normal(0, 2, (5, 15, 15, 16)).astype(np.float32)
    np.testing.assert_allclose(built(tensors).numpy(), moved.run(tensors), atol=1e-4)


def open_tail_of(proto, model):
    from dataclasses import replace

    return open_tail(replace(model, data=proto.SerializeToString()))


def test_weights_that_went_astray_are_refused(cut_backbone, frameworks):
    model = read_model(cut_backbone)
    built = build_tail(tail(model), frameworks)
    built.set_weights([weight * np.nan for weight in built.get_weights()])
    with pytest.raises(ConversionError, match="not finite: tune with a smaller learning rate"):
        with_weights(onnx.load_model_from_string(model.data), built)


def graph_of(*nodes, **constants):
    graph = helper.make_graph(
        [helper.make_node("Transpose", ["tensor"], ["x"], perm=[0, 3, 1, 2]), *nodes],
        "tail",
        [helper.make_tensor_value_info("tensor", onnx.TensorProto.FLOAT, ["n", 9, 8, 4])],
        [helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["n", None])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


END = (
    helper.make_node("GlobalAveragePool", ["y"], ["pooled"], name="pool"),
    helper.make_node("Flatten", ["pooled"], ["embedding"], name="flat"),
)
KERNEL, DEEP = RNG.normal(0, 1, (6, 4, 3, 3)), RNG.normal(0, 1, (4, 1, 3, 3))


@pytest.mark.parametrize(
    ("node", "constants"),
    [
        (helper.make_node("Conv", ["x", "k"], ["y"], name="c", pads=[1, 1, 1, 1]), {"k": KERNEL}),
        (helper.make_node("Conv", ["x", "k"], ["y"], name="c", pads=[0, 1, 1, 0], strides=[2, 2]), {"k": KERNEL}),
        (helper.make_node("Conv", ["x", "k"], ["y"], name="c", auto_pad="SAME_UPPER", strides=[2, 2]), {"k": KERNEL}),
        (helper.make_node("Conv", ["x", "k"], ["y"], name="c", dilations=[2, 2]), {"k": KERNEL}),
        (helper.make_node("Conv", ["x", "k"], ["y"], name="c", group=4, pads=[1, 1, 1, 1]), {"k": DEEP}),
        (
            helper.make_node("Conv", ["x", "k"], ["y"], name="c", group=4, pads=[0, 0, 1, 1], strides=[2, 2]),
            {"k": DEEP},
        ),
        (helper.make_node("MaxPool", ["x"], ["y"], name="m", kernel_shape=[3, 3], strides=[2, 2]), {}),
        (helper.make_node("AveragePool", ["x"], ["y"], name="a", kernel_shape=[3, 3], pads=[1, 1, 1, 1]), {}),
        (helper.make_node("Concat", ["x", "x"], ["y"], name="j", axis=1), {}),
        (helper.make_node("Relu", ["x"], ["y"], name="r"), {}),
    ],
    ids=lambda value: value.op_type + "-".join(a.name for a in value.attribute) if hasattr(value, "op_type") else "",
)
def test_every_kind_of_node_is_known(frameworks, node, constants):
    made = graph_of(node, *END, **constants)
    tensors = RNG.normal(0, 2, (3, 9, 8, 4)).astype(np.float32)
    expected = TensorSession(made.SerializeToString()).run(tensors)
    np.testing.assert_allclose(build_tail(made, frameworks)(tensors).numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (helper.make_node("Sigmoid", ["x"], ["y"], name="s"), "a tail with a Sigmoid node cannot be tuned"),
        (helper.make_node("Conv", ["x", "k"], ["y"], name="c", auto_pad="SAME_LOWER"), "c has padding SAME_LOWER"),
        (helper.make_node("MaxPool", ["x"], ["y"], name="m", kernel_shape=[2, 2], pads=[1, 0, 0, 0]), "m is padded by"),
    ],
)
def test_another_kind_is_refused(frameworks, node, said):
    with pytest.raises(ConversionError, match=said):
        build_tail(graph_of(node, *END, k=KERNEL), frameworks)


@pytest.mark.parametrize(("backbone", "cut"), [("mobilenet_v2", "block_12"), ("vgg16", "block4")])
def test_exported_tails_can_be_tuned(frameworks, give_back_memory, tmp_path, backbone, cut):
    from headstart.export import export_backbone

    made = export_backbone(tmp_path / "cut.onnx", backbone=backbone, weights="random", image_size=96, cut=cut)
    give_back_memory()
    model = read_model(made.path)
    tensors = RNG.normal(0, 1, (2, *model.outputs["tensor"])).astype(np.float32)
    expected = open_tail(model).run(tensors)
    found = build_tail(tail(model), frameworks)(tensors).numpy()
    assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max()
