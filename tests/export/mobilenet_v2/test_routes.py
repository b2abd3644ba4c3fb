"""MobileNetV2 from its arrays, from tf2onnx, and in Keras: the same embeddings, tensors and probabilities."""

import shutil
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import onnx
import pytest

from headstart.export import BACKBONES, WeightsError, export_backbone
from headstart.export.backbones import make_plan
from headstart.export.conversion.images import structured_images
from headstart.export.conversion.parity import run_onnx
from headstart.export.mobilenet_v2.network import ArrayNetwork
from headstart.export.weights.load import Weights

LIMIT = 1e-5
"""Of the largest value: the nets sum in different orders."""


@pytest.fixture(scope="module")
def photos() -> np.ndarray:
    return structured_images(4, (224, 224), seed=11)


@pytest.fixture(scope="module")
def without_top(published_weights, frameworks, tmp_path_factory):
    """The published weights as Keras' file without the top holds them: the same arrays under other names."""
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    whole = frameworks.keras.applications.MobileNetV2(weights=str(published_weights))
    path = tmp_path_factory.mktemp("no_top") / "mobilenet_v2_no_top.h5"
    bare = frameworks.keras.applications.MobileNetV2(include_top=False, weights=None, pooling="avg")
    bare.set_weights(whole.get_weights()[:-2])
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, bare)
    return path, whole, bare


def by_tf2onnx(path, tmp_path_factory, **options) -> bytes:
    with pytest.MonkeyPatch.context() as patch:
        record = replace(BACKBONES["mobilenet_v2"], is_built_from_arrays=False)
        patch.setitem(BACKBONES, "mobilenet_v2", record)
        made = export_backbone(tmp_path_factory.mktemp("tf") / "b.onnx", weights=path, **options)
    assert made.metadata["parity"]["reference"] == "keras"
    return made.path.read_bytes()


def by_arrays(path, tmp_path_factory, **options) -> bytes:
    made = export_backbone(tmp_path_factory.mktemp("arrays") / "b.onnx", weights=path, **options)
    assert made.metadata["parity"]["reference"] == "numpy"
    assert set(made.metadata["versions"]) == {"headstart", "onnx"}
    return made.path.read_bytes()


def near(found: np.ndarray, expected: np.ndarray) -> bool:
    return found.shape == expected.shape and float(np.abs(found - expected).max()) <= LIMIT * np.abs(expected).max()


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@pytest.mark.parametrize(
    "options",
    [{}, {"features": "all-blocks"}, {"cut": "block_12"}, {"image_size": (160, 225)}],
    ids=["top", "all-blocks", "cut", "odd size"],
)
def test_both_routes_give_the_same_outputs_and_nodes(options, published_weights, without_top, tmp_path_factory):
    size = options.get("image_size", (224, 224))
    images = structured_images(3, size, seed=12)
    ours, theirs = (
        by_arrays(published_weights, tmp_path_factory, **options),
        by_tf2onnx(without_top[0], tmp_path_factory, **options),
    )
    for output in ("embedding", "tensor") if "cut" in options else ("embedding",):
        assert near(run_onnx(ours, images, output), run_onnx(theirs, images, output))
    kinds = [[node.op_type for node in onnx.load_model_from_string(data).graph.node] for data in (ours, theirs)]
    assert kinds[0] == kinds[1]


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_both_files_give_the_same_weights_and_keras_agrees(published_weights, without_top, photos, tmp_path_factory):
    path, _, bare = without_top
    plan = make_plan("mobilenet_v2", None, 1.0, "squash")
    both = [ArrayNetwork(plan, Weights("file", file)).weights for file in (published_weights, path)]
    for one, other in zip(*(weights.kernels for weights in both), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(*(weights.norms for weights in both), strict=True):
        for name in ("gamma", "beta", "mean", "variance"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert both[0].top is not None
    assert both[1].top is None
    expected = bare(photos.astype(np.float32) / 127.5 - 1, training=False).numpy()
    assert near(run_onnx(by_arrays(published_weights, tmp_path_factory), photos), expected)


def test_untrained_weights_are_those_that_keras_gets(frameworks, tmp_path_factory):
    images = structured_images(3, (96, 96), seed=13)
    options = {"width": 0.35, "image_size": 96, "seed": 5}
    ours = by_arrays("random", tmp_path_factory, **options)
    theirs = by_tf2onnx("random", tmp_path_factory, **options)
    found, expected = run_onnx(ours, images), run_onnx(theirs, images)
    assert np.abs(found - expected).max() <= 1e-3 * np.abs(expected).max(), "calibrated by two engines"


@pytest.mark.parametrize("width", [0.35, 0.5, 0.75, 1.0, 1.3, 1.4])
def test_the_units_are_those_of_keras_at_every_width(width, frameworks):
    from headstart.export.conversion.network import build_network, ends_of_blocks
    from headstart.export.mobilenet_v2.graph import block_names, shapes_of
    from headstart.export.mobilenet_v2.units import units_of

    plan = make_plan("mobilenet_v2", 96, width, "squash")
    network, units = build_network(plan, frameworks), units_of(width)
    kernels = [tuple(weight.shape) for weight in network.weights if "kernel" in weight.name]
    assert [unit.kernel for unit in units] == kernels
    ends = ends_of_blocks(network, plan)
    assert block_names(units) == list(ends)
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in ends.items()}
    assert shapes_of(units, (96, 96), shapes) == shapes


def test_an_export_needs_no_tensorflow(published_cache, tmp_path):
    program = (
        "import sys; sys.modules.update(tensorflow=None, keras=None, tf2onnx=None)\n"
        "import os; os.environ['HEADSTART_CACHE'] = sys.argv[1]\n"
        "from headstart.export import default_backbone, export_backbone\n"
        "print(default_backbone()); print(export_backbone(sys.argv[2], weights='random', image_size=96).nodes)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, published_cache, tmp_path / "b.onnx"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    path, nodes = done.stdout.split()
    assert path.startswith(str(published_cache / "backbones" / "mobilenet_v2-3e195a285735-v"))
    assert nodes == "102"


def drop_an_array(file) -> None:
    group = file["block_3_expand"]
    del group[group.attrs["weight_names"][0]]


def drop_layers(file) -> None:
    file.attrs["layer_names"] = file.attrs["layer_names"][:-9]


def spoil_a_value(file) -> None:
    group = file["block_3_expand"]
    group[group.attrs["weight_names"][0]][0, 0, 0, 0] = np.nan


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@pytest.mark.parametrize(
    ("spoil", "expected"),
    [(drop_an_array, "cannot be read"), (drop_layers, "holds nothing"), (spoil_a_value, "not finite")],
)
def test_a_file_that_lacks_something_is_refused(spoil, expected, without_top, tmp_path):
    path = tmp_path / "spoiled.h5"
    shutil.copy(without_top[0], path)
    with h5py.File(path, "r+") as file:
        spoil(file)
    with pytest.raises(WeightsError, match=expected) as error:
        export_backbone(tmp_path / "b.onnx", weights=path)
    assert str(error.value).startswith(f"{path}: expected the weights of mobilenet_v2 at width 1.0, found ")
    assert not (tmp_path / "b.onnx").exists()
