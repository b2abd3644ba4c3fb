"""A store of tensors by a tiny network that is cut, with which Keras trains in seconds."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def frameworks():
    pytest.importorskip("tensorflow", reason="needs the extra `export`")
    from headstart.export.conversion.frameworks import load_frameworks

    return load_frameworks()


@pytest.fixture(scope="session")
def photos(draw_photos, tmp_path_factory):
    return draw_photos(tmp_path_factory.mktemp("tuned") / "photos", {"ash": 40, "birch": 40, "cedar": 40})


@pytest.fixture(scope="session")
def photos_of_both(tmp_path_factory):
    """Draw 320 noisy pictures: in one class the red ones are striped and the others not, in the other the reverse."""
    folder = tmp_path_factory.mktemp("both") / "photos"
    rng = np.random.default_rng(3)
    for number in range(320):
        is_red, is_striped = number % 2, number // 2 % 2
        picture = np.full((32, 32, 3), 110.0) + rng.normal(0, 10, 3)
        picture[..., 0] += 20 if is_red else -20
        if is_striped:
            picture += np.where(np.arange(32) % 2, -20, 20)[:, None, None]
        picture += rng.normal(0, 60, picture.shape)
        place = folder / ("same" if is_red == is_striped else "other") / f"{number:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(place)
    return folder


@pytest.fixture(scope="session")
def tensors(photos, cut_backbone, with_views, tmp_path_factory):
    """Give stores of one view and of two."""
    from headstart.extract import embed

    places = {views: tmp_path_factory.mktemp("tensors") / f"tensors-{views}.h5" for views in (1, 2)}
    for views, place in places.items():
        embed(photos, with_views(cut_backbone, views), place)
    return places


@pytest.fixture(scope="session")
def tuned(tensors, frameworks, tmp_path_factory):
    """Give the result of a short tuning on the store of two views."""
    from headstart.tune import Recipe, tune_backbone

    output = tmp_path_factory.mktemp("tune") / "tuned.onnx"
    return tune_backbone(tensors[2], output, recipe=Recipe(epochs=3, learning_rate=3e-3))
