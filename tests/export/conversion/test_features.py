"""Features of all blocks: the same numbers as Keras' layers give, behind those of the top."""

import json
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from headstart.export import BACKBONES, ConversionError
from headstart.export.conversion.features import Group, groups_of, pool_blocks
from headstart.export.conversion.images import structured_images
from headstart.export.conversion.network import preprocess
from headstart.export.quantization.quantize import LEAST_COSINE_UNTRAINED, compare_layers, embed, quantize

OPTIONS = {
    "mobilenet_v2": {},
    "mobilenet": {"image_size": 96},
    "vgg16": {"image_size": 64},
    "inception_v3": {"image_size": 139},
    "resnet50": {"image_size": 64},
}
# How many blocks there are, their columns, and the layers whose output the first and the last of them give.
BLOCKS = {
    "mobilenet_v2": (17, 2 * 1504, "expanded_conv_project_BN", "block_16_project_BN"),
    "mobilenet": (12, 2 * 4928, "conv_pw_1_relu", "conv_pw_12_relu"),
    "vgg16": (4, 2 * 960, "block1_pool", "block4_pool"),
    "inception_v3": (2, 2 * (288 + 768), "mixed2", "mixed7"),
    "resnet50": (3, 2 * 1792, "conv2_block3_out", "conv4_block6_out"),
}

each_backbone = pytest.mark.parametrize("name", BACKBONES)


@pytest.fixture
def with_all_blocks(exported):
    return lambda name: exported(name, features="all-blocks", **OPTIONS[name])


@each_backbone
def test_each_group_holds_what_a_keras_layer_gives(name, with_all_blocks, frameworks):
    made = with_all_blocks(name)
    count, columns, *ends = BLOCKS[name]
    images = structured_images(3, made.plan.image_size, seed=7)
    found, said = made.onnx(images), made.summary.metadata
    top = int(made.network.output.shape[-1])
    assert found.shape == (3, top + columns) == (3, said["dim"])
    blocks = said["groups"][1:]
    assert len(blocks) == 2 * count
    layers = [made.network.output, *(made.network.get_layer(end).output for end in ends)]
    expected, *maps = frameworks.keras.Model(made.network.inputs, layers)([preprocess(images, made.plan)])
    np.testing.assert_allclose(found[:, :top], expected, atol=1e-4 * np.abs(expected).max())
    for pair, block in zip((blocks[:2], blocks[-2:]), maps, strict=True):
        for group, pool in zip(pair, (np.mean, np.std), strict=True):
            expected = pool(np.asarray(block, np.float64), axis=(1, 2))
            part = found[:, group["start"] : group["start"] + group["size"]]
            np.testing.assert_allclose(part, expected, atol=1e-4 * np.abs(expected).max())


@each_backbone
def test_all_columns_are_those_of_keras(name, with_all_blocks):
    made = with_all_blocks(name)
    images = structured_images(3, made.plan.image_size, seed=8)
    found, reference = made.onnx(images), made.keras(images)
    for group in made.summary.metadata["groups"]:
        part = slice(group["start"], group["start"] + group["size"])
        assert np.abs(found[:, part] - reference[:, part]).max() <= 1e-4 * np.abs(reference[:, part]).max()


@each_backbone
def test_nothing_but_the_pooling_is_added(name, with_all_blocks):
    made, count = with_all_blocks(name), BLOCKS[name][0]
    found = Counter(node.op_type for node in made.model.graph.node)
    convolutions = [layer for layer in made.network.layers if "Conv" in type(layer).__name__]
    assert found["Conv"] == len(convolutions)
    assert found["GlobalAveragePool"] == found["Flatten"] + found["Squeeze"] == 2 * count + 1
    assert (found["Sub"], found["Mul"], found["Sqrt"]) == (count + 1, count, count)
    assert (found["Transpose"], found["Reshape"]) == (1, 0)
    assert [output.name for output in made.model.graph.output] == ["embedding"]


