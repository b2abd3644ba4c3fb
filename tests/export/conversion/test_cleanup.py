"""Each rewrite, on the smallest graph that has it and on the nearest one that must be left alone."""

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from headstart.export import ConversionError
from headstart.export.backbones import BACKBONES
from headstart.export.conversion.cleanup import clean, order, rename
from headstart.export.conversion.convert import attach_pixels

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)
ROW = RNG.normal(size=(1, 4, 1, 1)).astype(np.float32)
IMAGE = RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)


def graph_of(*nodes, **constants):
    return helper.make_graph(
        [helper.make_node(op, inputs.split(), [output], **options) for op, inputs, output, options in nodes],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )


def run(graph, image=IMAGE):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    # onnxruntime has rewrites of its own, which would be compared with ours (and reject one of these graphs).
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: image})[0]


def kinds(graph):
    return [node.op_type for node in graph.node]


def cleaned(graph, left):
    before = run(graph)
    clean(graph)
    assert kinds(graph) == left
    np.testing.assert_allclose(run(graph), before, rtol=1e-5, atol=1e-5)
    assert {constant.name for constant in graph.initializer} == {n for node in graph.node for n in node.input} & {
        constant.name for constant in graph.initializer
    }
    return graph


def test_scale_and_shift_fold_into_a_convolution():
    steps = [("Conv", "x w", "a", {}), ("Mul", "a s", "b", {}), ("Add", "t b", "c", {}), ("Mul", "c s", "y", {})]
    cleaned(graph_of(*steps, w=KERNEL, s=ROW, t=ROW[0] * 2), ["Conv"])


def test_scale_and_shift_fold_into_a_depthwise_convolution_with_bias():
    steps = [("Conv", "x w b0", "a", {"group": 3}), ("Add", "a t", "b", {}), ("Mul", "b s", "y", {})]
    constants = {"w": KERNEL[:3, :1], "b0": np.float32([1, 2, 3]), "t": np.float32(0.5), "s": ROW[:, :3]}
    cleaned(graph_of(*steps, **constants), ["Conv"])


@pytest.mark.parametrize("constant", [RNG.normal(size=(1, 1, 1, 6)), RNG.normal(size=(1, 4, 6, 6))])
def test_constants_that_are_not_one_a_channel_stay(constant):
    steps = [("Conv", "x w", "a", {}), ("Mul", "a s", "y", {})]
    cleaned(graph_of(*steps, w=KERNEL, s=constant.astype(np.float32)), ["Conv", "Mul"])


def test_a_convolution_that_others_read_is_not_scaled():
    steps = [("Conv", "x w", "a", {}), ("Mul", "a s", "b", {}), ("Add", "a b", "y", {})]
    cleaned(graph_of(*steps, w=KERNEL, s=ROW), ["Conv", "Mul", "Add"])


def test_a_shared_kernel_is_scaled_for_one_only():
    steps = [
        ("Conv", "x w", "a", {}),
        ("Mul", "a s", "b", {}),
        ("Conv", "x w", "c", {}),
        ("Add", "b c", "y", {}),
    ]
    cleaned(graph_of(*steps, w=KERNEL, s=ROW), ["Conv", "Conv", "Add"])


@pytest.mark.parametrize("own", [{}, {"pads": [1, 0, 0, 1]}, {"auto_pad": "VALID"}])
def test_zero_padding_fuses_into_a_convolution(own):
    steps = [("Pad", "x p", "a", {}), ("Conv", "a w", "y", own | {"strides": [2, 2]})]
    cleaned(graph_of(*steps, p=np.int64([0, 0, 0, 0, 0, 0, 1, 1]), w=KERNEL), ["Conv"])


@pytest.mark.parametrize(
    ("pads", "value", "mode"),
    [
        ([0, 0, 1, 1, 0, 0, 1, 1], 1.0, "constant"),
        ([0, 0, 1, 1, 0, 0, 1, 1], 0.0, "reflect"),
        ([0, 0, -1, 0, 0, 0, 0, 0], 0.0, "constant"),
        ([1, 0, 0, 0, 0, 0, 0, 0], 0.0, "constant"),
    ],
)
def test_other_paddings_stay(pads, value, mode):
    steps = [("Pad", "x p v", "a", {"mode": mode}), ("Conv", "a w", "y", {})]
    cleaned(graph_of(*steps, p=np.int64(pads), v=np.float32(value), w=KERNEL), ["Pad", "Conv"])


PADS = np.int64([0, 0, 1, 1, 0, 0, 1, 1])


def test_zero_padding_fuses_into_a_pooling_of_values_that_are_never_negative():
    pool = ("MaxPool", "b", "y", {"kernel_shape": [3, 3], "strides": [2, 2]})
    cleaned(graph_of(("Relu", "x", "a", {}), ("Pad", "a p", "b", {}), pool, p=PADS), ["Relu", "MaxPool"])
    clip = ("Clip", "x low", "a", {})
    cleaned(graph_of(clip, ("Pad", "a p", "b", {}), pool, p=PADS, low=np.float32(0)), ["Clip", "MaxPool"])


