"""Training on every labelled image: by cross-validation, or by a refit after the hold-out's evaluation."""

import json
from dataclasses import replace

import numpy as np
import pytest

from headstart.classify.artifact.classifier import read_classifier
from headstart.classify.errors import HeadError, LabelError
from headstart.classify.evaluation.evaluate import compare_classifiers, evaluate
from headstart.classify.heads import fitting, tuned
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import HEADS
from headstart.classify.labels.join import join_labels
from headstart.classify.labels.options import LabelOptions
from headstart.classify.split.holdout import whole_split
from headstart.classify.training import train
from headstart.extract.store.store import open_store


@pytest.mark.parametrize("head", HEADS)
def test_cross_validation_evaluates_each_image_once_and_trains_on_all(clustered, tmp_path, head):
    store = clustered(60, splits=["train"] * 40 + ["val"] * 10 + ["test"] * 10)
    result = train(store, tmp_path / "c.onnx", head=head, folds=3)
    assert result.evaluation.rows.tolist() == list(range(60))
    assert (result.trained_images, result.measured_images, result.is_refitted) == (60, 40, True)
    assert result.judged_on == "3-fold cross-validation of every labelled image"
    assert result.evaluation.accuracy > 0.95


def test_folds_learn_the_classes_of_every_split(clustered, tmp_path):
    store = clustered(90, splits=[["train", "train", "val"][row % 3] for row in range(90)])
    assert train(store, tmp_path / "c.onnx", refit=True).classifier.classes == ["ash", "birch"]
    result = train(store, tmp_path / "c.onnx", folds=3, min_photos=30)
    assert result.classifier.classes == ["ash", "birch", "cedar"]
    assert result.evaluation.images == 90
    assert not any("not learned" in warning for warning in result.warnings)


def test_no_image_is_predicted_by_a_head_that_saw_it_or_a_duplicate(make_store, tmp_path):
    rng = np.random.default_rng(0)
    photos, labels = rng.normal(0, 1, (60, 16)).astype(np.float32), rng.permutation(["ash", "birch"] * 30)
    contents = [*range(60), *range(60)]  # each twice
    store = make_store([*labels, *labels], np.concatenate([photos, photos]), contents=contents)
    result = train(store, tmp_path / "c.onnx", folds=5)
    assert result.evaluation.images == 120
    assert 0.2 < result.evaluation.accuracy < 0.75, "labels drawn at random cannot be predicted"
    assert (result.head.predict(store.embeddings()) == store.labels).mean() > result.evaluation.accuracy


def test_label_mistakes_are_looked_for_among_all_images(clustered, make_store, tmp_path):
    sound = clustered(120)
    labels = [sound.classes[code] for code in sound.labels]
    wrong = list(range(0, 120, 13))
    for row in wrong:
        labels[row] = sound.classes[(sound.labels[row] + 1) % 3]
    store = make_store(labels, sound.embeddings(), name="wrong.h5")
    result = train(store, tmp_path / "c.onnx", folds=4, suspects=True)
    assert {issue.row for issue in result.label_issues} == set(wrong)
    assert {mistake.path for mistake in result.evaluation.mistakes} == {f"{row:05}.jpg" for row in wrong}


def test_a_refit_changes_the_head_but_not_the_figures(clustered, tmp_path):
    store = clustered(200, spread=3.0)
    plain, again = (train(store, tmp_path / f"{refit}.onnx", refit=refit) for refit in (False, True))
    for name in ("images", "accuracy", "log_loss"):
        assert getattr(plain.evaluation, name) == getattr(again.evaluation, name)
    assert plain.search.chosen == again.search.chosen
    assert (plain.trained_images, again.trained_images) == (plain.measured_images, 200)
    assert not np.allclose(plain.head[-1].coef_, again.head[-1].coef_)
    assert again.unknown.measured == plain.unknown.measured
    metadata = read_classifier(again.path).model.metadata
    assert (metadata["trained_on"]["images"], metadata["trained_on"]["refitted"]) == (200, True)
    assert metadata["measured"]["trained_images"] == plain.trained_images
    assert metadata["measured"]["accuracy"] == plain.evaluation.accuracy


def test_warnings_are_about_the_figures_and_not_the_refit(clustered, make_store, tmp_path):
    rows = [*range(90), *range(5), 85]
    store = clustered(90)
    labels = [store.classes[store.labels[row]] for row in rows]
    labels[95] = store.classes[(store.labels[85] + 1) % 3]
    splits = ["train"] * 75 + ["val"] * 15 + ["val"] * 6
    store = make_store(labels, store.embeddings()[rows], contents=rows, splits=splits, name="copies.h5")
    plain, again = (train(store, tmp_path / "c.onnx", refit=refit).warnings for refit in (False, True))
    assert again == plain
    assert any("5 training images were left out" in one for one in again)
    assert any("2 images of the split were left out of the evaluation" in one for one in again)
    assert not any("not independent" in one for one in train(store, tmp_path / "c.onnx", folds=3).warnings)


@pytest.mark.parametrize("settings", [{"refit": True}, {"folds": 4}])
def test_no_image_of_the_store_counts_as_unseen_afterwards(clustered, tmp_path, settings):
    store = clustered(80)
    result = train(store, tmp_path / "all.onnx", **settings)
    expected = r"all\.onnx was not trained on: after its evaluation \(accuracy [01]\.\d{4}, log loss .* fitted on all"
    with pytest.raises(LabelError, match=expected):
        evaluate(store, result.path)
    older = train(store, tmp_path / "older.onnx")
    with pytest.raises(LabelError, match="was trained on all of these"):
        compare_classifiers(store, evaluate(store, older.path), older.path, result.path)


