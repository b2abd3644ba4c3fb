"""A backbone is one record in `export/backbones.py`: one that a test registers goes from export to a scored folder."""

import csv

import onnx
import pytest

from headstart import embed, export_backbone, score, train
from headstart.demo.pictures import draw_pictures
from headstart.export.backbones import BACKBONES, MODEL_PIXELS, Backbone
from headstart.extract import read_model

# A family whose pixel scaling is part of its Keras model, unlike that of all registered ones.
SCALES_ITSELF = Backbone(
    name="efficientnet_b0",
    module="keras.applications.efficientnet",
    class_name="EfficientNetB0",
    pixels=MODEL_PIXELS,
    weights_path="efficientnetb0_notop.h5",
    blocks=r"(block\d[a-z])_",
)


@pytest.fixture(scope="module")
def registered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, SCALES_ITSELF.name, SCALES_ITSELF)
        yield


@pytest.fixture(scope="module")
def made(registered, tmp_path_factory):
    pytest.importorskip("tensorflow")
    folder = tmp_path_factory.mktemp("contract")
    return export_backbone(folder / "backbone.onnx", backbone=SCALES_ITSELF.name, weights="random", image_size=64)


def test_a_registered_backbone_does_what_keras_does(made):
    model = read_model(made.path)
    assert model.outputs == {"embedding": (1280,)}
    assert made.metadata["backbone"] == SCALES_ITSELF.name
    assert made.metadata["parity"]["max_relative_difference"] <= 1e-3
    nodes = onnx.load(made.path).graph.node
    assert [node.op_type for node in nodes[:4]] == ["Transpose", "Cast", "Sub", "Conv"], "as of any other backbone"


def test_equal_seeds_give_equal_bytes_although_the_network_has_dropout(made, tmp_path, registered):
    options = {"backbone": SCALES_ITSELF.name, "weights": "random", "image_size": 64}
    assert export_backbone(tmp_path / "again.onnx", **options).sha256 == made.sha256


def test_a_registered_backbone_goes_to_a_scored_folder(made, tmp_path):
    draw_pictures(tmp_path / "photos", per_class=6, broken=False)
    store, run = embed(tmp_path / "photos", made.path, tmp_path / "photos.h5")
    assert (run.embedded, run.failed) == (30, 0)
    train(store, tmp_path / "classifier.onnx")
    score(tmp_path / "photos", tmp_path / "classifier.onnx", tmp_path / "predictions.csv")
    with open(tmp_path / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 30
    assert {row["status"] for row in rows} == {"ok"}
