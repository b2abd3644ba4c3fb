from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest

from headstart.classify.artifact.classifier import read_classifier
from headstart.classify.artifact.write import write_classifier
from headstart.classify.errors import ClassifierError, LabelError
from headstart.classify.evaluation.evaluate import compare_classifiers, evaluate
from headstart.classify.heads.options import HeadOptions
from headstart.classify.scoring.score import score
from headstart.classify.split.holdout import split_rows
from headstart.classify.training import train
from headstart.extract.store.store import open_store


def reversed_classes(result, store, to):
    """Write a trained classifier once more, with its classes in reverse order."""
    head, model = deepcopy(result.head), result.head[-1]
    head[-1].coef_, head[-1].intercept_ = model.coef_[::-1], model.intercept_[::-1]
    header = replace(store.header, classes=store.header.classes[::-1])
    write_classifier(to, head, replace(store, header=header))
    return to


def test_on_the_training_store_only_held_out_rows_are_evaluated(tiny_store, tiny_classifier):
    found = evaluate(tiny_store, tiny_classifier)
    assert (found.images, found.accuracy) == (12, 1)
    assert found.judged_on == "a hold-out of 20% by content, on which it was not trained"
    assert evaluate(open_store(tiny_store), tiny_classifier).log_loss == found.log_loss


def test_rows_that_the_backbone_was_tuned_on_are_not_evaluated(make_tuned_store, tiny_store, tmp_path):
    held_out = split_rows(open_store(tiny_store)).test
    store = make_tuned_store(held_out[::3])
    result = train(store, tmp_path / "classifier.onnx")
    found = evaluate(store, result.path)
    assert found.rows.tolist() == result.evaluation.rows.tolist()
    assert not set(found.rows.tolist()) & set(held_out[::3].tolist())


def changed(store, make_store, how):
    """Write a store again: with fewer rows, one more, another label, other paths, or all of it in one split."""
    rows, more = np.arange(len(store)), 0
    labels = [store.classes[code] for code in store.labels]
    if how == "removed":
        rows = rows[1:]
    elif how == "added":
        more = 1
    elif how == "relabelled":
        labels[0] = next(name for name in store.classes if name != labels[0])
    contents = [str(store.paths[row]) for row in rows] + ["new"] * more
    vectors = np.concatenate([store.embeddings(rows), np.ones((more, 16), np.float32)])
    return make_store(
        [*(labels[row] for row in rows), *["ash"] * more], vectors, contents=contents, name=f"{how}.h5",
        paths=[f"{how}/{row}.jpg" for row in range(len(contents))],
        splits=["test"] * len(contents) if how == "moved to test" else None,
    )  # fmt: skip


@pytest.mark.parametrize("how", ["removed", "added", "relabelled", "renamed", "moved to test"])
def test_no_training_image_is_evaluated_after_the_store_changed(clustered, make_store, tmp_path, how):
    store = clustered(90, spread=4.0)
    result = train(store, tmp_path / "classifier.onnx")
    trained = {store.rows.sha256[row].tobytes() for row in result.split.train}
    other = changed(store, make_store, how)
    found = evaluate(other, result.path, split="test" if how == "moved to test" else None)
    assert not trained & {other.rows.sha256[row].tobytes() for row in found.rows}
    assert found.images in (len(result.split.test) + (how == "added"), len(result.split.test) - 1)
    assert "that it was trained on, or duplicates of these" in found.judged_on


@pytest.mark.parametrize("seed", [0, 1])
def test_images_that_the_tail_has_seen_are_not_evaluated_with_another_seed(
    make_tuned_store, tiny_store, tmp_path, seed
):
    held_out = split_rows(open_store(tiny_store)).test
    store = open_store(make_tuned_store(held_out[::3], chose_epoch=held_out[1::3]))
    result = train(store, tmp_path / "classifier.onnx", options=HeadOptions(seed=seed))
    for found in (result.evaluation, evaluate(store, result.path)):
        assert not set(found.rows.tolist()) & {*held_out[::3].tolist(), *held_out[1::3].tolist()}


