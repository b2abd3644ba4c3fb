"""The promised metrics, on real weights and real photos.

All tests that need the real stores are in this file, because the worker that runs them first embeds 3,700 photos.
"""

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
from PIL import Image
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from bench.heads.unknown import flagged, subtypes, task_of
from bench.statistics.forecasts import forecast_errors
from headstart.classify.artifact.classifier import read_classifier
from headstart.classify.confidence.calibration import fit_temperature, reliability
from headstart.classify.evaluation.label_issues import find_label_issues
from headstart.classify.heads.fitting import fit_rows
from headstart.classify.heads.kinds import fit_head
from headstart.classify.heads.loss import softmax
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import logits_of, make_head
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.scoring.score import score
from headstart.classify.split.duplicates import find_duplicates
from headstart.classify.split.folds import draw_folds
from headstart.classify.training import train
from headstart.extract import embed
from headstart.extract.decoding.decode import decode
from headstart.extract.store.store import open_store


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


def test_cats_and_dogs_are_classified_correctly(cats_or_dogs):
    found = cats_or_dogs.evaluation
    print(f"cats_vs_dogs: accuracy {found.accuracy:.4f}, log loss {found.log_loss:.4f}, {cats_or_dogs.seconds:.1f} s")
    assert (cats_or_dogs.trained_images, found.images) == (799, 400)
    assert cats_or_dogs.split.left_out == 1, "dogs/dog.74.jpg of train is dogs/dog.180.jpg of val"
    assert cats_or_dogs.judged_on == "the val split of the images"
    assert found.accuracy >= 0.99
    assert found.log_loss <= 0.02


def test_scoring_the_photos_gives_the_same_metrics(scored, cats_or_dogs):
    assert (scored.inputs, scored.failed, scored.labelled) == (400, 0, 400)
    assert scored.agreeing / scored.labelled == pytest.approx(cats_or_dogs.evaluation.accuracy, abs=0.003)
    table = rows(scored.output)
    of_label = [
        float(row["probability"] if row["label"] == row["path"].split("/")[0] else row["probability_2"])
        for row in table
    ]
    assert -np.log(of_label).mean() == pytest.approx(cats_or_dogs.evaluation.log_loss, abs=0.002)


@pytest.fixture(scope="module")
def few(cats_or_dogs, shared, tmp_path_factory):
    """Score 40 photos: the formats do not depend on their number."""
    folder = tmp_path_factory.mktemp("few")
    some_of(shared("images/cats_vs_dogs/val"), folder / "photos", {"cats": 20, "dogs": 20})
    return folder / "photos", score(folder / "photos", cats_or_dogs.path, folder / "few.csv", top=2).output


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_every_format_has_the_same_rows(few, cats_or_dogs, tmp_path, suffix):
    photos, table = few
    output = score(photos, cats_or_dogs.path, tmp_path / f"few{suffix}", top=2).output
    if suffix == ".jsonl":
        found = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    else:
        found = pyarrow.parquet.read_table(output).to_pylist()
    assert [{name: str(value) for name, value in row.items()} for row in found] == rows(table)
    assert len(found) == 40


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


def test_the_file_and_scikit_learn_agree(cats_or_dogs, real_stores):
    store = open_store(real_stores["cats_vs_dogs"])
    embeddings = store.embeddings()
    cooled = cats_or_dogs.head.predict_proba(embeddings) ** (1 / cats_or_dogs.calibration.temperature)
    expected = cooled / cooled.sum(axis=1, keepdims=True)
    found = cats_or_dogs.classifier.probabilities(embeddings)
    assert np.abs(expected - found).max() <= 1e-5
    assert np.array_equal(expected.argmax(axis=1), found.argmax(axis=1))


def test_five_fold_accuracy_of_flowers(real_stores):
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
def test_retraining_needs_only_the_stored_embeddings(real_stores, tmp_path, data, head, least):
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


def test_77_photos_train_and_score_with_one_warning(real_backbone, shared, headstart_run, tmp_path):
    photos = some_of(shared("images/cats_vs_dogs/train"), tmp_path / "photos", {"cats": 40, "dogs": 37})
    for arguments in (
        ("embed", photos, "--model", real_backbone, "-o", tmp_path / "photos.h5"),
        ("train", tmp_path / "photos.h5", "-o", tmp_path / "c.onnx"),
        ("score", photos, "--classifier", tmp_path / "c.onnx", "-o", tmp_path / "p.csv"),
    ):
        done = headstart_run(*arguments)
        warned = "warning: too few test images to evaluate 2 of 2 classes: " if arguments[0] == "train" else ""
        assert done.returncode == 0
        assert done.stderr.startswith(warned)
        assert done.stderr.count("\n") == bool(warned)
    assert len(rows(tmp_path / "p.csv")) == 77


def test_cats_and_dogs_are_unknown_to_a_flower_classifier(real_stores, tmp_path):
    result = train(real_stores["flowers"], tmp_path / "flowers.onnx", false_alarms=0.05)
    others = open_store(real_stores["cats_vs_dogs"])
    flagged = result.classifier.predictions(others.embeddings())[:, -1].mean()
    print(f"flagged unknown: {flagged:.1%} of cats and dogs, {result.unknown.measured:.1%} of held-out flowers")
    assert flagged >= 0.99
    assert result.unknown.measured <= 0.08


