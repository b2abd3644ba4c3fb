"""The default backbone: made once in the cache, and again if it is damaged."""

import shutil

import pytest

from headstart.export import UnknownBackboneError, default_backbone
from headstart.extract import read_model


@pytest.fixture
def cache(published_cache, tmp_path, monkeypatch):
    shutil.copytree(published_cache / "weights", tmp_path / "cache" / "weights")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_is_exported_once_and_again_if_it_is_damaged(cache):
    heard: list[str] = []
    path = default_backbone(progress=lambda state: heard.append(state.stage))
    whole = path.read_bytes()
    assert read_model(path).metadata["weights"]["source"] == "imagenet"
    assert default_backbone(progress=lambda state: heard.append(state.stage)) == path
    assert heard == [f"exporting mobilenet_v2 once, to {path}"]
    for damaged in (whole[: len(whole) // 2], b"", whole[:-70] + bytes(1) + whole[-69:]):
        path.write_bytes(damaged)
        assert default_backbone().read_bytes() == whole


def test_an_unknown_name_lists_the_known_ones(cache):
    with pytest.raises(UnknownBackboneError, match="mobilenet_v2"):
        default_backbone("alexnet")
