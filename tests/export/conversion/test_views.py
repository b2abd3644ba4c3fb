"""The embedding of a view is the plain backbone's embedding of that view's pixels."""

import numpy as np
import onnx
import onnxruntime
import pytest

from headstart.export.conversion.views import VIEWS, ZOOM, add_views
from headstart.export.errors import WeightsError
from headstart.export.pipeline import export_backbone
from headstart.extract.inference.model import parse_model, read_model
from headstart.files.errors import OptionError

PICTURES = np.random.default_rng(5).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)


def embed(data, pictures):
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return session.run(["embedding"], {"image": pictures})[0]


def with_views(model, views):
    """Give a model of several views."""
    proto = onnx.load_model_from_string(model.data)
    add_views(proto, views)
    return parse_model(proto.SerializeToString(), "views.onnx")


def within(model, name, kind, pictures):
    """Give a tensor inside a model."""
    proto = onnx.load_model_from_string(model.data)
    proto.graph.output.append(onnx.helper.make_tensor_value_info(name, kind, None))
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run([name], {"image": pictures})[0]


def pixels(model, pictures, views):
    """Give what the backbone gets to see: view -> uint8, (n, h, w, 3)."""
    stacked = within(model, "views_stacked", onnx.TensorProto.UINT8, pictures)
    return {name: stacked[number :: len(VIEWS[views])] for number, name in enumerate(VIEWS[views])}


def each_view(model, pictures, views):
    """Give the embeddings of every view before their mean is taken: float32 (views, n, d)."""
    every = within(model, "views_embedding", onnx.TensorProto.FLOAT, pictures)
    return every.reshape(len(pictures), views, -1).swapaxes(0, 1)


def linear(size, first, count):
    """Give the (size, size) matrix that stretches `count` pixels from `first` on to all of them, at half-pixels."""
    at = np.clip((np.arange(size) + 0.5) * count / size - 0.5, 0, count - 1)
    return np.clip(1 - np.abs(at[:, None] - (np.arange(size) - first)), 0, 1)


