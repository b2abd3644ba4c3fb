import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from scipy.special import softmax

from headstart.classify.artifact.classifier import read_classifier
from headstart.classify.errors import ClassifyError, HeadError, LabelError
from headstart.classify.evaluation.evaluate import evaluate
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import HEADS
from headstart.classify.split.holdout import digest_of_rows
from headstart.classify.training import train
from headstart.extract.errors import StoreError
from headstart.extract.store.store import open_store
from headstart.files.errors import OutputError
from headstart.files.progress import Progress

NAMES = ["ash", "birch", "cedar"]

TRAIN_AND_EVALUATE = """
import sys
from headstart.classify.evaluation.evaluate import evaluate
from headstart.classify.training import train

evaluate(sys.argv[1], train(*sys.argv[1:]).path)
print(*sorted({"onnxruntime", "PIL", "scipy.stats", "sklearn", "tensorflow"} & set(sys.modules)))
"""


@pytest.mark.parametrize("head", HEADS)
def test_a_store_becomes_a_classifier(tiny_store, tmp_path, head):
    result = train(tiny_store, tmp_path / "classifier.onnx", head=head)
    assert result.path == tmp_path / "classifier.onnx"
    assert result.classifier.classes == read_classifier(result.path).classes == ["ash", "birch", "cedar"]
    assert result.trained_images + result.evaluation.images == 60
    assert result.judged_on == "a hold-out of 20% by content"
    assert result.evaluation.accuracy == 1
    assert result.is_backbone_trained
    assert result.head.predict_proba(open_store(tiny_store).embeddings(np.arange(1, 3))).shape == (2, 3)


def test_an_open_store_serves_like_its_path(tiny_store, tmp_path):
    for name, store in (("path.onnx", tiny_store), ("text.onnx", os.fspath(tiny_store)), ("open.onnx", None)):
        train(store or open_store(tiny_store), tmp_path / name)
    assert len({path.read_bytes() for path in tmp_path.glob("*.onnx")}) == 1


def test_the_rows_judged_are_not_trained_on(clustered, make_store, tmp_path):
    splits = ["train"] * 60 + ["val"] * 30
    store = clustered(90, splits=splits)
    vectors = store.embeddings()
    vectors[60:] = np.random.default_rng(1).normal(0, 9, (30, 16))
    other = make_store([store.classes[code] for code in store.labels], vectors, splits=splits, name="other.h5")
    result, changed = (train(each, tmp_path / f"{each.location.name}.onnx") for each in (store, other))
    np.testing.assert_allclose(result.head[-1].coef_, changed.head[-1].coef_, rtol=1e-3, atol=1e-4)
    assert result.evaluation.accuracy > changed.evaluation.accuracy
    assert (result.trained_images, result.evaluation.images) == (60, 30)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_share_held_out_can_be_chosen(clustered, tmp_path, share):
    result = train(clustered(600), tmp_path / "classifier.onnx", holdout=share)
    assert result.evaluation.images == 600 * share
    assert result.classifier.model.metadata["trained_on"]["holdout"] == share


@pytest.mark.parametrize("share", [-0.1, 0, 1, 1.5, float("nan")])
def test_a_share_out_of_range_is_refused(clustered, tmp_path, share):
    with pytest.raises(LabelError, match="the share to hold out must lie between 0 and 1"):
        train(clustered(), tmp_path / "classifier.onnx", holdout=share)


def test_where_it_came_from_is_written_down(tiny_store, tmp_path):
    options = HeadOptions(c=0.5, seed=3, class_weight="balanced")
    result = train(tiny_store, tmp_path / "classifier.onnx", options=options)
    said = json.loads(onnx.load(result.path).metadata_props[0].value)
    others = {"hidden": [256], "class_weight": "balanced", "seed": 3}
    assert said["head"] == {"name": "logreg", "c": 0.5, "scaling": "standardised", **others}
    assert said["trained_on"]["store"] == "photos.h5"
    assert said["trained_on"]["rows_sha256"] == digest_of_rows(open_store(tiny_store))
    assert said["trained_on"]["holdout"] == 0.2
    assert said["trained_on"]["images"] == result.trained_images
    assert said["trained_on"]["judged_on"] == result.judged_on
    assert set(said["trained_on"]["versions"]) == {"headstart", "scikit-learn", "numpy", "onnx"}
    assert said["measured"]["accuracy"] == result.evaluation.accuracy
    assert said["measured"]["log_loss"] == result.evaluation.log_loss


