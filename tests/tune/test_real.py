"""Tuning on real weights and real photos."""

import numpy as np
import onnx
import onnxruntime
import pytest

from bench.tuning import keras_trunk
from classify import score, train
from classify.classifier import read_classifier
from classify.search import logits_of
from export import export_backbone
from extract import embed, open_store, read_model
from extract.decode import decode
from extract.subgraph import tail
from tune import Recipe, tune
from tune.cuts import best_cut, try_cuts
from tune.tail import build_tail

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
    made = tune(folder / "tensors.h5", folder / "tuned.onnx", recipe=Recipe(epochs=4))
    store, _ = embed(folder / "tensors.h5", folder / "tuned.onnx", folder / "tuned.h5")
    return folder, made, train(store, folder / "classifier.onnx", false_alarms=0)


def test_tuning_makes_held_out_photos_likelier(real):
    _, made, _ = real
    assert made.best.log_loss < made.frozen[0]
    assert made.max_difference < 1e-3


def test_the_classifier_file_says_what_keras_does(real, some_flowers, real_weights, frameworks):
    """Photos through Keras' trunk, the tuned tail in Keras and scikit-learn's head, and through the one file."""
    folder, _, result = real
    trunk, tuned = read_model(folder / "trunk.onnx"), read_model(folder / "tuned.onnx")
    store = open_store(folder / "tuned.h5")
    rows = np.linspace(0, len(store) - 1, PHOTOS).astype(int)
    pictures = np.stack([decode((some_flowers / store.paths[row]).read_bytes(), tuned.rule) for row in rows])
    keras_tail = build_tail(tail(tuned), frameworks)
    embeddings = keras_tail(keras_trunk(trunk, str(real_weights))(pictures)).numpy()
    logits = logits_of(result.head, embeddings) / result.calibration.temperature
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


def test_photos_are_scored_as_ever(real, some_flowers):
    folder, _, result = real
    summary = score(some_flowers, result.path, folder / "predictions.csv")
    assert (summary.scored, summary.failed) == (240, 0)
    assert summary.agreeing > 200


def test_cuts_are_tried_on_a_sample(some_flowers, real_weights, frameworks):
    recipe = Recipe(epochs=1)
    trials = try_cuts(some_flowers, weights=real_weights, sample=120, recipe=recipe)
    assert [trial.block for trial in trials] == ["block_12", "block_14", "block_16"]
    assert [trial.bytes for trial in trials] == [2 * 14 * 14 * 96, 2 * 7 * 7 * 160, 2 * 7 * 7 * 320]
    assert trials[0].seconds > trials[-1].seconds
    assert all(sum(trial.images) < 130 for trial in trials)
    assert best_cut(trials).log_loss <= min(trial.log_loss for trial in trials) + 0.01
