import hashlib
import json
import sys
from collections import Counter
from importlib import metadata as packages

import numpy as np
import onnx
import pytest

from headstart.export import BACKBONES, MissingExtraError, export_backbone
from headstart.export.conversion.images import structured_images

CENSUS = {
    "mobilenet_v2": {"Conv": 52, "Clip": 35, "Add": 10},
    "mobilenet": {"Conv": 27, "Clip": 27},
    "vgg16": {"Conv": 13, "Relu": 13, "MaxPool": 5},
    "inception_v3": {"Conv": 94, "Relu": 94, "MaxPool": 4, "AveragePool": 9, "Concat": 11},
    "resnet50": {"Conv": 53, "Relu": 49, "MaxPool": 1, "Add": 16},
}
FRAME = {"Transpose": 1, "Cast": 1, "Sub": 1, "GlobalAveragePool": 1, "Squeeze": 1}
DIMS = {"mobilenet_v2": 1280, "mobilenet": 1024, "vgg16": 512, "inception_v3": 2048, "resnet50": 2048}

OPTIONS = {
    "vgg16": {"image_size": 64, "fit": "crop"},
    "inception_v3": {"image_size": 139},
    "resnet50": {"image_size": 96},
}

each_backbone = pytest.mark.parametrize("name", BACKBONES)


def at_test_size(exported, name):
    """Only the two small networks are run at their native size, to save minutes."""
    return exported(name, **OPTIONS.get(name, {}))


@each_backbone
def test_onnx_embeds_as_keras_does_on_other_images(name, exported):
    made = at_test_size(exported, name)
    images = structured_images(3, made.plan.image_size, seed=7)
    reference = made.keras(images)
    assert np.abs(made.onnx(images) - reference).max() <= 1e-4 * np.abs(reference).max()
    assert 0 < made.summary.metadata["parity"]["max_relative_difference"] <= 1e-4


@each_backbone
def test_only_the_necessary_nodes_are_left(name, exported):
    made = at_test_size(exported, name)
    assert Counter(node.op_type for node in made.model.graph.node) == CENSUS[name] | FRAME
    assert [node.op_type for node in made.model.graph.node[:4]] == ["Transpose", "Cast", "Sub", "Conv"]
    assert made.summary.nodes == len(made.model.graph.node)


@each_backbone
def test_the_contract_of_input_and_output(name, exported):
    made = at_test_size(exported, name)
    height, width = made.plan.image_size
    (image,), (embedding,) = made.model.graph.input, made.model.graph.output
    shape = [dim.dim_param or dim.dim_value for dim in image.type.tensor_type.shape.dim]
    assert (image.name, image.type.tensor_type.elem_type, shape) == (
        "image",
        onnx.TensorProto.UINT8,
        ["n", height, width, 3],
    )
    shape = [dim.dim_param or dim.dim_value for dim in embedding.type.tensor_type.shape.dim]
    assert (embedding.name, embedding.type.tensor_type.elem_type, shape) == (
        "embedding",
        onnx.TensorProto.FLOAT,
        ["n", DIMS[name]],
    )
    assert [(entry.domain, entry.version) for entry in made.model.opset_import] == [("", 17)]


@each_backbone
def test_untrained_layers_neither_vanish_nor_explode(name, exported, frameworks):
    made = at_test_size(exported, name)
    layers = [layer for layer in made.network.layers if "Conv" in type(layer).__name__ or not layer.output.shape[2:]]
    every = frameworks.keras.Model(made.network.input, [layer.output for layer in layers])
    images = structured_images(4, made.plan.image_size, seed=3)
    from headstart.export.conversion.network import preprocess

    spreads = [float(np.std(output)) for output in every(preprocess(images, made.plan), training=False)]
    assert min(spreads) > 1e-2
    assert max(spreads) < 1e3
    assert np.std(made.onnx(images), axis=0).mean() > 1e-2


@pytest.mark.parametrize(("width", "dim"), [(0.35, 1280), (1.4, 1792)])
def test_widths(width, dim, exported):
    made = exported("mobilenet_v2", width=width, image_size=96)
    said = made.summary.metadata
    assert (said["width"], said["dim"], said["image_size"]) == (width, dim, [96, 96])
    assert made.onnx(structured_images(2, (96, 96))).shape == (2, dim)