@pytest.mark.parametrize("column", ["labels", "contents", "splits", "paths"])
def test_the_digest_of_the_data_changes_with_each_column(make_store, tmp_path, column):
    labels = ["ash", "birch"] * 10
    changed = {
        "labels": ["birch", "ash"] * 10,
        "contents": [f"new {row}" for row in range(20)],
        "splits": ["train"] * 20,
        "paths": [f"new-{row:02}.jpg" for row in range(20)],
    }
    digests = []
    for name, columns in (("old.h5", {"labels": labels}), ("new.h5", {"labels": labels, column: changed[column]})):
        made = train(make_store(name=name, **columns), tmp_path / f"{name}.onnx", options=HeadOptions(c=1e-4))
        digests.append(made.classifier.model.metadata["trained_on"]["rows_sha256"])
    assert digests[0] != digests[1]


def test_class_weights_reach_the_head(clustered, clusters, make_store, tmp_path):
    vectors, codes = clusters(400, 2, spread=4.0)
    kept = np.flatnonzero((codes == 0) | (np.arange(400) % 16 == 1))
    store = make_store([("ash", "birch")[code] for code in codes[kept]], vectors[kept])
    recall = [
        train(store, tmp_path / f"{weight}.onnx", options=HeadOptions(class_weight=weight)).head.predict(vectors[kept])
        for weight in ("none", "balanced")
    ]
    assert (recall[1] == 1).sum() > (recall[0] == 1).sum()


@pytest.mark.parametrize("head", HEADS)
def test_a_seed_decides_hold_out_and_head(clustered, tmp_path, head):
    store = clustered(90)
    made = [
        train(store, tmp_path / f"{number}.onnx", head=head, options=HeadOptions(seed=seed)).path.read_bytes()
        for number, seed in enumerate((0, 0, 1))
    ]
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"head": "forest"}, HeadError, "unknown head 'forest'; expected one of logreg, mlp"),
        ({"options": HeadOptions(c=-1)}, HeadError, "C must be above 0"),
        ({"options": HeadOptions(seed=2**40)}, HeadError, "seed must lie between"),
        ({"output": "folder.onnx"}, OutputError, r"folder\.onnx: expected the name of a file to write, found a folder"),
        ({"output": "gone/c.onnx"}, OutputError, r"gone/c\.onnx: its folder .*gone does not exist"),
        ({"output": "c.bin"}, OutputError, r"c\.bin: expected a name that ends in \.onnx"),
        ({"store": "gone.h5"}, StoreError, r"gone\.h5: no such store"),
    ],
)
def test_what_cannot_be_used_is_said_and_nothing_is_written(tiny_store, tmp_path, contents_of, changed, error, message):
    (tmp_path / "folder.onnx").mkdir()
    chosen = {"store": tiny_store, "output": "c.onnx"} | changed
    chosen |= {name: tmp_path / chosen[name] for name in ("store", "output")}
    with pytest.raises(error, match=message):
        train(**chosen)
    assert contents_of(tmp_path) == {}


