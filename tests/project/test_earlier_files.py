"""Files that version 0.1 wrote: later versions must still open and use them.

`tests/fixtures/release_0_1` was written by the code of commit b0c4c22; its `expected.json` says what that code read
from these files, and gave for the photos. The files are never written anew: a new format gets a folder of its own.
"""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import headstart

RELEASE = Path(__file__).resolve().parents[1] / "fixtures" / "release_0_1"
EXPECTED = json.loads((RELEASE / "expected.json").read_text(encoding="utf-8"))
OF_PHOTOS = ["photos.h5", "photos_f32.h5", "photos.emb", "photos_views.h5"]
EMBEDDINGS = [*OF_PHOTOS, "photos_split.h5", "tuned.h5"]
TENSORS = ["tensors.h5", "tensors_views.h5"]
CLASSIFIERS = ["logreg.onnx", "mlp.onnx", "no_unknown.onnx", "views.onnx", "tuned_head.onnx"]
OPTIONS = headstart.EngineOptions(provider="cpu", workers=1)
IMAGES, FAILED, INTERRUPTED_AFTER = 17, 1, 9


@pytest.fixture
def files(tmp_path):
    """Give a copy of the files: stores are written next to, and the originals must stay as they are."""
    return shutil.copytree(RELEASE, tmp_path / "files")


def embed_again(files, name, output=None):
    """Embed what a store was made from, with the same settings, by default into the store itself.

    Of several views, the backbone is the one inside the store: a file of it has never existed.
    """
    said = EXPECTED[name]
    images, model, views = (said["made_from"][key] for key in ("images", "model", "views"))
    return headstart.embed(
        files / images, files / (model if views == 1 else name), output or files / name, dtype=said["dtype"],
        options=OPTIONS,
    )  # fmt: skip


def assert_as_expected(store, name, tolerance=2e-6):
    """Compare every row: its path, label, split and status, and its numbers by their mean (the first row, one by one).

    The default tolerance is that of `expected.json`, which has six decimals.
    """
    said = EXPECTED[name]
    assert len(store) == said["rows"]
    assert store.classes == said["classes"]
    assert store.paths == said["paths"]
    assert store.labels.tolist() == said["labels"]
    assert store.splits.tolist() == said["splits"]
    assert store.is_embedded.tolist() == said["is_embedded"]
    assert list(store.failures) == list(said["failures"])
    rows = store.embeddings(store.is_embedded)
    assert list(rows.shape[1:]) == said["shape"]
    np.testing.assert_allclose(rows[0].ravel()[: len(said["first_row"])], said["first_row"], atol=tolerance)
    np.testing.assert_allclose(row_means(rows), said["row_means"], atol=tolerance)


def row_means(rows):
    return rows.reshape(len(rows), -1).mean(axis=1, dtype=np.float64)


def score(images, classifier, folder):
    """Give the summary, and path -> line of the images that did not fail."""
    place = folder / "scored.jsonl"
    summary = headstart.score(images, classifier, place, options=OPTIONS)
    lines = map(json.loads, place.read_text(encoding="utf-8").splitlines())
    return summary, {line["path"]: line for line in lines if line["status"] == "ok"}


def assert_scored(lines, expected):
    assert list(lines) == list(expected)
    for path, said in expected.items():
        line = lines[path]
        found = {line[f"label{place}"]: line[f"probability{place}"] for place in ("", "_2", "_3")}
        assert found == pytest.approx(said["probabilities"], abs=1e-4)
        assert (line["label"], line.get("unknown")) == (said["label"], said.get("unknown"))
        assert line.get("distance", 0) == pytest.approx(said.get("distance", 0), abs=1e-4)


