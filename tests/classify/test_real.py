"""The figures that are promised, on real weights and real photos."""

import csv
import json
import os
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow.parquet
import pytest
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import StratifiedKFold

from classify.calibration import fit_temperature, reliability, softmax
from classify.classifier import read_classifier
from classify.fitting import fit_chosen
from classify.heads import HeadOptions, fit_head, make_head
from classify.rows import TrainingRows, draw_folds
from classify.scoring import score
from classify.search import logits_of
from classify.training import train
from extract import embed
from extract.decode import decode
from extract.store import open_store


@pytest.fixture(scope="module")
def cats_or_dogs(real_stores, tmp_path_factory):
    return train(real_stores["cats_vs_dogs"], tmp_path_factory.mktemp("trained") / "cats_vs_dogs.onnx")


@pytest.fixture(scope="module")
def scored(cats_or_dogs, shared, tmp_path_factory):
    output = tmp_path_factory.mktemp("scored") / "val.csv"
    return score(shared("images/cats_vs_dogs/val"), cats_or_dogs.path, output, top=2)


def some_of(folder: Path, to: Path, counts: dict[str, int]) -> Path:
    """Copy the first photos of each class."""
    for name, count in counts.items():
        (to / name).mkdir(parents=True)
        for photo in islice(sorted((folder / name).iterdir()), count):
            shutil.copy(photo, to / name)
    return to


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_cats_and_dogs_are_told_apart(cats_or_dogs):
    found = cats_or_dogs.evaluation
    print(f"cats_vs_dogs: accuracy {found.accuracy:.4f}, log loss {found.log_loss:.4f}, {cats_or_dogs.seconds:.1f} s")
    assert (cats_or_dogs.trained_images, found.images) == (799, 400)
    assert cats_or_dogs.split.left_out == 1, "dogs/dog.74.jpg of train is dogs/dog.180.jpg of val"
    assert cats_or_dogs.judged_on == "the val split of the images"
    assert found.accuracy >= 0.99
    assert found.log_loss <= 0.02


def test_scoring_the_photos_gives_the_same_figures(scored, cats_or_dogs):
    assert (scored.inputs, scored.failed, scored.labelled) == (400, 0, 400)
    assert scored.agreeing / scored.labelled == pytest.approx(cats_or_dogs.evaluation.accuracy, abs=0.003)
    table = rows(scored.output)
    of_label = [
        float(row["probability"] if row["label"] == row["path"].split("/")[0] else row["probability_2"])
        for row in table
    ]
    assert -np.log(of_label).mean() == pytest.approx(cats_or_dogs.evaluation.log_loss, abs=0.002)


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_every_format_says_the_same(scored, cats_or_dogs, real_stores, shared, tmp_path, suffix):
    output = score(shared("images/cats_vs_dogs/val"), cats_or_dogs.path, tmp_path / f"val{suffix}", top=2).output
    if suffix == ".jsonl":
        found = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    else:
        found = pyarrow.parquet.read_table(output).to_pylist()
    assert [{name: str(value) for name, value in row.items()} for row in found] == rows(scored.output)


def test_plain_onnxruntime_gives_the_same_probabilities(scored, cats_or_dogs, shared):
    session = onnxruntime.InferenceSession(os.fspath(cats_or_dogs.path), providers=["CPUExecutionProvider"])
    classes = json.loads(session.get_modelmeta().custom_metadata_map["headstart"])["classes"]
    assert classes == ["cats", "dogs"]
    rule = read_classifier(cats_or_dogs.path).model.rule
    table = rows(scored.output)[::10]
    folder = shared("images/cats_vs_dogs/val")
    pixels = np.stack([decode((folder / row["path"]).read_bytes(), rule) for row in table])
    (probabilities,) = session.run(["probabilities"], {"image": pixels})
    for row, found in zip(table, probabilities, strict=True):
        expected = {row["label"]: float(row["probability"]), row["label_2"]: float(row["probability_2"])}
        assert dict(zip(classes, found.tolist(), strict=True)) == pytest.approx(expected, abs=1e-5)
        assert row["label"] == classes[found.argmax()]


def test_the_file_gives_what_scikit_learn_gives(cats_or_dogs, real_stores):
    store = open_store(real_stores["cats_vs_dogs"])
    embeddings = store.embeddings()
    cooled = cats_or_dogs.head.predict_proba(embeddings) ** (1 / cats_or_dogs.calibration.temperature)
    expected = cooled / cooled.sum(axis=1, keepdims=True)
    found = cats_or_dogs.classifier.probabilities(embeddings)
    assert np.abs(expected - found).max() <= 1e-5
    assert np.array_equal(expected.argmax(axis=1), found.argmax(axis=1))