def test_a_saved_copy_of_a_training_image_is_not_evaluated(clustered, make_store, tmp_path):
    store = clustered(90, spread=4.0)
    result = train(store, tmp_path / "classifier.onnx")
    row = int(result.split.train[0])
    labels = [store.classes[code] for code in store.labels]
    vectors = np.concatenate([store.embeddings(), 1.0001 * store.embeddings([row])])
    other = make_store([*labels, labels[row]], vectors, name="copied.h5")
    assert 90 not in evaluate(other, result.path).rows.tolist()


def test_a_classifier_that_does_not_name_its_images_is_used_with_a_warning(clustered, tmp_path):
    store = clustered(90, spread=4.0)
    result = train(store, tmp_path / "classifier.onnx")
    assert evaluate(store, result.path).warnings == []
    old = write_classifier(tmp_path / "old.onnx", result.head, store).model.source
    (warning,) = evaluate(store, old).warnings
    assert "does not say which images it was trained on" in warning


def test_copies_of_training_images_in_the_test_split_are_not_trained_on(make_store, clusters, tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 1, (300, 16)).astype(np.float32)
    vectors[200:] = vectors[:100]
    labels = [("ash", "birch")[code] for code in rng.integers(0, 2, 200)]
    contents, splits = [*range(200), *range(100)], ["train"] * 150 + ["val"] * 50 + ["test"] * 100
    store = make_store([*labels, *labels[:100]], vectors, contents=contents, splits=splits)
    result = train(store, tmp_path / "classifier.onnx")
    assert set(result.split.train.tolist()) == set(range(100, 150))
    found = evaluate(store, result.path, split="test")
    assert found.images == 100
    assert 0.35 < found.accuracy < 0.65


def test_two_classifiers_are_compared_on_images_that_neither_has_seen(clustered, tmp_path):
    store = clustered(300, spread=5.0)
    new, old = (train(store, tmp_path / f"{seed}.onnx", options=HeadOptions(seed=seed)) for seed in (0, 1))
    both = set(new.split.test.tolist()) & set(old.split.test.tolist())
    assert compare_classifiers(store, evaluate(store, new.path), new.path, old.path).images == len(both) > 0


def test_on_another_store_every_labelled_and_embedded_row_is_evaluated(
    draw_photos, tiny_backbone, tiny_classifier, tmp_path
):
    from headstart.extract import embed

    photos = draw_photos(tmp_path / "photos", {"ash": 5, "birch": 5, "cedar": 5}, seed=1)
    (photos / "ash" / "broken.png").write_bytes(b"no image")
    (photos / "ash" / "000.png").rename(photos / "stray.png")
    found = evaluate(embed(photos, tiny_backbone, tmp_path / "photos.h5")[0], tiny_classifier)
    assert (found.images, found.accuracy, found.judged_on) == (14, 1, "every labelled image")


@pytest.mark.parametrize("form", ["h5", "emb"])
@pytest.mark.parametrize("chosen", [{}, {"holdout": 0.4, "options": HeadOptions(seed=3)}])
def test_a_store_gives_the_metrics_of_its_training(clustered, tmp_path, form, chosen):
    store = clustered(90, spread=4.0, name=f"made.{form}")
    result = train(store, tmp_path / "classifier.onnx", **chosen)
    trained, again = result.evaluation, evaluate(store, result.path)
    assert 0.4 < again.accuracy < 1
    assert (again.images, again.accuracy, again.classes) == (trained.images, trained.accuracy, trained.classes)
    assert again.confusion.tolist() == trained.confusion.tolist()
    assert {mistake.path for mistake in again.mistakes} == {mistake.path for mistake in trained.mistakes}
    assert again.log_loss == pytest.approx(trained.log_loss, abs=1e-6)
    assert again.judged_on == f"{result.judged_on}, on which it was not trained"


def test_one_split_can_be_evaluated_alone(clustered, tmp_path):
    store = clustered(90, splits=["train"] * 30 + ["val"] * 30 + ["test"] * 30)
    path = train(store, tmp_path / "classifier.onnx").path
    assert [evaluate(store, path, split=name).images for name in ("train", "val", "test", None)] == [30, 30, 30, 30]
    assert evaluate(store, path).judged_on == "the val split of the images, on which it was not trained"
    assert evaluate(store, path, split="test").judged_on == "the test split"
    with pytest.raises(LabelError, match="unknown split 'holdout'; expected one of train, val, test"):
        evaluate(store, path, split="holdout")


