from importlib.util import find_spec

import pytest

MADE = ("classifier.h5", "classifier.onnx", "predictions.csv")
CLOSED = "http://127.0.0.1:9"


@pytest.fixture
def no_weights(monkeypatch, tmp_path) -> None:
    """Leave pip and Keras without a cache and without a network."""
    if find_spec("tensorflow") is None:
        pytest.skip("needs the extra `export`")
    (tmp_path / "keras").mkdir()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, CLOSED)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")


@pytest.mark.usefixtures("no_weights")
def test_a_demo_goes_the_whole_way_and_says_so_where_the_weights_are_untrained(headstart_run, tiny_photos, tmp_path):
    output = tmp_path / "demo"
    drawn = headstart_run("demo", "-o", output, check=True, warnings="default")
    backbone = (output / "backbone.onnx").read_bytes()
    own = headstart_run("demo", "--images", tiny_photos, "-o", output, check=True, warnings="default")
    for done, said in ((drawn, "300 pictures of "), (own, "60 embedded, 1 failed, of 61 images")):
        assert said in done.stdout
        assert "could not be downloaded" in done.stdout
        assert f"made: {', '.join(f'{output}/{name}' for name in MADE)}" in done.stdout.splitlines()[-4:]
        assert "THE WEIGHTS ARE UNTRAINED" in done.stderr
        assert "This accuracy is from UNTRAINED weights" in done.stderr
        assert "Traceback" not in done.stderr
    assert "classes: ash, birch, cedar" in own.stdout
    assert (output / "backbone.onnx").read_bytes() == backbone
    assert not list(output.rglob("*.parts"))


def test_with_the_published_weights_a_demo_is_accurate_and_names_them(
    headstart_run, published_cache, tmp_path, monkeypatch
):
    monkeypatch.setenv("HEADSTART_CACHE", str(published_cache))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    done = headstart_run("demo", "-o", tmp_path / "demo", check=True, warnings="default")
    assert "ImageNet weights, from mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5" in done.stdout
    accuracy = float(done.stdout.partition("\naccuracy ")[2].split()[0])
    assert accuracy >= 0.95
    assert "UNTRAINED" not in done.stderr
    assert not (tmp_path / "demo" / "backbone.onnx").exists()