def test_flowers_in_five_folds(real_stores):
    store = open_store(real_stores["flowers"])
    x, y = store.embeddings(), store.labels
    assert (len(x), store.classes) == (2500, ["daisy", "dandelion", "rose", "sunflower", "tulip"])
    options = HeadOptions()
    figures = []
    for train_rows, test_rows in StratifiedKFold(5, shuffle=True, random_state=0).split(x, y):
        head = fit_head(make_head("logreg", options), x[train_rows], y[train_rows], options)
        probabilities, labels = head.predict_proba(x[test_rows]), y[test_rows]
        figures.append((accuracy_score(labels, probabilities.argmax(axis=1)), log_loss(labels, probabilities)))
    accuracy, loss = np.mean(figures, axis=0)
    print(f"flowers, five folds: accuracy {accuracy:.4f}, log loss {loss:.4f}")
    assert accuracy >= 0.89
    assert loss <= 0.31


@pytest.mark.parametrize(("data", "head", "least"), [("flowers", "logreg", 0.87), ("cats_vs_dogs", "mlp", 0.97)])
def test_retraining_needs_the_stored_embeddings_alone(real_stores, tmp_path, data, head, least):
    result = train(real_stores[data], tmp_path / "again.onnx", head=head)
    figures = f"accuracy {result.evaluation.accuracy:.4f}, log loss {result.evaluation.log_loss:.4f}"
    print(f"{data}, {head}: {result.seconds:.1f} s, {figures} on {result.evaluation.images}")
    assert result.evaluation.accuracy >= least
    assert result.classifier.classes == open_store(real_stores[data]).classes


def test_untrained_weights_are_clearly_worse(export_real, real_backbone, shared, tmp_path):
    photos = some_of(shared("images/flowers"), tmp_path / "photos", dict.fromkeys(("daisy", "rose", "tulip"), 100))
    accuracy = {}
    for name, backbone in (("real", real_backbone), ("random", export_real("random"))):
        store, _ = embed(photos, backbone, tmp_path / f"{name}.h5")
        result = train(store, tmp_path / f"{name}.onnx", holdout=0.3)
        assert result.is_backbone_trained == (name == "real")
        accuracy[name] = result.evaluation.accuracy
    print(f"300 flowers of 3 kinds: {accuracy}")
    assert accuracy["real"] > accuracy["random"] + 0.1


def test_77_photos_train_and_score_without_any_warning(real_backbone, shared, headstart_run, tmp_path):
    photos = some_of(shared("images/cats_vs_dogs/train"), tmp_path / "photos", {"cats": 40, "dogs": 37})
    for arguments in (
        ("embed", photos, "--model", real_backbone, "-o", tmp_path / "photos.h5"),
        ("train", tmp_path / "photos.h5", "-o", tmp_path / "c.onnx"),
        ("score", photos, "--classifier", tmp_path / "c.onnx", "-o", tmp_path / "p.csv"),
    ):
        done = headstart_run(*arguments)
        warned = "warning: too few test images to judge 2 of 2 classes: " if arguments[0] == "train" else ""
        assert done.returncode == 0
        assert done.stderr.startswith(warned)
        assert done.stderr.count("\n") == bool(warned)
    assert len(rows(tmp_path / "p.csv")) == 77


def test_cats_and_dogs_are_no_flowers(real_stores, tmp_path):
    result = train(real_stores["flowers"], tmp_path / "flowers.onnx", false_alarms=0.05)
    others = open_store(real_stores["cats_vs_dogs"])
    marked = result.classifier.predictions(others.embeddings())[:, -1].mean()
    print(f"marked unknown: {marked:.1%} of cats and dogs, {result.unknown.measured:.1%} of held-out flowers")
    assert marked >= 0.99
    assert result.unknown.measured <= 0.08


def test_calibration_of_flowers_is_within_two_points(real_stores):
    store = open_store(real_stores["flowers"])
    found, labels = [], []
    for train_rows, test_rows in StratifiedKFold(5, shuffle=True, random_state=0).split(store.labels, store.labels):
        own = store.labels[train_rows]
        folds = draw_folds(own, np.random.default_rng(0).random(len(own)))
        rows = TrainingRows(store.embeddings(train_rows), own, folds, len(store.classes))
        search, head, _ = fit_chosen(rows, "logreg", HeadOptions())
        temperature = fit_temperature(search.logits, own).temperature
        found.append(softmax(logits_of(head, store.embeddings(test_rows)) / temperature))
        labels.append(store.labels[test_rows])
    pooled = reliability(np.concatenate(found), np.concatenate(labels))
    print(f"flowers, calibration error pooled over five folds: {pooled.error:.4f}")
    assert pooled.error <= 0.02