def test_files_with_two_labels_are_reported_and_left_out(clustered, tmp_path):
    splits = ["train"] * 30 + ["val"] * 30 + ["test"] * 30
    plain = clustered(90, splits=splits)
    path = train(plain, tmp_path / "classifier.onnx").path
    other = int(np.flatnonzero(plain.labels != plain.labels[40])[-1])  # a photo of the test split
    contents = [str(row) if row != other else "40" for row in range(90)]
    store = clustered(90, splits=splits, contents=contents, name="doubtful.h5")
    for split, images, lost in (("train", 30, 0), ("val", 29, 1), ("test", 29, 1), (None, 88, 2)):
        found = evaluate(store, path, split=split)
        less = f", less {lost} whose bytes also have another label" if lost else ""
        assert (found.images, found.judged_on) == (
            images,
            (f"the {split} split" if split else "every labelled image") + less,
        )


def test_a_split_without_images_is_rejected(tiny_store, tiny_classifier):
    with pytest.raises(LabelError, match="found no labelled images of the split 'test' to evaluate on"):
        evaluate(tiny_store, tiny_classifier, split="test")


def test_evaluate_finds_what_train_reported(clustered, tmp_path):
    store = clustered(90, splits=["train"] * 60 + ["val"] * 30, spread=4.0)
    result = train(store, tmp_path / "classifier.onnx")
    again = evaluate(store, result.path, split="val")
    assert 0.4 < again.accuracy < 1
    assert (again.accuracy, [m.path for m in again.mistakes]) == (
        result.evaluation.accuracy,
        [m.path for m in result.evaluation.mistakes],
    )
    assert again.log_loss == pytest.approx(result.evaluation.log_loss, abs=1e-6)


def test_a_store_without_labels_is_rejected(make_store, tiny_classifier):
    with pytest.raises(LabelError, match="found no labelled images to evaluate on"):
        evaluate(make_store([None, None]), tiny_classifier)


def test_a_store_of_another_backbone_is_rejected(make_backbone, tiny_photos, tiny_classifier, tmp_path):
    from headstart.extract import embed

    store, _ = embed(tiny_photos, make_backbone(tmp_path / "other.onnx", seed=1), tmp_path / "other.h5")
    with pytest.raises(ClassifierError, match=r"other\.h5: its embeddings come from backbone .* was trained on"):
        evaluate(store, tiny_classifier)


def test_a_class_that_the_classifier_does_not_know_is_named(make_store, tiny_classifier):
    with pytest.raises(ClassifierError, match=r"class 'fir', which .* does not know \(it knows ash, birch, cedar\)"):
        evaluate(make_store(["ash", "fir"]), tiny_classifier)


def test_a_store_with_some_of_the_classes_is_evaluated(make_store, tiny_store, tiny_classifier):
    known = open_store(tiny_store)
    rows = np.flatnonzero(known.is_embedded & (known.labels == 2))
    found = evaluate(make_store(["cedar"] * len(rows), known.embeddings(rows)), tiny_classifier)
    assert (found.accuracy, found.confusion.tolist()) == (1, [[0, 0, 0], [0, 0, 0], [0, 0, len(rows)]])


# One classifier against another.


@pytest.fixture
def rivals(clustered, make_store, tmp_path):
    """A hard store, a classifier of it, and one whose store had fewer images and other paths."""
    store = clustered(300, spread=5.0)
    few = np.arange(24)
    names = [store.classes[code] for code in store.labels[few]]
    other = make_store(names, store.embeddings(few), contents=[f"other {row}" for row in few], name="few.h5")
    return store, *(train(rows, tmp_path / name).path for rows, name in ((store, "new.onnx"), (other, "old.onnx")))


def test_a_classifier_does_no_better_than_itself(rivals):
    store, path, _ = rivals
    found = compare_classifiers(store, evaluate(store, path), path, path)
    assert (found.images, found.wins, found.losses, found.p_value) == (60, 0, 0, 1)
    assert found.accuracy_difference == found.log_loss_difference == 0
    assert found.verdict.startswith("no difference on these 60 images")


