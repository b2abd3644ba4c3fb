import dataclasses
import importlib

import pytest

from headstart.export import BACKBONES, OptionError, UnknownBackboneError
from headstart.export.backbones import make_plan
from headstart.export.weights.download import keras_address

WIDTHS_AND_SIZES = [
    *[("mobilenet_v2", width, size) for width, size in [(0.35, 96), (0.5, 128), (1.0, 224), (1.3, 224), (1.4, 192)]],
    *[("mobilenet", width, size) for width, size in [(0.25, 128), (0.5, 160), (0.75, 192), (1.0, 224), (1.0, 96)]],
    ("vgg16", 1.0, 224),
    ("inception_v3", 1.0, 299),
    ("resnet50", 1.0, 224),
]


def test_records_are_frozen_and_named_by_their_key():
    assert list(BACKBONES) == ["mobilenet_v2", "mobilenet", "vgg16", "inception_v3", "resnet50"]
    for name, record in BACKBONES.items():
        assert record.name == name
        with pytest.raises(dataclasses.FrozenInstanceError):
            record.name = "other"


@pytest.mark.parametrize(("name", "width", "size"), WIDTHS_AND_SIZES)
@pytest.mark.filterwarnings("ignore:`input_shape` is undefined:UserWarning")
def test_a_record_names_the_file_that_keras_itself_would_fetch(name, width, size, frameworks, monkeypatch):
    class Asked(Exception):
        pass

    def get_file(*args, **kwargs):
        raise Asked({"url": kwargs.get("origin", args[1]), "md5": kwargs.get("file_hash")})

    monkeypatch.setattr(importlib.import_module("keras.src.utils.file_utils"), "get_file", get_file)
    record = BACKBONES[name]
    application = getattr(importlib.import_module(record.module), record.class_name)
    options = {"alpha": width} if record.widths else {}
    with pytest.raises(Asked) as asked:
        application(include_top=False, weights="imagenet", input_shape=(size, size, 3), **options)
    assert asked.value.args[0] == {
        "url": keras_address() + record.imagenet_path(width, (size, size)),
        "md5": record.weights_md5,
    }


@pytest.mark.parametrize("name", BACKBONES)
def test_a_records_scaling_is_keras_preprocess_input(name, frameworks):
    import numpy as np

    record = BACKBONES[name]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3)).astype(np.float32)
    ours = (pixels - np.array(record.pixels.offset)) * record.pixels.scale
    ours = ours[..., ::-1] if record.pixels.bgr else ours
    theirs = importlib.import_module(record.module).preprocess_input(pixels.copy())
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_native_size_is_the_default_and_other_sizes_are_taken():
    assert make_plan("inception_v3", None, 1.0, "squash").image_size == (299, 299)
    assert make_plan("mobilenet_v2", 96, 1.0, "crop").image_size == (96, 96)
    assert make_plan("vgg16", (64, 128), 1.0, "crop").image_size == (64, 128)


@pytest.mark.parametrize(
    ("options", "listed"),
    [
        (("resnet51", None, 1.0, "squash"), "mobilenet_v2, mobilenet, vgg16, inception_v3, resnet50"),
        (("mobilenet_v2", None, 0.9, "squash"), "0.35, 0.5, 0.75, 1.0, 1.3, 1.4"),
        (("vgg16", None, 0.5, "squash"), "choose 1.0"),
        (("vgg16", None, 1.0, "stretch"), "squash, crop"),
        (("vgg16", None, 1.0, "squash", "bottom"), "top, all-blocks"),
        (("inception_v3", 74, 1.0, "squash"), "from 75 to"),
        (("vgg16", (224, 10**6), 1.0, "squash"), "from 32 to"),
        (("vgg16", (224, 224, 3), 1.0, "squash"), "height and width"),
        (("vgg16", 224.0, 1.0, "squash"), "height and width"),
    ],
)
def test_a_wrong_choice_lists_the_right_ones(options, listed):
    with pytest.raises(OptionError) as error:
        make_plan(*options)
    assert listed in str(error.value)
    assert "\n" not in str(error.value)
    assert isinstance(error.value, UnknownBackboneError) == (options[0] == "resnet51")