def test_known_classes_from_elsewhere_stay_known_and_other_things_do_not(real_stores, real_backbone):
    """By the distance to nearest neighbours, half of the noisy flowers and 21 % of the subtypes would be flagged."""
    stores = {name: open_store(path) for name, path in real_stores.items()}
    tasks = {name: task_of(store, real_backbone, ("noisy", "all by chance")) for name, store in stores.items()}
    for (name, task), other in zip(tasks.items(), reversed(stores.values()), strict=True):
        shown = task.shown | {"far": (other.embeddings()[::3], None)}
        shares = {kind: marks.mean() for kind, marks in flagged(task, 400, shown).items()}
        print(f"{name}: " + ", ".join(f"{kind} {share:.1%}" for kind, share in shares.items()))
        assert shares["false alarms"] <= 0.08
        assert shares["all by chance"] <= 0.15
        assert shares["noisy"] <= 0.35
        assert shares["far"] >= 0.97
    left_out = np.concatenate([*subtypes(tasks["cats_vs_dogs"])]).mean()
    print(f"subtypes of cats and dogs {left_out:.1%}")
    assert left_out <= 0.18


def test_calibration_of_flowers_is_within_two_points(real_stores):
    store = open_store(real_stores["flowers"])
    found, labels = [], []
    for train_rows, test_rows in StratifiedKFold(5, shuffle=True, random_state=0).split(store.labels, store.labels):
        own = store.labels[train_rows]
        folds = draw_folds(own, np.random.default_rng(0).random(len(own)))
        rows = TrainingRows(store.embeddings(train_rows), own, folds, len(store.classes))
        search, head, _ = fit_rows(rows, "logreg", HeadOptions())
        temperature = fit_temperature(search.logits, own).temperature
        found.append(softmax(logits_of(head, store.embeddings(test_rows)) / temperature))
        labels.append(store.labels[test_rows])
    pooled = reliability(np.concatenate(found), np.concatenate(labels))
    print(f"flowers, calibration error pooled over five folds: {pooled.error:.4f}")
    assert pooled.error <= 0.02


def test_flipped_labels_of_real_flowers_are_found(real_stores):
    """25 of 2,500 labels are flipped at random, with three seeds."""
    pytest.importorskip("cleanlab")
    store = open_store(real_stores["flowers"])
    vectors, hits = store.embeddings(), []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        labels = store.labels.copy()
        flips = rng.choice(len(labels), 25, replace=False)
        labels[flips] = (labels[flips] + rng.integers(1, 5, 25)) % 5
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        head = make_head("logreg", HeadOptions())
        probabilities = cross_val_predict(head, vectors, labels, cv=folds, method="predict_proba")
        first = find_label_issues(store, np.arange(len(labels)), labels, probabilities)[:40]
        hits.append(len({issue.row for issue in first} & set(flips.tolist())))
    assert np.mean(hits) >= 19.5, hits


def test_real_photos_saved_again_are_found(shared, real_backbone, real_stores, tmp_path):
    """20 identical copies and 20 saved again, smaller or more compressed, among all 2,500 flowers."""
    flowers = shared("images/flowers")
    folder, rng = tmp_path / "flowers", np.random.default_rng(0)
    shutil.copytree(flowers, folder)
    chosen = rng.permutation(sorted(path.relative_to(flowers).as_posix() for path in flowers.rglob("*.jpg")))[:40]
    for number, name in enumerate(chosen):
        copy = (folder / name).with_name(f"copy_{number:02}.jpg")
        if number < 20:
            shutil.copy(folder / name, copy)
            continue
        image, scale = Image.open(folder / name), rng.uniform(0.5, 0.8) if number % 3 else 1
        quality = int(rng.integers(50, 91)) if number % 3 != 1 else 95
        image.resize((round(image.width * scale), round(image.height * scale))).save(copy, quality=quality)
    shutil.copy(real_stores["flowers"], tmp_path / "flowers.h5")
    store, _ = embed(folder, real_backbone, tmp_path / "flowers.h5")
    found = find_duplicates(open_store(tmp_path / "flowers.h5"))
    numbers = dict(zip(store.paths, found.group_of_rows(len(store)).tolist(), strict=True))
    copies = {path: number for path, number in numbers.items() if "copy_" in path}
    is_found = [
        copies[next(p for p in copies if p.endswith(f"copy_{i:02}.jpg"))] == numbers[n] for i, n in enumerate(chosen)
    ]
    assert sum(is_found[:20]) == 20
    assert sum(is_found[20:]) >= 19
    assert sum(not any("copy_" in store.paths[row] for row in group.rows) for group in found.groups) <= 65
    assert max(len(group.rows) for group in found.groups) <= 5


def test_forecasts_for_twice_the_flowers_are_not_too_good(real_stores):
    accuracy, loss = np.concatenate([forecast_errors(open_store(real_stores["flowers"]), n, 10) for n in (250, 500)]).T
    assert abs(accuracy.mean()) < 0.006
    assert -0.008 < loss.mean() < 0.02