def test_zero_padding_stays_before_a_pooling_of_negative_values():
    pool = ("MaxPool", "b", "y", {"kernel_shape": [3, 3]})
    below = IMAGE - 9
    graph = graph_of(("Clip", "x low", "a", {}), ("Pad", "a p", "b", {}), pool, p=PADS, low=np.float32(-99))
    before = run(graph, below)
    clean(graph)
    assert kinds(graph) == ["Clip", "Pad", "MaxPool"]
    np.testing.assert_array_equal(run(graph, below), before)


def test_zero_padding_stays_where_a_window_lies_in_it_wholly():
    pool = ("MaxPool", "b", "y", {"kernel_shape": [1, 1]})
    cleaned(graph_of(("Relu", "x", "a", {}), ("Pad", "a p", "b", {}), pool, p=PADS), ["Relu", "Pad", "MaxPool"])


def test_names_depend_on_the_graph_alone():
    def made(prefix):
        steps = [("Conv", f"x {prefix}w", f"{prefix}a", {}), ("Relu", f"{prefix}a", "y", {})]
        graph = graph_of(*steps, **{f"{prefix}w": KERNEL})
        rename(graph, keep=("x", "y"))
        return graph

    assert made("one/").SerializeToString() == made("two/").SerializeToString()
    assert [list(node.output) for node in made("z").node] == [["Conv_0"], ["y"]]
    assert made("z").initializer[0].name == "Conv_0.1"


@pytest.mark.parametrize("inputs", ["b d", "d b"])
def test_parallel_branches_are_ordered_by_the_graph_alone(inputs):
    steps = [("Relu", "x", "a", {}), ("Abs", "a", "b", {}), ("Neg", "a", "c", {}), ("Exp", "c", "d", {})]
    for shuffled in (steps, [steps[0], *steps[2:], steps[1]]):
        graph = graph_of(*shuffled, ("Add", inputs, "y", {}), ("Exp", "x", "unused", {}))
        order(graph, ["y"])
        assert kinds(graph) == ["Relu", "Abs", "Neg", "Exp", "Add"]
        assert list(graph.node[-1].input) == ["b", "d"]


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50"])
def test_pixel_scaling_is_exact_at_zero_padded_borders(name):
    pixels = BACKBONES[name].pixels
    nhwc = RNG.integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    steps = [("Transpose", "x", "a", {"perm": [0, 3, 1, 2]}), ("Conv", "a w", "y", {"pads": [1, 1, 1, 1]})]
    graph = graph_of(*steps, w=KERNEL)
    graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8, 8, 3]))
    scaled = (nhwc - np.float32(pixels.offset)) * np.float32(pixels.scale)
    expected = run(graph, np.ascontiguousarray(scaled[..., ::-1] if pixels.bgr else scaled))
    attach_pixels(graph, pixels)
    graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 8, 8, 3]))
    assert kinds(graph) == ["Transpose", "Cast", "Sub", "Conv"]
    np.testing.assert_allclose(run(graph, nhwc), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50"])
def test_scaling_that_is_part_of_the_model_is_folded_too(name):
    pixels = BACKBONES[name].pixels
    nhwc = RNG.integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    steps = [
        ("Mul", "x m", "a", {}),
        ("Sub", "a s", "b", {}),
        ("Div", "b d", "c", {}),
        ("Add", "o c", "e", {}),
        ("Transpose", "e", "f", {"perm": [0, 3, 1, 2]}),
        ("Conv", "f w", "y", {"pads": [1, 1, 1, 1]}),
    ]
    constants = {"m": np.float32(1 / 255), "s": np.float32([0.4, 0.5, 0.6]), "d": np.float32([[[[0.2, 0.3, 0.4]]]])}
    graph = graph_of(*steps, w=KERNEL, o=np.float32([0.1]), **constants)
    graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8, 8, 3]))
    scaled = (nhwc - np.float32(pixels.offset)) * np.float32(pixels.scale)
    expected = run(graph, np.ascontiguousarray(scaled[..., ::-1] if pixels.bgr else scaled))
    attach_pixels(graph, pixels)
    graph.input[0].CopyFrom(helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 8, 8, 3]))
    assert kinds(graph) == ["Transpose", "Cast", "Sub", "Conv"]
    np.testing.assert_allclose(run(graph, nhwc), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_scaling_that_is_not_linear_is_refused():
    steps = [("Div", "d x", "a", {}), ("Transpose", "a", "b", {"perm": [0, 3, 1, 2]}), ("Conv", "b w", "y", {})]
    with pytest.raises(ConversionError, match="found \\['Div', 'Transpose'\\]"):
        attach_pixels(graph_of(*steps, w=KERNEL, d=np.float32(1)), BACKBONES["vgg16"].pixels)


def test_a_graph_of_another_beginning_is_refused():
    with pytest.raises(ConversionError, match="expected the graph to begin with Transpose, Conv, found \\['Relu'\\]"):
        attach_pixels(graph_of(("Relu", "x", "y", {})), BACKBONES["vgg16"].pixels)
