from importlib.util import find_spec

import pytest

MADE = ("backbone.onnx", "photos.h5", "classifier.onnx", "predictions.csv")
CLOSED = "http://127.0.0.1:9"


@pytest.fixture
def no_weights(monkeypatch, tmp_path) -> None:
    """Leave Keras without a cache and without a network."""
    if find_spec("tensorflow") is None:
        pytest.skip("needs the extra `export`")
    (tmp_path / "keras").mkdir()
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, CLOSED)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "")


@pytest.mark.usefixtures("no_weights")
def test_a_demo_goes_the_whole_way_and_says_so_where_the_weights_are_untrained(headstart_run, tiny_photos, tmp_path):
    output = tmp_path / "demo"
    drawn = headstart_run("demo", "-o", output, check=True, warnings="default")
    before = {name: (output / name).read_bytes() for name in MADE}
    own = headstart_run("demo", "--images", tiny_photos, "-o", output, check=True, warnings="default")
    for done, said in ((drawn, "300 pictures of "), (own, "60 embedded, 1 failed, of 61 images")):
        assert said in done.stdout
        assert "could not be downloaded" in done.stdout
        assert f"made: {', '.join(f'{output}/{name}' for name in MADE)}" in done.stdout.splitlines()[-4:]
        assert "THE WEIGHTS ARE UNTRAINED" in done.stderr
        assert "This accuracy is from UNTRAINED weights" in done.stderr
        assert "Traceback" not in done.stderr
    assert "classes: ash, birch, cedar" in own.stdout
    assert [name for name in MADE if (output / name).read_bytes() == before[name]] == ["backbone.onnx"]
    assert not list(output.rglob("*.parts"))