def test_classifiers_are_compared_on_images_that_the_new_one_has_not_seen(rivals):
    store, new, old = rivals
    judged = evaluate(store, new)
    found = compare_classifiers(str(store.location), judged, new, old)
    assert (found.images, found.accuracy_new) == (60, judged.accuracy)
    assert found.accuracy_old == np.mean(
        read_classifier(old).probabilities(store.embeddings(judged.rows)).argmax(axis=1) == store.labels[judged.rows]
    )
    assert found.wins - found.losses == round(60 * found.accuracy_difference) > 0
    assert found.log_loss_interval[0] < found.log_loss_difference < found.log_loss_interval[1]


def test_the_classes_may_be_in_another_order(rivals, tmp_path):
    store, new, old = rivals
    turned = reversed_classes(train(store, tmp_path / "same.onnx"), store, tmp_path / "turned.onnx")
    judged, on_all = evaluate(store, new), evaluate(store, turned)
    assert read_classifier(turned).classes == ["cedar", "birch", "ash"]
    for found in (compare_classifiers(store, judged, new, turned), compare_classifiers(store, on_all, turned, new)):
        assert (found.wins, found.losses) == (0, 0)
    assert compare_classifiers(store, on_all, turned, old).accuracy_old == evaluate(store, old).accuracy


def test_a_store_of_some_of_the_classes_is_compared_on_them(rivals, make_store):
    store, new, old = rivals
    rows = np.flatnonzero(store.labels == 2)
    contents = [f"some {row}" for row in rows]
    some = make_store(["cedar"] * len(rows), store.embeddings(rows), contents=contents, name="some.h5")
    found = compare_classifiers(some, evaluate(some, new), new, old)
    probabilities = read_classifier(old).probabilities(store.embeddings(rows))
    assert found.accuracy_old == (probabilities.argmax(axis=1) == 2).mean()


def test_a_classifier_of_other_classes_is_rejected(rivals, clustered, tmp_path):
    store, path, _ = rivals
    fir = train(clustered(60, ["ash", "birch", "fir"], name="fir.h5"), tmp_path / "fir.onnx").path
    with pytest.raises(
        ClassifierError, match=r"fir\.onnx: knows ash, birch, fir, but .*new\.onnx knows ash, birch, ced"
    ):
        compare_classifiers(store, evaluate(store, path), path, fir)


def test_a_classifier_of_another_backbone_is_rejected(
    make_backbone, tiny_photos, tiny_store, tiny_classifier, tmp_path
):
    from headstart.extract import embed

    other, _ = embed(tiny_photos, make_backbone(tmp_path / "b.onnx", seed=1), tmp_path / "other.h5")
    rival = train(other, tmp_path / "rival.onnx").path
    with pytest.raises(ClassifierError, match=r"its embeddings come from backbone .*rival\.onnx was trained on"):
        compare_classifiers(tiny_store, evaluate(tiny_store, tiny_classifier), tiny_classifier, rival)


@pytest.mark.parametrize("spelled", ["ash ", " ash", "ash\u200b", "\u00a0ash"])
def test_class_names_in_the_spelling_of_earlier_stores_are_the_same_classes(make_store, tiny_store, spelled, tmp_path):
    known, path = open_store(tiny_store), tmp_path / "old.onnx"
    rows = np.flatnonzero(known.is_embedded & (known.labels >= 0))
    labels = [known.classes[code].replace("ash", spelled) for code in known.labels[rows]]
    old = make_store(labels, known.embeddings(rows), name="old.h5")
    new = train(tiny_store, tmp_path / "new.onnx").path
    train(old, path)
    found = evaluate(old, new)
    assert (found.images, found.accuracy) == (len(rows), 1)
    other = make_store(
        [known.classes[code] for code in known.labels[rows]], known.embeddings(rows), contents=rows.tolist()
    )
    found = evaluate(other, path)
    assert (found.images, found.accuracy) == (len(rows), 1)
    assert compare_classifiers(other, found, path, new).accuracy_difference == 0
    scored = score(old.location, new, tmp_path / "predictions.csv")
    assert (scored.labelled, scored.agreeing) == (len(rows), len(rows))