def test_a_folder_that_may_not_be_written_is_said_first(tiny_store, tmp_path, monkeypatch):
    def refuse(**_options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("headstart.files.atomic.tempfile.TemporaryFile", refuse)  # root may write everywhere
    with pytest.raises(OutputError, match=r"c\.onnx: cannot be written \(Permission denied\)"):
        train(tiny_store, tmp_path / "c.onnx")


def test_a_baseline_says_that_it_is_one(make_backbone, tiny_photos, tmp_path):
    from headstart.extract import embed

    weights = {"source": "random", "file": None, "sha256": None, "seed": 0, "trained": False}
    store, _ = embed(tiny_photos, make_backbone(tmp_path / "b.onnx", weights=weights), tmp_path / "photos.h5")
    assert not train(store, tmp_path / "c.onnx").is_backbone_trained


def test_neither_onnxruntime_nor_pillow_is_loaded(tiny_store, tmp_path):
    command = [sys.executable, "-c", TRAIN_AND_EVALUATE, tiny_store, tmp_path / "c.onnx"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# Copies.


@pytest.fixture
def with_copies(clusters, make_store):
    """90 images, with near copies of five of them: what is left of an image saved again."""

    def make(**columns):
        rng = np.random.default_rng(3)
        codes = (np.arange(90) % 3).astype(np.int32)
        originals = rng.normal(0, 1, (3, 16))[codes] + rng.normal(0, 1, (90, 16))
        vectors = np.concatenate([originals, originals[:5] + rng.normal(0, 1e-4, (5, 16))]).astype(np.float32)
        return make_store([NAMES[code] for code in [*codes, *codes[:5]]], vectors, **columns)

    return make


@pytest.mark.parametrize("seed", range(4))
def test_an_image_saved_again_is_on_the_side_of_the_first(with_copies, tmp_path, seed):
    result = train(with_copies(), tmp_path / "c.onnx", holdout=0.5, options=HeadOptions(c=0.1, seed=seed))
    assert [group.rows for group in result.duplicates.groups] == [[row, 90 + row] for row in range(5)]
    train_rows, test_rows = (set(side.tolist()) for side in (result.split.train, result.split.test))
    assert all({row, 90 + row} <= train_rows or {row, 90 + row} <= test_rows for row in range(5))
    assert evaluate(with_copies(name="same.h5"), result.path).rows.tolist() == result.split.test.tolist()
    fold = dict(zip(result.split.train.tolist(), result.search.rows.folds.tolist(), strict=True))
    assert all(fold.get(row) == fold.get(90 + row) for row in range(5))


def test_a_copy_of_an_image_to_judge_on_is_not_trained_on(with_copies, tmp_path):
    splits = ["val" if row < 30 else "train" for row in range(95)]
    result = train(with_copies(splits=splits), tmp_path / "c.onnx")
    assert result.split.train.tolist() == list(range(30, 90))
    assert (result.split.left_out, result.trained_images, result.evaluation.images) == (5, 60, 30)
    assert any(warning.startswith("5 training images were left out") for warning in result.warnings)


def test_an_image_of_two_labels_in_the_users_split_is_told_of_and_not_judged_on(clustered, make_store, tmp_path):
    plain = clustered(90)
    labels = [plain.classes[code] for code in plain.labels]
    splits = ["val" if row < 30 else "train" for row in range(90)]
    vectors = np.concatenate([plain.embeddings(), plain.embeddings(np.array([4]))])
    contents = [*range(90), 4]
    store = make_store([*labels, labels[5]], vectors, contents=contents, splits=[*splits, "val"], name="two.h5")
    result = train(store, tmp_path / "c.onnx")
    assert result.split.test.tolist() == [row for row in range(30) if row != 4]
    assert result.evaluation.images == 29
    assert any(
        warning.startswith("2 images of the split were left out of the evaluation") for warning in result.warnings
    )
    assert evaluate(store, result.path).rows.tolist() == result.split.test.tolist()


# Choosing, and what is told of it.


def test_the_chosen_setting_is_the_one_that_is_written(clustered, tmp_path):
    result = train(clustered(200, spread=5.0), tmp_path / "c.onnx", head="auto")
    said = result.classifier.model.metadata
    name, settings = result.search.chosen.head, result.search.chosen.settings
    assert said["head"] == {"name": name, **settings, "hidden": [256], "class_weight": "none", "seed": 0}
    assert type(result.head[-1]).__name__ == HEADS[name].estimator
    assert {candidate.head for candidate in result.search.candidates} == set(HEADS)


@pytest.mark.parametrize(
    ("head", "options"),
    [("logreg", {"c": 3e-3}), ("mlp", {"epochs": 3}), ("svm", {"c": 3e-3}), ("lda", {"shrinkage": 0.3})],
)
def test_a_setting_that_is_given_reaches_scikit_learn_and_the_file(clustered, tmp_path, head, options):
    result = train(clustered(60), tmp_path / "c.onnx", head=head, options=HeadOptions(**options))
    [(name, value)] = options.items()
    written = result.classifier.model.metadata["head"]
    assert written[name] == result.search.chosen.settings[name] == value
    parameter = {"c": "C", "epochs": "max_iter"}.get(name, name)
    assert result.head[-1].get_params()[parameter] == value
    assert not {"c", "epochs", "shrinkage"} & written.keys() - {name}


def test_probabilities_are_calibrated_where_there_are_images_enough(clustered, tmp_path):
    store = clustered(600, spread=8.0)
    result = train(store, tmp_path / "c.onnx", options=HeadOptions(c=100.0))
    temperature = result.calibration.temperature
    assert temperature > 1.05
    assert result.calibration.after.error < result.calibration.before.error
    assert result.classifier.model.metadata["calibration"]["temperature"] == temperature
    rows = store.embeddings(result.split.test)
    expected = softmax(result.head.predict_log_proba(rows) / temperature, axis=1)
    assert result.classifier.probabilities(rows) == pytest.approx(expected, abs=1e-5)
    assert result.evaluation.probabilities == pytest.approx(expected, abs=1e-5)


def test_few_images_calibrate_nothing(clustered, tmp_path):
    result = train(clustered(60), tmp_path / "c.onnx")
    assert result.calibration is None
    assert result.classifier.model.metadata["calibration"] == {"temperature": 1}


@pytest.mark.parametrize("head", HEADS)
def test_two_images_a_class_are_enough_to_train(clustered, tmp_path, head):
    result = train(clustered(6), tmp_path / "c.onnx", head=head, holdout=0.5)
    assert (result.trained_images, result.evaluation.images) == (3, 3)
    assert (result.calibration, result.unknown, result.learning_curve.forecast) == (None, None, None)
    assert result.search.candidates == []
    assert result.classifier.probabilities(np.zeros((1, 16), np.float32)).shape == (1, 3)


def test_how_many_known_images_are_marked_unknown_is_measured(clustered, tmp_path):
    store = clustered(600)
    result = train(store, tmp_path / "c.onnx", false_alarms=0.2)
    rows = store.embeddings(result.split.test)
    assert result.unknown.measured == pytest.approx(result.classifier.predictions(rows)[:, -1].mean(), abs=0.01)
    assert result.unknown.measured == pytest.approx(0.2, abs=0.1)
    assert result.classifier.model.metadata["thresholds"]["false_alarm_rate"] == 0.2


@pytest.mark.parametrize("share", [-0.1, 1, float("nan")])
def test_a_share_of_false_alarms_out_of_range_is_refused(clustered, tmp_path, share):
    with pytest.raises(LabelError, match="the share of false alarms must be at least 0 and below 1"):
        train(clustered(), tmp_path / "c.onnx", false_alarms=share)


def test_the_curve_grows_to_the_images_that_were_trained_on(clustered, tmp_path):
    result = train(clustered(300, spread=5.0), tmp_path / "c.onnx")
    images = [point.images for point in result.learning_curve.points]
    assert images == sorted(images)
    assert images[-1] == result.trained_images == 240
    assert result.learning_curve.points[-1].accuracy == pytest.approx(result.evaluation.accuracy, abs=0.02)
    assert result.learning_curve.forecast.images == 480


def test_warnings_are_of_this_store(clustered, tmp_path):
    assert train(clustered(300), tmp_path / "c.onnx").warnings == []
    few = train(clustered(30, name="few.h5"), tmp_path / "few.onnx").warnings
    assert [warning.split(":")[0] for warning in few] == [
        "too few test images to evaluate 3 of 3 classes",
        "so few training images do not show how sure to be",
    ]
    some = train(clustered(60, name="some.h5"), tmp_path / "some.onnx").warnings
    assert some[-1].startswith(
        "training images are too few to calibrate on (it takes 50 that can be held out, and 5 per class)"
    )


def test_each_step_is_told(clustered, tmp_path):
    stages: list[Progress] = []
    train(clustered(60), tmp_path / "c.onnx", progress=stages.append)
    expected = ["looking for duplicates", "searching and fitting", "evaluating", "writing"]
    assert [state.stage for state in stages] == expected


# Label mistakes, and the report.


def test_flipped_labels_are_suspected(clusters, make_store, tmp_path):
    pytest.importorskip("cleanlab")
    vectors, codes = clusters(200, 2)
    labels = codes.copy()
    flipped = [3, 40, 77, 120, 155]
    labels[flipped] = 1 - codes[flipped]
    store = make_store([NAMES[code] for code in labels], vectors)
    result = train(store, tmp_path / "c.onnx", suspects=True)
    assert sorted(suspect.row for suspect in result.label_issues) == flipped
    assert all(suspect.likely == NAMES[codes[suspect.row]] for suspect in result.label_issues)
    assert train(store, tmp_path / "c.onnx").label_issues is None


def test_a_report_is_written_on_request(tiny_store, tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("cleanlab")
    result = train(tiny_store, tmp_path / "c.onnx", report=tmp_path / "c.html")
    assert "c.onnx" in (tmp_path / "c.html").read_text(encoding="utf-8")
    assert result.label_issues == []
    assert {path.name for path in tmp_path.iterdir()} == {"c.onnx", "c.html"}


def test_a_report_that_cannot_be_written_is_said_before_anything_else(tiny_store, tmp_path, contents_of):
    pytest.importorskip("jinja2")
    with pytest.raises((ClassifyError, OutputError), match=r"gone/c\.html"):
        train(tiny_store, tmp_path / "c.onnx", report=tmp_path / "gone" / "c.html")
    assert contents_of(tmp_path) == {}


# Beside heads on other stores.


@pytest.fixture
def embedded(make_backbone, tmp_path):
    """Embed photos with an untrained backbone."""

    def embed_photos(photos):
        from headstart.extract import embed

        weights = {"source": "random", "file": None, "sha256": None, "seed": 5, "trained": False}
        return embed(photos, make_backbone(tmp_path / "b.onnx", seed=5, weights=weights), tmp_path / "untrained.h5")[0]

    return embed_photos


def test_an_untrained_backbone_is_judged_on_the_same_images(tiny_store, tiny_photos, embedded, tmp_path):
    other = embedded(tiny_photos)
    result = train(tiny_store, tmp_path / "c.onnx", untrained=other)
    alone = train(other, tmp_path / "alone.onnx")
    assert result.evaluation.untrained == alone.evaluation.accuracy
    assert any("hardly better than with an untrained backbone (1.000)" in warning for warning in result.warnings)
    assert train(tiny_store, tmp_path / "plain.onnx").evaluation.untrained is None
    assert result.path.read_bytes() == (tmp_path / "plain.onnx").read_bytes()


def test_an_image_that_the_untrained_store_lacks_is_named(tiny_store, draw_photos, embedded, tmp_path):
    fewer = embedded(draw_photos(tmp_path / "photos", {"ash": 20, "birch": 19, "cedar": 20}))
    with pytest.raises(LabelError, match=r"untrained\.h5: expected the same images as .*, but birch/019\.png is not"):
        train(tiny_store, tmp_path / "c.onnx", untrained=fewer)
    assert not (tmp_path / "c.onnx").exists()


@pytest.fixture(scope="module")
def other_store(make_backbone, tiny_photos, tmp_path_factory):
    """Embed the tiny photos with another backbone, of other features."""
    from headstart.extract import embed

    folder = tmp_path_factory.mktemp("other")
    backbone = make_backbone(folder / "b.onnx", seed=7, features="all-blocks")
    return embed(tiny_photos, backbone, folder / "blocks.h5", dtype="float32")[0]


FIGURES = ("images", "accuracy", "accuracy_interval", "log_loss")


@pytest.mark.parametrize("head", HEADS)
def test_another_store_gives_the_figures_that_it_gives_alone(tiny_store, other_store, tmp_path, head):
    result = train(tiny_store, tmp_path / "c.onnx", head=head, compare=[other_store])
    own, other, _ = result.baselines
    for baseline, evaluation in (
        (own, result.evaluation),
        (other, train(other_store, tmp_path / "alone.onnx", head=head).evaluation),
    ):
        assert [getattr(baseline, name) for name in FIGURES] == [getattr(evaluation, name) for name in FIGURES]
    assert (own.what, own.store, own.dim, own.row_bytes) == ("frozen head", "photos.h5", 16, 32)
    assert (other.what, other.store, other.dim, other.row_bytes) == ("all blocks, frozen head", "blocks.h5", 16, 64)
    assert own.seconds > 0
    assert other.seconds > 0
    assert other.log_loss != own.log_loss
    assert own.difference is None
    assert other.difference.log_loss_difference == pytest.approx(other.log_loss - own.log_loss)


def test_more_than_fits_in_memory_is_compared_too(tiny_store, other_store, tmp_path):
    _, other, _ = train(tiny_store, tmp_path / "c.onnx", compare=[other_store], memory=1).baselines
    alone = train(other_store, tmp_path / "alone.onnx", memory=1).evaluation
    assert [getattr(other, name) for name in FIGURES] == [getattr(alone, name) for name in FIGURES]


def test_the_majority_class_is_always_compared_with(clustered, tmp_path):
    store = clustered(90, splits=["train"] * 60 + ["val"] * 30)
    result = train(store, tmp_path / "c.onnx")
    own, majority = result.baselines
    assert majority.what == "majority class"
    assert majority.accuracy == result.evaluation.majority == pytest.approx(1 / 3)
    assert majority.log_loss == pytest.approx(np.log(3))
    assert majority.difference.accuracy_difference == pytest.approx(1 / 3 - own.accuracy)
    assert (majority.dim, majority.row_bytes, majority.seconds) == (None, None, None)


def test_other_labels_and_orders_of_the_same_images_do_not_matter(make_store, clusters, tmp_path):
    vectors, codes = clusters(90, 3)
    paths = [f"{number:02}.jpg" for number in range(90)]
    first = make_store([NAMES[code] for code in codes], vectors, paths=paths, name="first.h5")
    other = make_store([None] * 95, np.vstack([vectors[:5] * 0, vectors]), name="other.h5",
                       paths=[f"#{number}.jpg" for number in range(5)] + paths)  # fmt: skip
    own, same, _ = train(first, tmp_path / "c.onnx", compare=[other]).baselines
    assert [getattr(own, name) for name in FIGURES] == [getattr(same, name) for name in FIGURES]


def test_an_image_that_a_compared_store_lacks_is_named(tiny_store, draw_photos, tiny_backbone, tmp_path):
    from headstart.extract import embed

    photos = draw_photos(tmp_path / "photos", {"ash": 20, "birch": 19, "cedar": 20})
    fewer, _ = embed(photos, tiny_backbone, tmp_path / "fewer.h5")
    with pytest.raises(LabelError, match=r"fewer\.h5: expected the same images as .*, but birch/019\.png is not"):
        train(tiny_store, tmp_path / "c.onnx", compare=[fewer])
    assert not (tmp_path / "c.onnx").exists()


# Beside backbones that were tuned on some of the images.


def test_a_tuned_store_is_searched_on_what_it_was_not_tuned_on(tiny_store, tuned_store, tmp_path, monkeypatch):
    import headstart.classify.heads.fitting

    rows = []
    search = headstart.classify.heads.fitting.search_head
    monkeypatch.setattr(
        headstart.classify.heads.fitting, "search_head", lambda name, r, o: rows.append(r) or search(name, r, o)
    )
    result = train(tiny_store, tmp_path / "c.onnx", compare=[tuned_store])
    own, tuned, _ = result.baselines
    assert (own.what, tuned.what) == ("frozen head", "tail tuned behind block_12")
    frozen_folds, tuned_folds = (r.folds for r in rows)
    assert set(frozen_folds) == {0, 1, 2, 3, 4}
    assert tuned_folds.tolist() == [-1, 0] * 24
    alone = train(tuned_store, tmp_path / "tuned.onnx")
    assert [getattr(tuned, name) for name in FIGURES] == [getattr(alone.evaluation, name) for name in FIGURES]


def test_beside_a_tuned_store_a_frozen_one_has_ordinary_folds(tiny_store, make_tuned_store, tmp_path, monkeypatch):
    import headstart.classify.heads.fitting

    rows = []
    search = headstart.classify.heads.fitting.search_head
    monkeypatch.setattr(
        headstart.classify.heads.fitting, "search_head", lambda name, r, o: rows.append(r) or search(name, r, o)
    )
    tuned_on = np.arange(1, 31)  # some of them would otherwise be judged on
    result = train(make_tuned_store(tuned_on), tmp_path / "c.onnx", compare=[tiny_store])
    assert not set(result.split.test) & set(tuned_on)
    tuned, frozen = rows
    assert set(tuned.folds) == {-1, 0}
    assert set(frozen.folds) == {0, 1, 2, 3, 4}
    assert np.array_equal(frozen.embeddings, open_store(tiny_store).embeddings(result.split.train))
    assert result.learning_curve.forecast is None


def test_a_store_that_was_tuned_on_what_is_judged_on_is_refused(tiny_store, make_tuned_store, tmp_path):
    tuned = make_tuned_store(np.arange(1, 61))
    with pytest.raises(LabelError, match=r"tuned\.h5: .* found 12 of 12 .*; put this store first"):
        train(tiny_store, tmp_path / "c.onnx", compare=[tuned])
    assert not (tmp_path / "c.onnx").exists()


@pytest.mark.parametrize("at", ["main", "compared"])
def test_a_store_of_tensors_is_refused(tiny_store, tiny_photos, cut_backbone, tmp_path, at):
    from headstart.extract import embed

    tensors, _ = embed(tiny_photos, cut_backbone, tmp_path / "tensors.h5")
    stores = (tiny_store, [tensors]) if at == "compared" else (tensors, [])
    with pytest.raises(LabelError, match=r"tensors\.h5: expected a store of embeddings, .* \(15 x 15 x 16\); run them"):
        train(stores[0], tmp_path / "c.onnx", compare=stores[1])


@pytest.mark.parametrize(("split", "min_photos"), [("test", None), ("val", None), ("train", 5)])
def test_a_class_that_cannot_be_learned_is_left_out_of_training_and_evaluation(
    clustered, make_store, tmp_path, split, min_photos
):
    known = clustered(90)
    labels = [*(known.classes[code] for code in known.labels), *["unknown"] * 3]
    splits = ["train"] * 60 + ["val"] * 30 + [split] * 3
    vectors = np.concatenate([known.embeddings(), np.full((3, 16), 9, np.float32)])
    store = make_store(labels, vectors, splits=splits, name="more.h5")
    result = train(store, tmp_path / "more.onnx", min_photos=min_photos, compare=[store])
    assert result.classifier.classes == NAMES
    assert (result.trained_images, result.evaluation.images) == (60, 30)
    (warning,) = (text for text in result.warnings if "not learned" in text)
    assert "'unknown'; 3 images are left out" in warning
    again = evaluate(store, result.path)
    assert (again.images, again.accuracy) == (30, result.evaluation.accuracy)
    assert any("'unknown'; 3 images are left out" in text for text in again.warnings)
    whole = train(known, tmp_path / "known.onnx")
    assert evaluate(store, result.path, split="val").images == 30
    with pytest.raises(ClassifyError, match="has the class 'unknown'"):
        evaluate(store, whole.path)


def test_the_least_number_of_photos_is_checked(tiny_store, tmp_path):
    with pytest.raises(LabelError, match="at least 1, found 0"):
        train(tiny_store, tmp_path / "x.onnx", min_photos=0)


def test_a_notebook_shows_the_result(tiny_store, tiny_photos, tiny_classifier, tmp_path):
    from headstart.classify import score, train

    shown = train(tiny_store, tmp_path / "shown.onnx")._repr_html_()
    assert "Classifier shown.onnx" in shown
    assert "on 12 unseen images" in shown
    assert "48 images of ash, birch, cedar" in shown
    scored = score(tiny_photos, tiny_classifier, tmp_path / "scored.csv")._repr_html_()
    assert "60 scored, 1 failed" in scored
    assert "60 of 60" in scored
