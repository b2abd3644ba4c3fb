"""Tuning on real weights and real photos."""

import numpy as np
import onnx
import onnxruntime
import pytest

from bench.quality.tuning import keras_trunk
from headstart.classify import score, train
from headstart.classify.artifact.classifier import read_classifier
from headstart.classify.heads.registry import logits_of
from headstart.classify.heads.tuned import is_tuned_on
from headstart.export import export_backbone
from headstart.export.errors import WeightsError
from headstart.extract import embed, open_store, read_model
from headstart.extract.decoding.decode import decode
from headstart.extract.inference.subgraph import tail
from headstart.extract.sample import decode_sample
from headstart.files.errors import OptionError
from headstart.tune import Recipe, tune_backbone
from headstart.tune.cuts import best_cut, try_cuts
from headstart.tune.tail import build_tail

PHOTOS = 64


@pytest.fixture(scope="module")
def some_flowers(shared, tmp_path_factory):
    """Link 80 photos of each of three flowers."""
    folder = tmp_path_factory.mktemp("flowers") / "photos"
    for name in ("daisy", "rose", "tulip"):
        (folder / name).mkdir(parents=True)
        for photo in sorted((shared("images/flowers") / name).iterdir())[:80]:
            (folder / name / photo.name).write_bytes(photo.read_bytes())
    return folder


@pytest.fixture(scope="module")
def real(some_flowers, real_weights, frameworks, tmp_path_factory):
    """Go the whole way once, in a folder of files."""
    folder = tmp_path_factory.mktemp("real")
    export_backbone(folder / "trunk.onnx", weights=real_weights, cut="block_14")
    embed(some_flowers, folder / "trunk.onnx", folder / "tensors.h5")
    made = tune_backbone(folder / "tensors.h5", folder / "tuned.onnx", recipe=Recipe(epochs=4))
    store, _ = embed(folder / "tensors.h5", folder / "tuned.onnx", folder / "tuned.h5")
    return folder, made, train(store, folder / "classifier.onnx", false_alarms=0)


def test_flowers_are_told_apart(real):
    _, made, result = real
    assert made.max_difference < 1e-3
    assert made.frozen[1] > 0.7
    # Of about 50 photos, one more or less that is wrong moves the accuracy by 2 points: the log loss tells more.
    assert result.evaluation.accuracy > 0.8
    assert result.evaluation.log_loss < 0.36


def test_the_classifier_file_says_what_keras_does(real, some_flowers, real_weights, frameworks):
    """Photos through Keras' trunk, the tuned tail in Keras and scikit-learn's head, and through the one file."""
    folder, _, result = real
    trunk, tuned = read_model(folder / "trunk.onnx"), read_model(folder / "tuned.onnx")
    store = open_store(folder / "tuned.h5")
    rows = np.linspace(0, len(store) - 1, PHOTOS).astype(int)
    pictures = np.stack([decode((some_flowers / store.paths[row]).read_bytes(), tuned.rule) for row in rows])
    keras_tail = build_tail(tail(tuned), frameworks)
    embeddings = keras_tail(keras_trunk(trunk, str(real_weights))(pictures)).numpy()
    logits = logits_of(result.head, embeddings) / (result.calibration.temperature if result.calibration else 1)
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = shifted / shifted.sum(axis=1, keepdims=True)
    session = onnxruntime.InferenceSession(
        (folder / "classifier.onnx").read_bytes(), providers=["CPUExecutionProvider"]
    )
    found = session.run(["probabilities"], {"image": pictures})[0]
    assert np.abs(found - expected).max() < 1e-4
    classifier = read_classifier(folder / "classifier.onnx")
    from_cache = classifier.predictions(store.embeddings(rows))[:, : len(classifier.classes)]
    assert np.abs(from_cache - expected).max() < 2e-3, "tensors and embeddings were kept as float16"
    assert {node.domain for node in onnx.load(folder / "classifier.onnx").graph.node} <= {"", "ai.onnx"}


def test_int8_is_made_of_the_tuned_file(real, some_flowers, tmp_path):
    folder, _, _ = real
    fp32 = read_model(folder / "tuned.onnx")
    pictures = decode_sample(some_flowers, fp32.rule, 60)
    made = export_backbone(tmp_path / "int8.onnx", weights=folder / "tuned.onnx", calibration=pictures)
    store, _ = embed(some_flowers, tmp_path / "int8.onnx", tmp_path / "photos.h5")
    assert made.metadata["precision"] == store.header.model["precision"] == "int8"
    assert made.metadata["tuned"] == fp32.metadata["tuned"]
    assert is_tuned_on(store).sum() == fp32.metadata["tuned"]["images"]
    assert train(store, tmp_path / "classifier.onnx", false_alarms=0).evaluation.accuracy > 0.8
    with pytest.raises(OptionError, match="is a backbone already"):
        export_backbone(tmp_path / "same.onnx", weights=folder / "tuned.onnx")
    with pytest.raises(WeightsError, match="that is not cut"):
        export_backbone(tmp_path / "x.onnx", weights=folder / "trunk.onnx", calibration=pictures)


def test_photos_are_scored_as_ever(real, some_flowers):
    folder, _, result = real
    summary = score(some_flowers, result.path, folder / "predictions.csv")
    assert (summary.scored, summary.failed) == (240, 0)
    assert summary.agreeing > 200


def test_cuts_are_tried_on_a_sample(some_flowers, frameworks, monkeypatch):
    monkeypatch.setattr("headstart.tune.cuts.TRIED", (-5, -1))
    small = {"weights": "random", "image_size": 96, "width": 0.35}
    trials = try_cuts(some_flowers, sample=80, recipe=Recipe(epochs=1), **small)
    assert [trial.block for trial in trials] == ["block_12", "block_16"]
    assert [trial.bytes for trial in trials] == [2 * 6 * 6 * 32, 2 * 3 * 3 * 112]
    assert all(sum(trial.images) < 90 for trial in trials)
    best = min(trials, key=lambda trial: trial.log_loss)
    assert best_cut(trials).log_loss <= best.log_loss + max(0.01, best.log_loss / best.images[1] ** 0.5)
