"""ImageNet's 1,000 classes as a classifier file: Keras' probabilities, readable names, no training."""

import numpy as np
import pytest
from typer.testing import CliRunner

from headstart.classify.artifact.classifier import read_classifier
from headstart.cli import app
from headstart.export import OptionError, WeightsError, export_backbone
from headstart.export.conversion.images import structured_images
from headstart.export.conversion.parity import run_onnx
from headstart.imagenet import export_imagenet


@pytest.fixture(scope="module")
def imagenet(published_weights, tmp_path_factory):
    return export_imagenet(tmp_path_factory.mktemp("imagenet") / "imagenet.onnx", weights=published_weights)


def test_it_is_a_classifier_of_1000_readable_classes(imagenet, published_weights, tmp_path):
    classifier = read_classifier(imagenet.path)
    names = classifier.classes
    assert len({name.casefold() for name in names}) == 1000
    assert [names[code] for code in (0, 134, 281, 517, 999)] == [
        "tench", "crane (bird)", "tabby", "crane (machine)", "toilet tissue",
    ]  # fmt: skip
    assert classifier.prediction == "probabilities", "it marks nothing as unknown"
    backbone = export_backbone(tmp_path / "backbone.onnx", weights=published_weights)
    assert classifier.model.backbone_sha256 == backbone.sha256, "stores of the backbone fit it"


@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
def test_its_probabilities_are_those_of_keras(imagenet, published_weights):
    keras = pytest.importorskip("keras", reason="needs the extra `export`")
    images = structured_images(4, (224, 224), seed=11)
    whole = keras.applications.MobileNetV2(weights=str(published_weights))
    expected = whole(images.astype(np.float32) / 127.5 - 1, training=False).numpy()
    found = run_onnx(imagenet.path.read_bytes(), images, "probabilities")
    assert np.abs(found - expected).max() <= 1e-5


@pytest.mark.parametrize(
    "options",
    [{"weights": "random"}, {"backbone": "vgg16"}, {"features": "all-blocks"}, {"cut": "block_12"}],
    ids=str,
)
def test_what_has_no_such_classes_is_refused(options, tmp_path):
    with pytest.raises(OptionError):
        export_imagenet(tmp_path / "imagenet.onnx", **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("options", "name"), [(["--top"], "imagenet.onnx"), ([], "backbone.onnx")])
def test_what_is_written_has_a_name_of_its_own_by_default(options, name, monkeypatch):
    outputs = []

    def export(output, **options):
        outputs.append(output)
        raise OptionError("the name suffices")

    monkeypatch.setattr("headstart.imagenet.export_imagenet", export)
    monkeypatch.setattr("headstart.export.export_backbone", export)
    assert CliRunner().invoke(app, ["export", *options]).exit_code == 1
    assert outputs == [name]


def test_weights_without_the_top_are_refused(real_weights, tmp_path):
    with pytest.raises(WeightsError, match="includes the top"):
        export_imagenet(tmp_path / "imagenet.onnx", weights=real_weights)
