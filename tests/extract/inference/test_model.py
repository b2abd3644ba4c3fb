import hashlib
import json
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from headstart.extract.errors import ModelError
from headstart.extract.inference.model import parse_model, read_model
from headstart.files.errors import DamagedError
from headstart.files.resize import ResizeRule
from headstart.files.seal import SEAL_BYTES, sealed


@pytest.fixture
def edited(backbone_bytes):
    """Give the bytes of the backbone after a change to its graph."""

    def edited(change: Callable[[ModelProto], object]) -> bytes:
        proto = onnx.load_model_from_string(backbone_bytes())
        change(proto)
        return proto.SerializeToString()

    return edited


def refusal(data: bytes) -> str:
    with pytest.raises(ModelError) as caught:
        parse_model(data, "my.onnx")
    message = str(caught.value)
    assert message.startswith("my.onnx: ")
    assert "\n" not in message
    return message


def test_a_backbone_is_read_with_its_contract(backbone, backbone_bytes):
    model = read_model(str(backbone))
    assert model.data == backbone.read_bytes()
    assert model.sha256 == hashlib.sha256(model.data).hexdigest() == model.backbone_sha256
    assert model.outputs == {"embedding": (16,)}
    assert model.rule == ResizeRule(32, 32, "squash")
    assert model.source == str(backbone)
    assert model.is_trained
    assert not parse_model(backbone_bytes(weights={"source": "random", "trained": False}), "my.onnx").is_trained


def test_metadata_say_whether_it_was_trained_and_what_it_was_made_of(backbone_bytes):
    changes = {"weights": {"source": "imagenet", "trained": True}, "backbone_sha256": "ab" * 32}
    model = parse_model(backbone_bytes(**changes, format="headstart-classifier"), "my.onnx")
    assert model.is_trained
    assert model.backbone_sha256 == "ab" * 32
    assert model.metadata["format"] == "headstart-classifier"


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"just some text\n" * 10, b"\x89PNG\r\n\x1a\n", bytes(500)])
def test_what_is_no_onnx_is_refused(data):
    assert "expected an ONNX file" in refusal(data)


def test_a_truncated_file_is_refused(backbone_bytes):
    data = backbone_bytes()
    for cut in np.linspace(0, len(data) - 1, 40).astype(int):
        refusal(data[:cut])


@given(st.data())
@settings(max_examples=150, deadline=None, derandomize=True)
def test_no_mutation_raises_anything_but_a_model_error(backbone_bytes, data):
    held = bytearray(backbone_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.one_of(st.integers(0, 400), st.integers(0, len(held) - 1)))
        held[min(at, len(held) - 1)] = data.draw(st.integers(0, 255))
    try:
        model = parse_model(bytes(held), "my.onnx")
    except ModelError:
        return
    assert model.outputs["embedding"][0] > 0


def test_another_onnx_file_is_refused(edited):
    assert "found another ONNX file" in refusal(edited(lambda proto: proto.ClearField("metadata_props")))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": 2}, "expected headstart-backbone schema 1, found 2"),
        ({"schema": None, "format": "other"}, "expected other schema None"),
        ({"schema": 1, "format": "other"}, "other"),
        ({"resize": {}}, "resize rule {} is not supported"),
        ({"resize": None}, "metadata or graph is incomplete"),
        ({"image_size": [32]}, "metadata or graph is incomplete"),
        ({"image_size": None}, "metadata or graph is incomplete"),
        ({"image_size": [10**9, 10**9]}, "at most 4096 pixels per side"),
        ({"image_size": [0, 32]}, "at most 4096 pixels per side"),
        ({"image_size": [32, 64]}, "expected one input `image` uint8 (n, 32, 64, 3)"),
    ],
)
def test_metadata_of_another_kind_are_refused(backbone_bytes, changes, reason):
    assert reason in refusal(backbone_bytes(**changes))


RULE = {"version": 1, "interpolation": "bilinear-antialias", "fit": "squash", "exif_transpose": True, "alpha": "white"}


@pytest.mark.parametrize(
    "change", [{"version": 2}, {"interpolation": "nearest"}, {"fit": "pad"}, {"alpha": "black"}, {"gamma": 2.2}]
)
def test_another_resize_rule_is_refused(backbone_bytes, change):
    assert "is not supported" in refusal(backbone_bytes(resize=RULE | change))


def test_a_crop_is_a_known_rule(backbone_bytes):
    assert parse_model(backbone_bytes(resize=RULE | {"fit": "crop"}), "my.onnx").rule.fit == "crop"


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "{}", '{"format": "headstart-backbone"}', "{", "[" * 100_000])
def test_metadata_that_are_no_object_are_refused(edited, text):
    assert "incomplete" in refusal(edited(lambda proto: helper.set_model_props(proto, {"headstart": text})))


def _as_float(proto):
    proto.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def _renamed(proto):
    proto.graph.input[0].name = "picture"


def _second_input(proto):
    proto.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))


@pytest.mark.parametrize("change", [_as_float, _renamed, _second_input, lambda proto: proto.graph.ClearField("input")])
def test_another_input_is_refused(edited, change):
    assert "expected one input `image` uint8 (n, 32, 32, 3), found [" in refusal(edited(change))