def read_table(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assert_same_tables(table, expected):
    """Compare predictions: numbers nearly, other columns exactly, but for the wording of a reason."""
    assert [list(row) for row in table] == [list(row) for row in expected]
    for found, said in zip(table, expected, strict=True):
        for name, value in said.items():
            if value and name.startswith(("probability", "distance")):
                assert float(found[name]) == pytest.approx(float(value), abs=1e-4)
            elif name != "reason":
                assert found[name] == value


# Stores


@pytest.mark.parametrize("name", EMBEDDINGS + TENSORS)
def test_a_store_opens_as_it_was(name):
    store = headstart.open_store(RELEASE / name)
    assert_as_expected(store, name)
    assert store.failures == EXPECTED[name]["failures"]
    assert np.isnan(store.embeddings(~store.is_embedded)).all()


@pytest.mark.parametrize("name", EMBEDDINGS + TENSORS)
def test_embedding_the_same_photos_again_computes_nothing(name, files):
    """The folder was moved: photos are found again by their content, and rows of tensors by size and time."""
    for _ in range(2):
        store, run = embed_again(files, name)
        assert (run.computed, run.reused, run.removed) == (0, EXPECTED[name]["rows"], 0)
        assert_as_expected(store, name)


@pytest.mark.parametrize("name", EMBEDDINGS + TENSORS)
def test_embedding_anew_gives_the_same_numbers(name, files, tmp_path):
    store, run = embed_again(files, name, tmp_path / f"anew{Path(name).suffix}")
    assert run.computed == EXPECTED[name]["rows"]
    assert_as_expected(store, name, tolerance=5e-3)


@pytest.mark.parametrize("name", [*OF_PHOTOS, "tensors.h5"])
def test_a_photo_that_is_added_is_the_only_one_computed(name, files):
    known = (files / "photos/birch/001.jpg").read_bytes()
    (files / "photos/birch/new.jpg").write_bytes(known + b"\0")  # the same picture, but another file
    store, run = embed_again(files, name)
    assert (run.computed, run.reused, run.removed) == (1, IMAGES, 0)
    rows = [store.paths.index(f"birch/{photo}.jpg") for photo in ("001", "new")]
    np.testing.assert_allclose(*store.embeddings(np.array(rows)), atol=5e-3)


def test_an_interrupted_run_is_finished(files):
    stored = headstart.open_store(files / "interrupted.h5.parts")
    assert stored.paths == EXPECTED["photos.h5"]["paths"][:INTERRUPTED_AFTER]
    store, run = headstart.embed(files / "photos", files / "backbone.onnx", files / "interrupted.h5", options=OPTIONS)
    assert (run.computed, run.reused) == (IMAGES - INTERRUPTED_AFTER, INTERRUPTED_AFTER)
    assert_as_expected(store, "photos.h5", tolerance=5e-3)
    assert not (files / "interrupted.h5.parts").exists()


def test_a_backbone_of_as_many_views_gives_what_embedding_with_views_gave(files):
    """Users of `embed --views 2` export once, and embed into a new store."""
    headstart.export_backbone(files / "views2.onnx", weights=files / "backbone.onnx", views=2)
    store, _ = headstart.embed(files / "photos", files / "views2.onnx", files / "new.h5", options=OPTIONS)
    assert_as_expected(store, "photos_views.h5", tolerance=5e-3)


def test_the_plain_backbone_no_longer_continues_a_store_of_several_views(files):
    with pytest.raises(headstart.HeadstartError, match=r"holds rows of another model .*--model .*photos_views\.h5"):
        headstart.embed(files / "photos", files / "backbone.onnx", files / "photos_views.h5", options=OPTIONS)
    with pytest.raises(headstart.HeadstartError, match="headstart export --views 2"):
        headstart.embed(files / "photos", files / "backbone.onnx", files / "photos_views.h5", views=2)


def test_tensors_of_several_views_are_embedded_with_a_backbone_of_as_many(files):
    with pytest.raises(headstart.HeadstartError, match=r"headstart export --weights .*cut\.onnx --views 2"):
        headstart.embed(files / "tensors_views.h5", files / "cut.onnx", files / "carried.h5", options=OPTIONS)
    headstart.export_backbone(files / "cut2.onnx", weights=files / "cut.onnx", views=2)
    store, _ = headstart.embed(files / "tensors_views.h5", files / "cut2.onnx", files / "carried.h5", options=OPTIONS)
    assert store.paths == EXPECTED["tensors_views.h5"]["paths"]
    np.testing.assert_allclose(row_means(store.embeddings()), EXPECTED["carried_views"], atol=5e-3)


# Classifiers


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_is_read(name):
    said = EXPECTED[name]
    classifier = headstart.read_classifier(RELEASE / name)
    store = headstart.open_store(RELEASE / said["trained_on"])
    assert classifier.classes == said["classes"]
    expected = [list(row["probabilities"].values()) for row in said["scored_store"].values()]
    found = classifier.probabilities(store.embeddings(store.is_embedded))
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_scores_photos_as_it_did(name, files):
    summary, lines = score(files / "photos", files / name, files)
    assert (summary.inputs, summary.failed) == (IMAGES, FAILED)
    assert_scored(lines, EXPECTED[name]["scored_photos"])


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_scores_the_store_it_was_trained_on_as_it_did(name, files):
    _, lines = score(files / EXPECTED[name]["trained_on"], files / name, files)
    assert_scored(lines, EXPECTED[name]["scored_store"])


def test_predictions_are_the_same_table(files):
    headstart.score(files / "photos", files / "logreg.onnx", files / "again.csv", options=OPTIONS)
    assert_same_tables(read_table(files / "again.csv"), read_table(files / "predictions.csv"))


def test_an_interrupted_scoring_is_finished(files):
    headstart.score(files / "photos", files / "logreg.onnx", files / "interrupted.csv", options=OPTIONS)
    assert_same_tables(read_table(files / "interrupted.csv"), read_table(files / "predictions.csv"))
    assert not (files / "interrupted.csv.parts").exists()


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_is_judged_on_the_photos_that_it_has_not_seen(name):
    said = EXPECTED[name]
    found = headstart.evaluate(RELEASE / said["trained_on"], RELEASE / name)
    assert found.images == said["evaluation"]["images"]  # those held out when it was trained
    assert found.accuracy == pytest.approx(said["evaluation"]["accuracy"])
    assert found.log_loss == pytest.approx(said["evaluation"]["log_loss"], abs=1e-4)


# Training on earlier stores


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_a_store_can_be_trained_on(name, files):
    result = headstart.train(files / name, files / "new.onnx")
    assert result.classifier.classes == EXPECTED[name]["classes"]
    assert result.evaluation.images == 3
    summary, lines = score(files / "photos", files / "new.onnx", files)
    assert (summary.scored, summary.failed) == (IMAGES - FAILED, FAILED)
    right = [line["label"] == path.partition("/")[0] for path, line in lines.items() if "/" in path]
    assert sum(right) >= 14  # of 15 in class folders


def test_a_tuned_store_gives_the_head_that_was_tuned_with_it(files):
    """The backbone names the photos that it was tuned on, and carries its head."""
    result = headstart.train(files / "tuned.h5", files / "new.onnx")
    assert result.evaluation.log_loss == pytest.approx(EXPECTED["tuned_head.onnx"]["evaluation"]["log_loss"], abs=1e-4)
    embeddings = headstart.open_store(files / "tuned.h5").embeddings(np.arange(3))
    before = headstart.read_classifier(files / "tuned_head.onnx").probabilities(embeddings)
    np.testing.assert_allclose(result.classifier.probabilities(embeddings), before, atol=1e-4)


def test_training_again_takes_the_place_of_an_earlier_classifier(files):
    before = (files / "logreg.onnx").read_bytes()
    headstart.train(files / "photos.h5", files / "logreg.onnx")
    assert (files / "logreg.onnx").read_bytes() != before
    assert headstart.read_classifier(files / "logreg.onnx").classes == EXPECTED["logreg.onnx"]["classes"]