def zoomed(pictures):
    sides = pictures.shape[1:3]
    counts = [side * ZOOM[0] // ZOOM[1] for side in sides]
    rows, columns = (linear(side, (side - count) // 2, count) for side, count in zip(sides, counts, strict=True))
    return np.round(np.einsum("yh,nhwc,xw->nyxc", rows, pictures, columns, optimize=True)).astype(np.uint8)


MADE = {
    "full": lambda pictures: pictures,
    "flip": lambda pictures: pictures[:, :, ::-1],
    "zoom": zoomed,
    "zoom-flip": lambda pictures: zoomed(pictures)[:, :, ::-1],
}


@pytest.fixture(scope="module")
def plain(tiny_backbone):
    return read_model(tiny_backbone)


def sized(backbone_bytes, size):
    proto = onnx.load_model_from_string(backbone_bytes(image_size=list(size)))
    for dim, side in zip(proto.graph.input[0].type.tensor_type.shape.dim[1:3], size, strict=True):
        dim.dim_value = side
    return parse_model(proto.SerializeToString(), "sized.onnx")


several = pytest.mark.parametrize("views", [number for number in VIEWS if number > 1])


@several
@pytest.mark.parametrize("batch", [1, 3])
def test_each_view_is_embedded_as_its_pixels_are_by_the_plain_model(plain, views, batch):
    model = with_views(plain, views)
    found = each_view(model, PICTURES[:batch], views)
    seen = pixels(model, PICTURES[:batch], views)
    for name, part in zip(VIEWS[views], found, strict=True):
        assert part.shape == (batch, 16)
        np.testing.assert_allclose(part, embed(plain.data, seen[name]), atol=1e-5)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (224, 224), (75, 96)])
def test_views_are_the_picture_its_mirror_image_and_its_middle(backbone_bytes, size):
    model = sized(backbone_bytes, size)
    pictures = np.random.default_rng(6).integers(0, 256, (2, *size, 3)).astype(np.uint8)
    for name, seen in pixels(with_views(model, 4), pictures, 4).items():
        apart = np.abs(seen.astype(int) - MADE[name](pictures))
        # Half-way between two grey levels either is right.
        assert apart.max() <= ("zoom" in name)
        assert np.mean(apart > 0) < 0.05


@several
def test_the_views_of_one_picture_differ_from_one_another_and_from_other_pictures(plain, views):
    found = each_view(with_views(plain, views), PICTURES, views).reshape(-1, 16)
    apart = np.abs(found[:, None] - found[None]).max(axis=2)[~np.eye(len(found), dtype=bool)]
    assert apart.min() > 1e-3


@several
def test_the_embedding_is_the_mean_of_the_views(plain, views):
    model = with_views(plain, views)
    np.testing.assert_allclose(embed(model.data, PICTURES), each_view(model, PICTURES, views).mean(axis=0), atol=1e-6)
    assert model.outputs == {"embedding": (16,)}


@several
def test_a_network_that_is_cut_gives_a_tensor_for_each_view(cut_backbone, views):
    plain = read_model(cut_backbone)
    pictures = np.random.default_rng(5).integers(0, 256, (3, *plain.rule.shape)).astype(np.uint8)
    model = with_views(plain, views)
    assert model.outputs == {"embedding": plain.outputs["embedding"], "tensor": (views, *plain.outputs["tensor"])}
    found = within(model, "tensor", onnx.TensorProto.FLOAT, pictures)
    for number, seen in enumerate(pixels(model, pictures, views).values()):
        np.testing.assert_allclose(found[:, number], within(plain, "tensor", onnx.TensorProto.FLOAT, seen), atol=1e-4)


@several
def test_the_file_says_what_it_is(tiny_backbone, plain, tmp_path, views):
    made = export_backbone(tmp_path / "views.onnx", weights=tiny_backbone, views=views)
    model = read_model(made.path)
    assert model.metadata == made.metadata == plain.metadata | {"views": [*VIEWS[views]]}
    assert (model.outputs, model.rule) == (plain.outputs, plain.rule)
    assert with_views(plain, views).outputs == plain.outputs
    np.testing.assert_allclose(embed(model.data, PICTURES), embed(with_views(plain, views).data, PICTURES), rtol=1e-5)


def test_a_cut_file_names_the_trunk_that_it_comes_from(cut_backbone, tmp_path):
    made = export_backbone(tmp_path / "views.onnx", weights=cut_backbone, views=2)
    assert made.metadata["trunk_sha256"] == read_model(cut_backbone).sha256


def test_the_views_by_number():
    assert VIEWS == {1: ("full",), 2: ("full", "flip"), 4: ("full", "flip", "zoom", "zoom-flip")}


@pytest.mark.parametrize("views", [0, 3, 5, -1])
def test_another_number_is_refused(tmp_path, views):
    with pytest.raises(OptionError, match=f"expected a number of views out of 1, 2, 4, found {views}"):
        export_backbone(tmp_path / "views.onnx", views=views)


def test_only_a_backbone_without_views_gets_some(tiny_backbone, tiny_classifier, tmp_path):
    two = export_backbone(tmp_path / "two.onnx", weights=tiny_backbone, views=2).path
    with pytest.raises(WeightsError, match="makes 2 views already; leave --views out"):
        export_backbone(tmp_path / "views.onnx", weights=two, views=4)
    with pytest.raises(WeightsError, match="expected a backbone, found a classifier"):
        export_backbone(tmp_path / "views.onnx", weights=tiny_classifier, views=2)
    with pytest.raises(OptionError, match="is a backbone already: add --views N"):
        export_backbone(tmp_path / "views.onnx", weights=tiny_backbone)
    assert not (tmp_path / "views.onnx").exists()


def test_an_int8_backbone_has_views_too(plain, tiny_int8):
    model = parse_model(tiny_int8, "int8.onnx")
    found = each_view(with_views(model, 4), PICTURES, 4)
    for part, seen in zip(found, pixels(with_views(model, 4), PICTURES, 4).values(), strict=True):
        np.testing.assert_allclose(part, embed(model.data, seen), atol=1e-5)
    assert np.abs(found[0] - embed(plain.data, PICTURES)).max() < 0.05


@pytest.fixture
def tiny_int8(backbone_bytes):
    """The tiny backbone with its pixels and its kernel in bytes, as quantisation leaves them."""
    from onnx import helper, numpy_helper

    proto = onnx.load_model_from_string(backbone_bytes(precision="int8"))
    graph = proto.graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    scale = np.abs(values["kernel"]).reshape(16, -1).max(axis=1) / 127
    added = {
        "bytes": np.round(values["kernel"] / scale[:, None, None, None]).astype(np.int8),
        "bytes_scale": scale,
        "bytes_zero": np.zeros(16, np.int8),
        "pixel_scale": np.float32(1 / 127.5),
        "pixel_zero": np.uint8(128),
    }
    head = [
        helper.make_node("Transpose", ["image"], ["pixels"], perm=[0, 3, 1, 2]),
        helper.make_node("DequantizeLinear", ["pixels", "pixel_scale", "pixel_zero"], ["planes"]),
        helper.make_node("DequantizeLinear", ["bytes", "bytes_scale", "bytes_zero"], ["floats"], axis=0),
    ]
    tail = [node for node in graph.node if node.op_type not in ("Cast", "Mul", "Sub", "Transpose")]
    tail[0].input[1] = "floats"
    del graph.node[:]
    graph.node.extend([*head, *tail])
    kept = [tensor for tensor in graph.initializer if tensor.name in ("bias", "low", "high")]
    del graph.initializer[:]
    graph.initializer.extend([*kept, *(numpy_helper.from_array(np.asarray(v), n) for n, v in added.items())])
    return proto.SerializeToString()