def _without_length(proto):
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "d"


def _without_shape(proto):
    proto.graph.output[0].type.tensor_type.ClearField("shape")


def _another_name(proto):
    proto.graph.output[0].name = "features"


@pytest.mark.parametrize(
    "change", [_without_length, _without_shape, _another_name, lambda proto: proto.graph.ClearField("output")]
)
def test_an_output_that_is_no_embedding_of_known_length_is_refused(edited, change):
    refusal(edited(change))


def _external(tensor: TensorProto) -> TensorProto:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../weights.bin")
    return tensor


def _external_weights(proto):
    _external(proto.graph.initializer[1])


def _external_constant(proto):
    tensor = _external(numpy_helper.from_array(np.zeros(3, np.float32)))
    proto.graph.node.append(helper.make_node("Constant", [], ["unused"], value=tensor))


def _branching():
    inner = helper.make_graph([], "inner", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])])
    return helper.make_node("If", ["condition"], ["y"], then_branch=inner, else_branch=inner)


def _external_list(proto):
    tensor = _external(numpy_helper.from_array(np.zeros(3, np.float32)))
    proto.graph.node[0].attribute.append(helper.make_attribute("more", [tensor]))


@pytest.mark.parametrize("change", [_external_weights, _external_constant, _external_list])
def test_weights_in_another_file_are_refused(edited, change):
    assert "another file, which is not read" in refusal(edited(change))


def _custom_operator(proto):
    proto.graph.node[3].domain = "com.evil"


def test_operators_beyond_the_standard_are_refused(edited):
    assert "operators beyond the ONNX standard (com.evil)" in refusal(edited(_custom_operator))


def _branch(proto):
    proto.graph.node.append(_branching())


def _endless_loop(proto):
    body = _branching().attribute[0].g
    proto.graph.node.append(helper.make_node("Loop", ["", "condition"], ["y"], body=body))


def _list_of_graphs(proto):
    proto.graph.node[0].attribute.append(helper.make_attribute("more", [_branching().attribute[0].g]))


@pytest.mark.parametrize("change", [_branch, _endless_loop, _list_of_graphs])
def test_loops_and_branches_are_refused(edited, change):
    assert "loops or branches" in refusal(edited(change))


def _sparse_weights(proto):
    values = _external(numpy_helper.from_array(np.zeros(1, np.float32), "sparse"))
    indices = numpy_helper.from_array(np.zeros(1, np.int64))
    proto.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))


def _sparse_constant(proto):
    _sparse_weights(proto)
    sparse = proto.graph.sparse_initializer.pop()
    proto.graph.node.append(helper.make_node("Constant", [], ["unused"], sparse_value=sparse))


@pytest.mark.parametrize("change", [_sparse_weights, _sparse_constant])
def test_sparse_weights_are_refused(edited, change):
    assert "sparse weights" in refusal(edited(change))


def test_functions_are_refused(edited):
    function = helper.make_function("", "f", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], [])
    assert "functions" in refusal(edited(lambda proto: proto.functions.append(function)))


@pytest.mark.parametrize(("name", "reason"), [("none.onnx", "headstart export"), (".", "found a folder")])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, name, reason):
    with pytest.raises(ModelError, match=reason) as caught:
        read_model(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")


def test_the_test_backbone_describes_itself_as_the_exporter_does(backbone_bytes):
    metadata = json.loads(onnx.load_model_from_string(backbone_bytes()).metadata_props[0].value)
    assert metadata["resize"] == RULE


@pytest.fixture
def sealed_file(backbone_bytes, tmp_path):
    """Give a backbone file as it is written now: with its digest at its end."""
    path = tmp_path / "backbone.onnx"
    path.write_bytes(sealed(backbone_bytes(sealed=True)))
    return path


def test_a_sealed_file_is_an_onnx_file_with_one_more_entry(sealed_file):
    model = read_model(sealed_file)
    onnx.checker.check_model(onnx.load(sealed_file))
    entries = {entry.key: entry.value for entry in onnx.load(sealed_file).metadata_props}
    assert entries["headstart-sha256"] == hashlib.sha256(model.data[:-SEAL_BYTES]).hexdigest()


def test_every_flipped_bit_of_a_sealed_file_is_noticed(sealed_file):
    data, rng = sealed_file.read_bytes(), np.random.default_rng(0)
    for at in [*rng.integers(len(data), size=60), *range(len(data) - 90, len(data))]:
        altered = bytearray(data)
        altered[at] ^= 1 << int(rng.integers(8))
        sealed_file.write_bytes(altered)
        with pytest.raises((DamagedError, ModelError), match=r"backbone\.onnx"):
            read_model(sealed_file)


@pytest.mark.parametrize("change", [lambda data: data[:-SEAL_BYTES], lambda data: data + b"\x72\x00"])
def test_a_file_that_has_lost_its_seal_is_refused(sealed_file, change):
    sealed_file.write_bytes(change(sealed_file.read_bytes()))
    with pytest.raises(DamagedError, match="damaged"):
        read_model(sealed_file)


def test_a_file_that_was_never_sealed_is_read(backbone):
    assert b"headstart-sha256" not in read_model(backbone).data