def test_metadata_of_an_untrained_backbone(exported):
    made = exported("mobilenet_v2")
    entry, seal = made.model.metadata_props
    said = json.loads(entry.value)
    assert (entry.key, seal.key) == ("headstart", "headstart-sha256")
    assert entry.value == json.dumps(said, sort_keys=True)
    assert said == made.summary.metadata
    parity, versions = said.pop("parity"), said.pop("versions")
    assert said == {
        "format": "headstart-backbone",
        "schema": 1,
        "backbone": "mobilenet_v2",
        "width": 1.0,
        "weights": {"source": "random", "file": None, "sha256": None, "trained": False, "seed": 0},
        "image_size": [224, 224],
        "resize": {
            "version": 1,
            "interpolation": "bilinear-antialias",
            "fit": "squash",
            "exif_transpose": True,
            "alpha": "white",
        },
        "dim": 1280,
        "precision": "fp32",
        "features": "top",
        "sealed": True,
    }
    assert made.summary.max_difference <= parity["max_abs_difference"] <= 10 * made.summary.max_difference
    assert parity["relative_tolerance"] == 1e-3
    assert parity["reference"] == "numpy"
    assert versions == {name: packages.version(name) for name in ("headstart", "onnx")}


def test_fit_is_recorded_and_a_backbone_without_widths_says_none(exported):
    said = at_test_size(exported, "vgg16").summary.metadata
    assert set(said["versions"]) == {"headstart", "tensorflow", "keras", "tf2onnx", "onnx"}
    assert said["parity"]["reference"] == "keras"
    assert said["resize"]["fit"] == "crop"
    assert said["width"] is None


def test_summary_describes_the_file(exported):
    summary = exported("mobilenet_v2").summary
    content = summary.path.read_bytes()
    assert summary.bytes == len(content)
    assert summary.sha256 == hashlib.sha256(content).hexdigest()


def test_the_file_says_nothing_of_the_machine_or_of_tensorflow(exported):
    made = exported("mobilenet_v2")
    stripped = onnx.ModelProto()
    stripped.CopyFrom(made.model)
    del stripped.metadata_props[:]
    for constant in stripped.graph.initializer:
        constant.ClearField("raw_data")
    text = stripped.SerializeToString().lower()
    for word in (b"tf2onnx", b"stateful", b"inference_", b"/", b"block_"):
        assert word not in text
    assert made.model.producer_name == "headstart"


def test_equal_seeds_give_equal_bytes_in_this_process_and_in_another(exported, python, tmp_path):
    options = {"width": 0.35, "image_size": 96}
    first = exported("mobilenet_v2", **options).summary
    again = export_backbone(tmp_path / "again.onnx", weights="random", **options)
    fresh = tmp_path / "fresh.onnx"
    call = f"export_backbone({str(fresh)!r}, weights='random', **{options})"
    ran = python(f"from headstart.export import export_backbone; {call}")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert first.sha256 == again.sha256 == hashlib.sha256(fresh.read_bytes()).hexdigest()


def test_real_weights_embed_real_photos_as_keras_does(exported, real_weights, shared):
    from PIL import Image

    photos = [path for kind in sorted(shared("images/flowers").iterdir()) for path in sorted(kind.iterdir())[:7]][:32]
    images = np.stack([np.asarray(Image.open(path).convert("RGB").resize((224, 224))) for path in photos])
    made = exported("mobilenet_v2", weights=real_weights)
    assert len({path.parent.name for path in photos}) == 5
    assert np.abs(made.onnx(images) - made.keras(images)).max() <= 1e-4
    said = made.summary.metadata["weights"]
    assert said == {
        "source": "file",
        "file": real_weights.name,
        "sha256": hashlib.sha256(real_weights.read_bytes()).hexdigest(),
        "trained": True,
        "seed": None,
    }


def test_importing_the_room_loads_nothing_heavy(python):
    program = (
        "import sys; from headstart.export import BACKBONES, export_backbone, ExportError;"
        "print([m for m in ('tensorflow','keras','tf2onnx','onnx','onnxruntime','numpy','h5py') if m in sys.modules])"
    )
    ran = python(program)
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


MISSING = [("tensorflow", "headstart[export]"), ("tf2onnx", "headstart[export]"), ("onnxruntime", "onnxruntime")]


@pytest.mark.parametrize(("module", "package"), MISSING)
def test_a_missing_package_says_how_to_install_it(module, package, frameworks, monkeypatch, capfd, tmp_path):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError) as error:
        export_backbone(tmp_path / "b.onnx", backbone="mobilenet", weights="random")
    assert capfd.readouterr() == ("", "")
    assert "\n" not in str(error.value)
    assert f"cannot import {module} " in str(error.value)
    assert f'pip install "{package}"' in str(error.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("setting", "value"), [("backend", "jax"), ("image_data_format", "channels_first")])
def test_a_keras_of_other_settings_is_refused(setting, value, frameworks, monkeypatch, tmp_path):
    from headstart.export import ExportError

    monkeypatch.setattr(frameworks.keras.config, setting, lambda: value)
    with pytest.raises(ExportError, match=f"{setting} is '{value}', and an export needs"):
        export_backbone(tmp_path / "b.onnx", backbone="mobilenet", weights="random")
