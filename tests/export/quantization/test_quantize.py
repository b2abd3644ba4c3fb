import numpy as np
import onnx
import pytest

from headstart.export import QuantizationError, export_backbone
from headstart.export.conversion.images import structured_images
from headstart.export.quantization.quantize import (
    LEAST_COSINE,
    LEAST_COSINE_UNTRAINED,
    compare,
    embed,
    quantize,
    quantized_kernel,
)
from headstart.extract import find_images, open_session, read_model
from headstart.extract.sample import decode_sample
from headstart.files.resize import ResizeRule


@pytest.fixture(scope="module")
def fp32(exported):
    return exported("mobilenet_v2").model


@pytest.fixture(scope="module")
def pictures(fp32):
    height, width = (dim.dim_value for dim in fp32.graph.input[0].type.tensor_type.shape.dim[1:3])
    return structured_images(24, (height, width), seed=3)


@pytest.fixture(scope="module")
def int8(fp32, pictures):
    return quantize(fp32, pictures[:16], pictures[16:], LEAST_COSINE_UNTRAINED)


def test_the_twin_agrees_with_fp32_on_images_that_it_was_not_calibrated_on(fp32, int8, pictures):
    twin, agreement = int8
    assert agreement == compare(embed(twin, pictures[16:]), embed(fp32, pictures[16:]))
    assert agreement.mean >= LEAST_COSINE_UNTRAINED["mean"]
    assert agreement.images == 8


def test_every_convolution_is_int8_and_takes_bytes(int8):
    graph = int8[0].graph
    makers = {output: node for node in graph.node for output in node.output}
    kernels = {tensor.name: tensor for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 52
    for conv in convolutions:
        assert [makers[name].op_type for name in conv.input[:2]] == ["DequantizeLinear"] * 2
        assert kernels[makers[conv.input[1]].input[0]].data_type == onnx.TensorProto.INT8
    first = makers[convolutions[0].input[0]]
    assert makers[first.input[0]].op_type == "Transpose"
    assert makers[first.input[0]].input[0] == "image"
    assert not {"Cast", "Sub"} & {node.op_type for node in graph.node}
    assert {node.domain for node in graph.node} == {""}


def test_it_is_the_same_twice(fp32, int8, pictures):
    again, _ = quantize(fp32, pictures[:16], pictures[16:], LEAST_COSINE_UNTRAINED)
    assert again.SerializeToString(deterministic=True) == int8[0].SerializeToString(deterministic=True)


def test_kernels_are_rounded_as_onnxruntime_rounds_them(fp32, int8):
    graph = int8[0].graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}
    kernels = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in fp32.graph.initializer}
    before = [kernels[node.input[1]] for node in fp32.graph.node if node.op_type == "Conv"]
    after = [makers[node.input[1]] for node in graph.node if node.op_type == "Conv"]
    for kernel, node in zip(before, after, strict=True):
        bytes_, scale = values[node.input[0]].astype(np.float32), values[node.input[1]].reshape(-1, 1, 1, 1)
        np.testing.assert_allclose(bytes_ * scale, quantized_kernel(kernel), atol=1.01 * float(scale.max()))
        assert np.mean(np.abs(bytes_ * scale - quantized_kernel(kernel)) > 1e-6) < 1e-3


def test_a_twin_that_agrees_too_little_is_refused(fp32, pictures, monkeypatch):
    monkeypatch.setattr("headstart.export.quantization.quantize._correct_bias", lambda graph, conv, mean: None)
    monkeypatch.setitem(LEAST_COSINE, "mean", 0.99999)
    with pytest.raises(QuantizationError, match=r"mean cosine 0\.\d+ on 8 images held out, expected at least"):
        quantize(fp32, pictures[:16], pictures[16:])


def test_too_few_images_are_refused_before_any_work(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3)).astype(np.uint8)
    with pytest.raises(QuantizationError, match="at least 30 different images to calibrate on, found 3"):
        export_backbone(tmp_path / "int8.onnx", weights="random", calibration=pixels)
    assert not list(tmp_path.iterdir())


def test_real_weights_on_real_photos(shared, real_weights, tmp_path):
    flowers, rule = shared("images/flowers"), ResizeRule(224, 224)
    pixels = decode_sample(flowers, rule, 150)
    made = export_backbone(tmp_path / "int8.onnx", weights=real_weights, calibration=pixels)
    said = made.metadata["quantization"]
    assert made.metadata["precision"] == "int8"
    assert (said["images"], said["cosine_mean"] >= 0.99, said["cosine_min"] >= 0.97) == (50, True, True)
    session = open_session(read_model(made.path), "cpu")
    assert session.run(pixels[:2]).shape == (2, 1280)
    assert len(find_images(flowers).items) == 2500