def test_the_file_names_its_groups_and_a_plain_one_has_none(exported, with_all_blocks):
    made = with_all_blocks("mobilenet_v2")
    said = json.loads(made.model.metadata_props[0].value)
    assert said["features"] == "all-blocks"
    assert said["groups"][:4] == [
        {"name": "top", "pooling": "mean", "start": 0, "size": 1280},
        {"name": "expanded_conv", "pooling": "mean", "start": 1280, "size": 16},
        {"name": "expanded_conv", "pooling": "deviation", "start": 1296, "size": 16},
        {"name": "block_1", "pooling": "mean", "start": 1312, "size": 24},
    ]
    assert "groups" not in exported("mobilenet_v2").summary.metadata


def test_the_top_is_the_plain_embedding(exported, with_all_blocks):
    images = structured_images(2, (224, 224), seed=9)
    plain = exported("mobilenet_v2").onnx(images)
    np.testing.assert_allclose(with_all_blocks("mobilenet_v2").onnx(images)[:, :1280], plain, rtol=1e-4, atol=1e-5)


def test_a_block_of_one_pixel_has_no_deviation(exported):
    made = exported("mobilenet_v2", width=0.35, image_size=32, features="all-blocks")
    poolings = Counter(group["pooling"] for group in made.summary.metadata["groups"])
    assert poolings == {"mean": 18, "deviation": 13}
    assert groups_of(5, {"a": (1, 1, 3)}) == [Group("top", "mean", 0, 5), Group("a", "mean", 5, 3)]


def test_int8_agrees_in_every_layer(with_all_blocks):
    made, pictures = with_all_blocks("mobilenet_v2"), structured_images(24, (224, 224), seed=3)
    groups = [Group(**group) for group in made.summary.metadata["groups"]]
    twin, agreement = quantize(made.model, pictures[:16], pictures[16:], LEAST_COSINE_UNTRAINED, groups)
    found, reference = embed(twin, pictures[16:]), embed(made.model, pictures[16:])
    assert agreement == compare_layers(found, reference, groups)
    assert agreement.mean >= LEAST_COSINE_UNTRAINED["mean"]
    concat = next(node for node in twin.graph.node if "embedding" in node.output)
    makers = {output: node.op_type for node in twin.graph.node for output in node.output}
    assert concat.op_type == "Concat"
    assert {makers[name] for name in concat.input} == {"Squeeze", "Flatten"}


def test_agreement_of_layers_is_that_of_the_worst():
    reference = np.ones((4, 6), np.float32) * np.float32([1, 1, 1, 1e3, 0, 1e3])
    found = reference.copy()
    found[0, 0] = -1
    found[:, 4] += 0.1
    groups = [Group("top", "mean", 0, 3), Group("a", "mean", 3, 1), Group("a", "deviation", 4, 2)]
    assert compare_layers(found, reference, ()).min > 0.999
    agreement = compare_layers(found, reference, groups)
    assert (agreement.min, agreement.mean) == (pytest.approx(1 / 3), pytest.approx(5 / 6))


def a_graph(*nodes):
    def value(name):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)

    return helper.make_graph([*nodes], "test", [value("x")], [value("embedding"), value("block")])


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ([], "expected a node that computes 'embedding'"),
        ([("Relu", "x", "embedding"), ("Relu", "x", "block")], "expected block 'block' to end with a Transpose"),
        (
            [("Relu", "x", "embedding"), ("Transpose", "x", "block"), ("Relu", "block", "y")],
            "expected only a Transpose to read block 'block'",
        ),
    ],
)
def test_a_graph_of_another_form_is_refused(nodes, expected):
    options = {"Transpose": {"perm": [0, 2, 3, 1]}, "Relu": {}}
    graph = a_graph(*(helper.make_node(op, [source], [made], **options[op]) for op, source, made in nodes))
    with pytest.raises(ConversionError, match=expected):
        pool_blocks(graph, "embedding", groups_of(4, {"block": (2, 2, 3)}))


def test_without_blocks_a_graph_stays_as_it_is():
    graph = a_graph(helper.make_node("Relu", ["x"], ["embedding"]))
    before = onnx.GraphProto.FromString(graph.SerializeToString())
    pool_blocks(graph, "embedding", groups_of(4, {}))
    assert graph == before