def test_new_photos_in_the_store_are_unseen(clustered, make_store, clusters, tmp_path):
    store = clustered(60)
    result = train(store, tmp_path / "c.onnx", refit=True)
    vectors, codes = clusters(90, 3)
    vectors[:60] = store.embeddings()
    more = make_store([store.classes[code] for code in codes], vectors, name="more.h5")
    found = evaluate(more, result.path)
    assert found.rows.tolist() == list(range(60, 90))
    assert "less 60 that it was trained on" in found.judged_on


def test_other_stores_are_cross_validated_on_the_same_images(clustered, make_store, tmp_path):
    store = clustered(90)
    labels = [store.classes[code] for code in store.labels]
    noise = np.random.default_rng(5).normal(0, 1, (90, 16)).astype(np.float32)
    other = make_store(labels, noise, name="noise.h5")
    result = train(store, tmp_path / "c.onnx", folds=3, compare=[other])
    assert result.baselines[1].images == 90
    assert result.baselines[1].accuracy < 0.7 < result.baselines[0].accuracy


def test_groups_of_the_users_are_in_one_fold_each(clustered, tmp_path):
    store = clustered(90)
    lines = ["path,camera", *(f"{path},camera {row % 7}" for row, path in enumerate(store.paths))]
    (tmp_path / "cameras.csv").write_text("\n".join(lines))
    joined, _ = join_labels(store, LabelOptions(labels=tmp_path / "cameras.csv", label_column="", group="camera"))
    whole, splits = tuned.cross_validated(joined, whole_split(joined), 3)
    assert sum(len(split.test) for split in splits) == len(whole.train) == 90
    for split in splits:
        assert not set((split.train % 7).tolist()) & set((split.test % 7).tolist())
    result = train(
        store, tmp_path / "c.onnx", folds=3, labels=tmp_path / "cameras.csv", label_column="", group="camera"
    )
    assert len(set(result.evaluation.groups.tolist())) == 7


def test_one_group_cannot_be_cross_validated(clustered):
    store = replace(clustered(30), groups=np.zeros(30, np.int64))
    with pytest.raises(LabelError, match="a class with images of two groups to cross-validate on"):
        tuned.cross_validated(store, whole_split(store), 3)


def test_images_that_a_tail_was_tuned_on_are_in_no_fold(clustered, monkeypatch):
    store = clustered(60)
    is_tuned = np.arange(60) < 20
    monkeypatch.setattr(tuned, "is_tuned_on", lambda _: is_tuned)
    monkeypatch.setattr(tuned, "is_seen_by_tail", lambda _: np.arange(60) < 30)
    whole, splits = tuned.cross_validated(store, whole_split(store), 5)
    assert sorted(np.concatenate([split.test for split in splits]).tolist()) == list(range(30, 60))
    assert all(set(range(30)) <= set(split.train.tolist()) for split in splits)
    assert whole.train[~whole.fresh].tolist() == list(range(20))
    monkeypatch.setattr(tuned, "is_seen_by_tail", lambda _: np.ones(60, bool))
    with pytest.raises(LabelError, match="that its backbone was not tuned on"):
        tuned.cross_validated(store, whole_split(store), 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"folds": 101}, "would train 101 times; give at most 100"),
        ({"folds": 1}, "at least 2; found 1"),
        ({"folds": 5, "refit": True}, "leave --refit out"),
        ({"folds": 5.5}, "a whole number of folds, at least 2; found 5.5"),
        ({"precision": "daisy=0.9"}, "such as {.daisy.: 0.98}, found .daisy=0.9."),
        ({"folds": 5, "holdout": 0.3}, "leave out --folds or --holdout"),
        ({"folds": 5, "split_by_time": True}, "leave out --folds or --split-by-time"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(clustered, tmp_path, settings, message):
    with pytest.raises(LabelError, match=message):
        train(clustered(), tmp_path / "c.onnx", **settings)


def test_a_large_store_is_cross_validated_by_passes(clustered, tmp_path):
    result = train(clustered(90), tmp_path / "c.onnx", folds=3, memory=3000.0)
    assert result.evaluation.images == 90
    assert sum("passes over the store" in warning for warning in result.warnings) >= 1


def test_the_command_says_what_it_did(clustered, tmp_path, headstart_run):
    command = ["train", clustered(60).location, "-o", tmp_path / "c.onnx"]
    assert "add --refit" in headstart_run(*command, check=True).stdout
    again = headstart_run(*command, "--folds", "3", check=True).stdout
    assert "by heads trained on 40 other images; the classifier is trained on all of them" in again
    found = json.loads(headstart_run(*command, "--refit", "--json", check=True).stdout)
    assert (found["is_refitted"], found["trained_images"], found["measured_images"]) == (True, 60, 48)


def test_a_head_that_was_tuned_with_its_tail_is_not_refitted(tuned_store, tmp_path, monkeypatch):
    store = open_store(tuned_store)
    layer = HEADS["logreg"].from_weights(
        np.eye(store.header.dim, 3, dtype=np.float32), np.zeros(3, np.float32), HeadOptions(), 10
    )
    monkeypatch.setattr(fitting, "tuned_head", lambda *_: layer)
    with pytest.raises(HeadError, match="tuned together with its backbone, and cannot be refitted"):
        train(store, tmp_path / "c.onnx", refit=True)
    assert not (tmp_path / "c.onnx").exists()
