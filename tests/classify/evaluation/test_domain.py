"""The domain check: photos are near what the backbone learned from; characters, textures and blurred bodies are far."""

import numpy as np
import pytest

from bench.quality.domain import FAR_KINDS, draw
from headstart.classify import train
from headstart.classify.evaluation.domain import FAR, domain_of
from headstart.demo.pictures import draw_pictures
from headstart.extract import embed


@pytest.fixture(scope="module")
def published_backbone(published_cache):
    from headstart.export import default_backbone

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(published_cache))
        return default_backbone()


@pytest.fixture
def factor(published_backbone, tmp_path):
    def measure(images) -> float:
        return domain_of(embed(images, published_backbone, tmp_path / "photos.h5")[0]).factor

    return measure


@pytest.mark.parametrize("kind", FAR_KINDS)
def test_pictures_of_other_kinds_are_far(kind, factor, tmp_path):
    draw(kind, tmp_path / "pictures", 24)
    assert factor(tmp_path / "pictures") >= FAR + 0.1


def test_pictures_of_scenes_are_near(factor, tmp_path):
    draw_pictures(tmp_path / "pictures", per_class=5, broken=False)
    assert factor(tmp_path / "pictures") <= FAR - 0.3


@pytest.mark.parametrize(
    "parts", [("flowers/daisy", "flowers/tulip"), ("cats_vs_dogs/val/cats", "cats_vs_dogs/val/dogs")]
)
def test_real_photos_are_near(parts, factor, shared):
    photos = [path for part in parts for path in sorted(shared(f"images/{part}").glob("*.jpg"))[:24]]
    assert factor(photos) <= FAR - 0.3


def test_the_factor_is_that_of_the_median_feature(make_store, monkeypatch):
    activity = np.float32([1, 1, 1, 4, 4, 4, 4, 4, 4, 4, 4, 4, 0.1, 0.1, 1, 1])
    store = make_store(["a", "b"] * 5, np.tile(activity, (10, 1)))
    assert domain_of(store) is None, "its backbone states no activity"
    monkeypatch.setitem(store.header.model, "activity", 1.0)
    assert domain_of(store).factor == pytest.approx(4.05 / 1.05)
    few = make_store(["a", "b", "b"] * 3, np.tile(activity, (9, 1)), name="few.h5")
    monkeypatch.setitem(few.header.model, "activity", 1.0)
    assert domain_of(few) is None, "a mean of so few photos is noise"
    monkeypatch.setitem(store.header.model, "tuned", {})
    assert domain_of(store) is None


def test_a_training_says_that_photos_are_far(published_backbone, tmp_path):
    for kind in ("bodies as in X-ray pictures", "textures"):
        draw(kind, tmp_path / "photos" / kind, 30)
    store, _ = embed(tmp_path / "photos", published_backbone, tmp_path / "photos.h5")
    result = train(store, tmp_path / "c.onnx")
    assert result.domain.is_far
    assert any("unlike those that the backbone learned from" in warning for warning in result.warnings)
