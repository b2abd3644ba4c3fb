import numpy as np
import pytest

from headstart.classify import HeadOptions, TrainOptions, compare_classifiers, evaluate, train
from headstart.classify.errors import ClassifierError
from headstart.files.errors import HeadstartError, OptionError

SPECIES = ("oak", "elm", "fir")


@pytest.fixture
def store(clustered):
    """Give 180 photos whose own labels, of which there are two, say nothing about what the vectors show."""
    return clustered(180, spread=1.5, contents=range(180))


@pytest.fixture
def labels(store, tmp_path):
    """List what the vectors show, the camera and the day of each photo, and photos that are not in the store."""
    rows = [
        f"{path[:-4]},{SPECIES[row % 3]},cam{row // 3 % 12},2024-{row // 28 + 1:02}-{row % 28 + 1:02},{row // 60}"
        for row, path in enumerate(store.paths)
    ]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["id,species,camera,day,site", *rows, "x1,oak,cam1,2024-01-01,0"]))
    return path


def test_one_store_serves_many_tasks_and_stays_as_it_is(store, labels, tmp_path, contents_of):
    before = store.location.read_bytes()
    one = train(store, tmp_path / "one.onnx")
    two = train(store, tmp_path / "two.onnx", labels=labels)
    assert store.location.read_bytes() == before
    assert one.classifier.classes == ["ash", "birch", "cedar"]
    assert two.classifier.classes == sorted(SPECIES)
    assert (one.labels, two.labels.photos) == (None, 180)
    assert two.evaluation.accuracy > 0.9
    assert "1 rows of labels.csv name no photo of made.h5 ('x1')" in two.warnings


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"group": "camera"},
        {"group": "camera", "label_column": ""},
        {"split_by_time": True, "time": "day"},
        {"group": "camera", "split_by_time": True, "time": "day"},
        {"where": "site != 1", "group": "camera"},
    ],
)
def test_evaluate_repeats_the_split_of_the_training(store, labels, tmp_path, options):
    result = train(store, tmp_path / "c.onnx", labels=labels, holdout=0.3, **options)
    again = evaluate(store, tmp_path / "c.onnx", labels=labels)
    assert again.rows.tolist() == result.evaluation.rows.tolist()
    assert again.accuracy == pytest.approx(result.evaluation.accuracy)
    assert again.judged_on == f"{result.judged_on}, on which it was not trained"
    assert again.accuracy_interval == pytest.approx(result.evaluation.accuracy_interval)
    assert again.to_json()["labels"]["photos"] == result.labels.photos
    cameras = [{row // 3 % 12 for row in side} for side in (result.split.train, result.split.test)]
    assert not options.get("group") or not cameras[0] & cameras[1]
    if options.get("split_by_time") and "group" not in options:
        assert result.split.train.max() < result.split.test.min()
    if "where" in options:
        assert not {row // 60 for row in (*result.split.train, *result.split.test)} & {1}


def test_groups_widen_the_interval(store, labels, tmp_path):
    widths = [
        np.ptp(train(store, tmp_path / "c.onnx", labels=labels, **options).evaluation.accuracy_interval)
        for options in ({}, {"group": "camera"})
    ]
    assert widths[1] > 1.2 * widths[0]


def test_groups_decide_the_folds_too(store, labels, tmp_path):
    split = train(store, tmp_path / "c.onnx", labels=labels, group="camera").split
    folds = split.folds(store.labels[split.train])
    assert folds.max() == 4
    assert {len(set(folds[split.train // 3 % 12 == camera])) for camera in set(split.train // 3 % 12)} == {1}


def test_evaluate_without_the_list_names_it(store, labels, tmp_path):
    train(store, tmp_path / "c.onnx", labels=labels)
    with pytest.raises(ClassifierError, match=r"trained with labels of labels.csv; .* give that file with --labels"):
        evaluate(store, tmp_path / "c.onnx")
    train(store, tmp_path / "c.onnx", labels=labels, label_column="", group="camera")
    told = evaluate(store, tmp_path / "c.onnx").warnings
    assert any("give that file with --labels" in warning for warning in told)


def test_photos_in_a_group_with_trained_ones_are_not_unseen(make_store, store, labels, tmp_path):
    train(store, tmp_path / "c.onnx", labels=labels, group="camera")
    trained = {row // 3 % 12 for row in train(store, tmp_path / "d.onnx", labels=labels, group="camera").split.train}
    grown = make_store(
        ["ash"] * 192, paths=store.paths + [f"new{row:02}.jpg" for row in range(12)], name="grown.h5",
        contents=[*range(180), *(f"new {row}" for row in range(12))],
    )  # fmt: skip
    rows = [f"new{row:02},oak,cam{row},2024-12-01,0" for row in range(12)]
    labels.write_text(labels.read_text() + "\n" + "\n".join(rows))
    found = evaluate(grown, tmp_path / "c.onnx", labels=labels)
    new = {path for path in (grown.paths[row] for row in found.rows) if path.startswith("new")}
    assert new == {f"new{camera:02}.jpg" for camera in range(12) if camera not in trained}
    assert "in one group with these" in found.judged_on


def test_two_classifiers_are_compared_on_the_same_labels(store, labels, tmp_path):
    for name, strength in (("a", 1.0), ("b", 1e-4)):
        train(store, tmp_path / f"{name}.onnx", labels=labels, group="camera", options=HeadOptions(c=strength))
    evaluation = evaluate(store, tmp_path / "a.onnx", labels=labels)
    compared = compare_classifiers(store, evaluation, tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert compared.images == evaluation.images


def test_a_class_of_one_group_is_trained_on_and_told_of(store, labels, tmp_path):
    rows = [line.split(",") for line in labels.read_text().splitlines()]
    labels.write_text("\n".join(",".join([*r[:2], "own" if r[1] == "fir" else r[2], *r[3:]]) for r in rows))
    result = train(store, tmp_path / "c.onnx", labels=labels, group="camera")
    assert result.evaluation.confusion.sum(axis=1).tolist()[1] == 0
    assert any("all photos of 1 of 3 classes come from one group each: 'fir'" in said for said in result.warnings)


def test_a_class_that_is_only_in_the_latest_photos_cannot_be_learned(store, labels, tmp_path):
    rows = [line.split(",") for line in labels.read_text().splitlines()]
    labels.write_text("\n".join(",".join([r[0], "yew" if n > 175 else r[1], *r[2:]]) for n, r in enumerate(rows)))
    result = train(store, tmp_path / "c.onnx", labels=labels, time="day", split_by_time=True)
    assert result.classifier.classes == sorted(SPECIES)
    assert any("not learned, for want of training images: 'yew'" in said for said in result.warnings)
    assert evaluate(store, tmp_path / "c.onnx", labels=labels).rows.tolist() == result.evaluation.rows.tolist()


def test_other_backbones_are_compared_on_the_same_labels(store, clustered, labels, tmp_path):
    other = clustered(180, spread=3.0, name="other.h5", contents=range(180))
    result = train(store, tmp_path / "c.onnx", labels=labels, group="camera", compare=[other])
    assert [one.images for one in result.baselines] == [result.evaluation.images] * 3


@pytest.mark.parametrize(
    "settings", [{"time": "day"}, {"label_column": "species"}, {"labels": "gone.csv"}, {"where": "1 ="}]
)
def test_options_are_refused_before_anything_is_read(settings):
    with pytest.raises(HeadstartError):
        TrainOptions(**settings).check()
    with pytest.raises(OptionError):
        train("nowhere.h5", time="day")
