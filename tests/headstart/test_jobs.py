"""Training on photos in one call: they are embedded into a store next to the classifier, which later calls reuse."""

import json
import shutil

import pytest

import headstart
from headstart.files.errors import HeadstartError, OptionError


def test_photos_are_embedded_next_to_the_classifier_and_reused(cli, places, tmp_path):
    first = cli("train {photos} --backbone {backbone} -o trees.onnx")
    assert first.exit_code == 0, first.stderr
    assert "trees.h5: 60 embedded, 1 failed, of 61 images; 61 computed" in first.stdout
    assert "failed: ash/broken.png: not an image" in first.stdout
    assert "without learning: accuracy 0.3" in first.stdout
    again = cli("train {photos} --backbone {backbone} -o trees.onnx")
    assert "0 computed, 61 reused" in again.stdout
    from_store = cli("train trees.h5 -o other.onnx --json")
    prior = json.loads(from_store.stdout)["without_learning"]
    assert 0 < prior["accuracy"] < 0.5
    assert prior["log_loss"] == pytest.approx(1.0986, abs=0.02)


def test_a_new_photo_is_all_that_a_later_run_computes(cli, places, draw_photos, tmp_path):
    photos = shutil.copytree(places["photos"], tmp_path / "photos")
    fresh = draw_photos(tmp_path / "fresh", {"birch": 1}, seed=1) / "birch" / "000.png"
    assert cli("train {mine} --backbone {backbone} -o trees.onnx", mine=photos).exit_code == 0
    fresh.rename(photos / "birch" / "new.png")
    (photos / "cedar" / "003.png").unlink()
    run = cli("train {mine} --backbone {backbone} -o trees.onnx", mine=photos)
    assert "of 61 images; 1 computed" in run.stdout
    assert "60 reused, 1 removed" in run.stdout


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--head typo", "unknown head 'typo'"),
        ("--report nodir/r.html", "its folder nodir does not exist"),
        ("--report r.txt", ".html"),
        ("--hidden abc", "expected whole numbers"),
        ("--holdout 2", "must lie between 0 and 1, found 2"),
        ("--false-alarms 1", "below 1"),
        ("--class-weight heavy", "heavy"),
        ("--C 0", "C"),
        ("-o nodir/trees.onnx", "its folder nodir does not exist"),
    ],
)
def test_a_bad_option_is_refused_before_anything_is_embedded(option, said, cli, tmp_path):
    run = cli("train {photos} --backbone {backbone} " + option)
    assert run.exit_code in (1, 2)
    assert said in run.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("setting", [{"heads": "mlp"}, {"head": "typo"}, {"holdout": 2}])
def test_the_function_refuses_a_bad_setting_before_anything_is_embedded(setting, places, tmp_path):
    with pytest.raises((TypeError, HeadstartError)):
        headstart.train(places["photos"], tmp_path / "trees.onnx", backbone=places["backbone"], **setting)
    assert list(tmp_path.iterdir()) == []


def test_advice_about_the_output_names_a_classifier(cli, draw_photos, tmp_path):
    draw_photos(tmp_path / "photos", {"ash": 3, "birch": 3})
    run = cli("train photos --backbone {backbone} -o photos/trees.onnx")
    assert run.exit_code == 1
    advice = f"lies inside the image folder photos; write it elsewhere, for example with -o {tmp_path / 'trees.onnx'}"
    assert f"error: photos/trees.onnx: {advice}" in run.stderr


def test_a_store_of_another_backbone_can_be_continued_as_advised(cli, tmp_path):
    assert cli("train {photos} --backbone {backbone} -o trees.onnx").exit_code == 0
    run = cli("train {photos} --backbone {other_backbone} -o trees.onnx")
    assert run.exit_code == 1
    assert "trees.h5: holds rows of another model" in run.stderr
    assert "continue with its own (--model trees.h5; for train, --backbone)" in run.stderr
    assert "61 reused" in cli("train {photos} --backbone trees.h5 -o trees.onnx").stdout


@pytest.mark.parametrize(
    "option",
    ["--backbone {backbone}", "--label-column x", "--root .", "--follow-links", "--provider cpu", "--workers 1",
     "--max-failures 1"],
)  # fmt: skip
def test_options_for_photos_are_refused_with_a_store(option, cli):
    run = cli("train {store} -o c.onnx " + option)
    assert run.exit_code == 1
    assert option.split()[0] in run.stderr
    assert "is a store, whose images are embedded already" in run.stderr


def test_too_many_failures_stop_before_training(cli, tmp_path):
    run = cli("train {photos} --backbone {backbone} -o trees.onnx --max-failures 0")
    assert (run.exit_code, (tmp_path / "trees.onnx").exists()) == (3, False)


def test_an_unknown_backbone_lists_the_known_ones(cli):
    run = cli("train {photos} --backbone resnet -o trees.onnx")
    assert run.exit_code == 1
    assert "backbone 'resnet': expected a file (.onnx), or one of mobilenet_v2" in run.stderr


def test_the_function_does_what_the_command_does(places, tmp_path):
    result = headstart.train(places["photos"], tmp_path / "trees.onnx", backbone=places["backbone"])
    assert result.classifier.classes == ["ash", "birch", "cedar"]
    assert headstart.open_store(tmp_path / "trees.h5").is_embedded.sum() == 60
    same = headstart.train(tmp_path / "trees.h5", tmp_path / "again.onnx")
    assert same.evaluation.accuracy == result.evaluation.accuracy
    with pytest.raises(OptionError, match="leave backbone out"):
        headstart.train(tmp_path / "trees.h5", tmp_path / "again.onnx", backbone=places["backbone"])
    with pytest.raises(HeadstartError):
        headstart.train(tmp_path / "nothing", tmp_path / "c.onnx", backbone=places["backbone"])


def test_the_default_backbone_is_fetched_once_and_said(cli, places, published_cache, tmp_path, monkeypatch):
    shutil.copytree(published_cache / "weights", tmp_path / "cache" / "weights")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    first = cli("train {photos} -o trees.onnx")
    assert first.exit_code == 0, first.stderr
    assert "exporting mobilenet_v2 once, to " in first.stderr
    (made,) = (tmp_path / "cache" / "backbones").glob("*.onnx")
    again = cli("train {photos} -o trees.onnx")
    assert "exporting" not in again.stderr
    assert headstart.open_store(tmp_path / "trees.h5").header.model["weights"]["source"] == "imagenet"
    assert made.name in first.stderr
