import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.classify import HEADS

COMMANDS = ("export", "embed", "merge", "tune", "train", "evaluate", "predict", "score", "serve", "inspect", "demo")
HEAVY = ("PIL", "google.protobuf", "h5py", "numpy", "onnx", "onnxruntime", "pyarrow", "sklearn", "tensorflow")

HELP_THEN_MODULES = """
import sys
from headstart.cli import app

try:
    app([*sys.argv[2:], "--help"])
except SystemExit as left:
    assert left.code == 0
print(*sorted(set(sys.argv[1].split(",")) & set(sys.modules)), file=sys.stderr)
"""

HOLD_A_STORE = """
import sys, time
from pathlib import Path
from headstart.extract.store.lock import locked

place = Path(sys.argv[1])
with locked(place.with_name(f".{place.name}.lock"), place):
    print("held", flush=True)
    time.sleep(60)
"""

EMBED = "embed {photos} --model {backbone} -o photos.h5"
TRAIN = "train {store} -o c.onnx"
SCORE = "score {photos} --classifier {classifier} -o p.csv"
EVALUATE = "evaluate {store} --classifier {classifier}"


def strict(text: str):
    """Parse exactly one JSON value, as others do, who know no NaN."""

    def refuse(constant: str):
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def visible(folder: Path) -> list[str]:
    """What a run left; lock files stay by design."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def is_one_error(result) -> bool:
    lines = result.stderr.splitlines()
    return len(lines) == 1 and lines[0].startswith("error: ")


# Help and start-up.


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_given_without_any_heavy_library(command):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", HELP_THEN_MODULES, ",".join(HEAVY), *command.split()],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Usage:" in done.stdout
    assert done.stderr.split() == []


def test_every_command_is_listed_with_a_sentence(cli):
    listing = cli("--help").stdout
    assert all(f" {name} " in listing for name in COMMANDS)
    assert "Train an image classifier on your own photos in seconds." in listing
    assert [name for name in COMMANDS if "--help" not in cli(f"{name} -h").stdout] == []


def test_the_version_is_that_of_the_package(cli):
    from importlib.metadata import version

    assert cli("--version").stdout == f"headstart {version('headstart')}\n"


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("demo", "serve")])
def test_every_command_that_reports_can_do_so_in_json(cli, command):
    assert "--json" in cli(f"{command} --help").stdout


# The whole way.


def test_from_photos_to_predictions(cli, tmp_path):
    embedded = cli(EMBED)
    assert "photos.h5: 60 embedded, 1 failed, of 61 images; 61 computed" in embedded.stdout
    assert "failed: ash/broken.png: not an image but a text file" in embedded.stdout
    assert "classes: ash, birch, cedar" in embedded.stdout
    trained = cli("train photos.h5 -o c.onnx --holdout 0.5")
    assert "evaluated on 30 unseen images" in trained.stdout
    assert "accuracy 1.0000" in trained.stdout
    assert "accuracy 1.0000" in cli("evaluate photos.h5 --classifier c.onnx").stdout
    scored = cli("score {photos} --classifier c.onnx -o p.csv")
    assert "p.csv: 60 scored, 1 failed, of 61 images" in scored.stdout
    assert "60 of 60 (100.0%) agree" in scored.stdout
    assert {embedded.exit_code, trained.exit_code, scored.exit_code} == {0}
    assert {embedded.stderr, scored.stderr} == {""}
    assert [line for line in trained.stderr.splitlines() if "too few to calibrate on" not in line] == []
    assert visible(tmp_path) == ["c.onnx", "p.csv", "photos.h5"]


def test_photos_that_are_odd_are_counted_in_one_line(cli, tmp_path):
    for number in range(3):
        held = io.BytesIO()
        Image.new("RGB", (40, 30), (90 * number, 60, 30)).save(held, "JPEG")
        (tmp_path / "odd").mkdir(exist_ok=True)
        (tmp_path / "odd" / f"{number}.jpg").write_bytes(held.getvalue()[: None if number == 1 else -2])
    line = "  note: JPEG without its end marker, embedded as it is (2 images, for example 0.jpg)"
    assert line in cli("embed odd --model {backbone} -o odd.h5").stdout.splitlines()
    assert "note:" not in cli("embed odd --model {backbone} -o odd.h5").stdout
    assert line in cli("score odd --classifier {classifier} -o p.csv").stdout.splitlines()
    note = {"text": "JPEG without its end marker, embedded as it is", "count": 2, "example": "0.jpg"}
    assert strict(cli("embed odd --model {backbone} -o other.h5 --json").stdout)["notes"] == [note]
    assert strict(cli("score odd --classifier {classifier} -o p.csv --json").stdout)["notes"] == [note]


def test_metadata_are_kept_only_when_asked_for(cli, tmp_path):
    exif = Image.Exif()
    exif[0x110], exif.get_ifd(0x8769)[0x9003] = "EOS", "2024:05:01 12:30:00"
    (tmp_path / "own").mkdir()
    for name, given in (("a", exif.tobytes()), ("b", b"")):
        Image.new("RGB", (30, 30), "red").save(tmp_path / "own" / f"{name}.jpg", exif=given)
    assert "metadata" not in cli("embed own --model {backbone} -o x.h5").stdout
    assert "metadata:         -" in cli("inspect x.h5").stdout
    said = cli("embed own --model {backbone} -o x.h5 --metadata").stdout
    assert "0 computed, 2 reused" in said
    assert "metadata: taken 1, camera 1, position 0 of 2 images" in said
    assert "metadata:         taken 1, camera 1, position 0" in cli("inspect x.h5").stdout
    assert json.loads(cli("embed own --model {backbone} -o x.h5 --json").stdout)["metadata"]["camera"] == 1
    for line in ("score x.h5 --classifier {classifier}", "predict {classifier} x.h5 -o predictions.csv"):
        assert cli(line).exit_code == 0
        with open(tmp_path / "predictions.csv", encoding="utf-8") as file:
            assert [row["taken"] for row in csv.DictReader(file)] == ["2024-05-01T12:30:00", ""]
    cli("score own --classifier {classifier}")
    assert "taken" not in (tmp_path / "predictions.csv").read_text(encoding="utf-8")
    cli("score own --classifier {classifier} --metadata")
    assert "taken" in (tmp_path / "predictions.csv").read_text(encoding="utf-8")


def test_a_second_run_reuses_every_row(cli):
    cli(EMBED)
    assert "0 computed, 61 reused" in cli(EMBED).stdout


def test_the_heads_and_their_options_are_reached(cli):
    plain, wide = (
        strict(cli(f"train {{store}} -o c.onnx --json --head mlp {options}").stdout)["evaluation"]["log_loss"]
        for options in ("--hidden 8", "--hidden 64,8,8 --seed 3 --class-weight balanced --holdout 0.5")
    )
    assert plain != wide


def test_training_says_what_was_chosen_and_what_to_know(cli):
    said = cli(f"{TRAIN} --compare {{other_store}} --untrained {{untrained_store}} --head auto")
    squeezed = " ".join(said.stdout.split())
    for text in (
        " settings) in 5-fold cross-validation: 0.",
        "flags images unlike the training images as unknown (false alarms: 5%, measured: ",
        "accuracy 1.0000 (95 % interval 0.712 to 1.000; majority class 0.333), log loss ",
        "compared on the same images",
        " frozen head other.h5 1.0000 0.712 to 1.000 ",
        " untrained untrained.h5 1.0000 0.712 to 1.000 ",
        " +0.000 (-0.288 to +0.288) 32 ",
        " majority class 0.3333 ",
        "next: headstart predict c.onnx PHOTO, or headstart score FOLDER --classifier c.onnx -o predictions.csv",
    ):
        assert text in (squeezed if text[0] == " " else said.stdout), text
    assert "compared" not in cli(TRAIN).stdout
    assert [line.split(":")[0] for line in said.stderr.splitlines()] == ["warning"] * 3
    assert "too few test images to evaluate 3 of 3 classes: 'ash' (4), 'birch' (4), 'cedar' (4)" in said.stderr
    assert "is hardly better than with an untrained backbone (1.000)" in said.stderr
    assert "too few to calibrate on" in said.stderr


def test_what_was_compared_is_in_the_json(cli, tuned_store):
    compared = strict(cli(f"{TRAIN} --compare {{tuned}} --json", tuned=tuned_store).stdout)["compared"]
    assert [one["what"] for one in compared] == ["frozen head", "tail tuned behind block_12", "majority class"]
    assert compared[0]["difference"] is None
    assert compared[1]["difference"]["images"] == 12


@pytest.mark.parametrize(
    ("options", "heads", "settings"),
    [
        ("", {"logreg"}, None),
        ("--scaling raw", {"logreg"}, None),
        ("--C 0.5", {"logreg"}, 1),
        ("--head auto --C 0.5 --scaling raw", set(HEADS), None),
    ],
)
def test_which_settings_are_compared_can_be_chosen(cli, options, heads, settings):
    found = strict(cli(f"{TRAIN} {options} --json").stdout)
    assert {candidate["head"] for candidate in found["search"]["candidates"]} == heads
    assert settings in (None, len(found["search"]["candidates"]))
    scalings = {one["settings"]["scaling"] for one in found["search"]["candidates"] if one["head"] == "logreg"}
    assert scalings == (
        {"raw"} if "raw" in options else {"standardised"} if "--C" in options else {"raw", "standardised"}
    )
    assert found["search"]["chosen"] in found["search"]["candidates"]
    assert found["learning_curve"][-1]["images"] == found["trained_images"] == 48
    assert (found["calibration"], found["suspects"], found["duplicates"]) == (None, None, [])
    assert found["unknown"]["false_alarm_rate"] == 0.05
    assert 0 <= found["unknown"]["measured"] <= 1


def test_auto_tells_who_won_by_how_much_and_who_was_not_tried(cli):
    search = strict(cli(f"{TRAIN} --head auto --json").stdout)["search"]
    first, *others = search["heads"]
    assert (first["head"], first["difference"]) == (search["chosen"]["head"], None)
    assert all(one["difference"]["log_loss_difference"] >= 0 for one in others)
    assert ({one["head"] for one in search["heads"]}, search["untried"]) == (set(HEADS), {})
    table = "heads, calibrated, out of fold (difference to the first, 95 % interval):"
    assert table in cli(f"{TRAIN} --head auto").stdout
    said = cli(f"{TRAIN} --head auto --budget 0").stdout
    assert "; not tried: " in " ".join(said.split())
    assert table not in said
    assert "a budget does nothing for the head lda" in cli(f"{TRAIN} --head lda --budget 5").output


def test_no_false_alarms_no_unknown(cli):
    found = strict(cli(f"{TRAIN} --false-alarms 0 --json").stdout)
    assert found["unknown"] is None
    assert strict(cli("score {photos} --classifier c.onnx -o p.csv --json").stdout)["unknown"] is None
    assert "unknown" not in cli("score {photos} --classifier c.onnx -o p.csv").stdout
    assert " flagged unknown: probably none of these classes" in cli(SCORE).stdout


@pytest.mark.parametrize("precision", ["--precision ash=0.6 --precision birch=0.5", "--precision all=0.5"])
def test_a_precision_gives_thresholds_that_are_printed_and_stored(cli, precision):
    said = cli(f"{TRAIN} --false-alarms 0 {precision}").stdout
    assert "  classes with a threshold; below it, the answer is unknown:\n" in said
    assert cli("evaluate {store} --classifier c.onnx").stdout.partition("classes with")[2].startswith(" a threshold")
    found = strict(cli(f"{TRAIN} --false-alarms 0 {precision} --json").stdout)
    evaluated = found["evaluation"]["thresholds"]
    assert [one["name"] for one in evaluated] == list(found["thresholds"])
    assert found["thresholds"]["birch"]["target"] == 0.5
    assert evaluated[0]["probability"] == found["thresholds"]["ash"]["probability"]
    scored = cli("score {photos} --classifier c.onnx -o p.csv")
    assert " flagged unknown: " in scored.stdout


@pytest.mark.parametrize("text", ["ash", "=0.9", "ash=", "ash=many", "ash=nan"])
def test_a_precision_that_cannot_be_read_is_refused(cli, text):
    result = cli(f"{TRAIN} --precision {text}")
    assert result.exit_code == 2
    assert f"--precision {text!r}: expected a class and the share of its answers to be right" in result.stderr


def test_a_class_name_may_hold_an_equals_sign_and_spaces(cli, draw_photos, tmp_path):
    draw_photos(tmp_path / "odd", {"a = b": 10, "c": 10})
    cli("embed odd --model {backbone} -o odd.h5")
    found = strict(cli("train odd.h5 -o c.onnx --precision 'a = b=0.5' --json").stdout)
    assert list(found["thresholds"]) == ["a = b"]
    twice = cli("train odd.h5 -o c.onnx --precision c=0.5 --precision c=0.6")
    assert (twice.exit_code, "found two values for 'c', 0.5 and 0.6" in twice.stderr) == (2, True)


@pytest.mark.parametrize(
    ("per_class", "said"),
    [(1, "not evaluated on any image"), (2, "2-fold cross-validation"), (5, "a hold-out of 20%")],
)
def test_few_photos_become_a_classifier_and_predictions(cli, draw_photos, tmp_path, per_class, said):
    photos = draw_photos(tmp_path / "few", {"ash": per_class, "birch": per_class})
    result = cli(f"train {photos} --backbone {{backbone}} -o {tmp_path}/c.onnx")
    assert result.exit_code == 0, result.output
    assert said in result.output
    assert "set in advance" in result.output
    assert "nan" not in result.output
    again = cli(f"train {tmp_path}/c.h5 -o {tmp_path}/again.onnx --json")
    found = strict(again.stdout)["evaluation"]
    assert found["images"] == {1: 0, 2: 4, 5: 2}[per_class]
    assert (found["accuracy"] is None) == (per_class == 1)
    others = draw_photos(tmp_path / "more", {"ash": 3, "birch": 3}, seed=1)
    assert cli(f"score {others} --classifier {tmp_path}/c.onnx -o {tmp_path}/p.csv").exit_code == 0
    assert cli(f"inspect {tmp_path}/c.onnx").exit_code == 0


def test_two_images_a_class_are_enough_even_for_json(cli, draw_photos, tmp_path):
    draw_photos(tmp_path / "few", {"ash": 2, "birch": 2})
    cli("embed few --model {backbone} -o few.h5")
    found = strict(cli("train few.h5 -o c.onnx --json").stdout)
    assert found["search"]["chosen"]["settings"] == {"c": 1.5, "scaling": "raw"}
    assert found["search"]["candidates"] == [found["search"]["chosen"]]


def test_label_mistakes_and_copies_are_listed(cli, draw_photos, tmp_path):
    pytest.importorskip("cleanlab")
    photos = draw_photos(tmp_path / "mixed", {"ash": 15, "birch": 15})
    (photos / "ash" / "003.png").rename(photos / "birch" / "odd.png")
    shutil.copy(photos / "ash" / "004.png", photos / "ash" / "again.png")
    cli("embed mixed --model {backbone} -o mixed.h5")
    said = cli("train mixed.h5 -o c.onnx --suspects")
    assert "  likely label mistake: birch/odd.png: labelled birch, looks like ash\n" in said.stdout
    assert "  duplicate images: 1; none were split between training and evaluation" in said.stdout
    found = strict(cli("train mixed.h5 -o c.onnx --suspects --json").stdout)
    assert [suspect["path"] for suspect in found["suspects"]] == ["birch/odd.png"]
    assert [(group["kind"], len(group["rows"])) for group in found["duplicates"]] == [("exact", 2)]


def test_a_report_is_written_where_it_is_asked_for(cli, tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("cleanlab")
    assert "report: c.html\n" in cli(f"{TRAIN} --report c.html").stdout
    assert visible(tmp_path) == ["c.html", "c.onnx"]
    assert "ash/000.png" in (tmp_path / "c.html").read_text(encoding="utf-8")


def test_two_classifiers_are_compared(cli):
    cli("train {store} -o c.onnx --C 0.0001")
    line = "evaluate {store} --classifier c.onnx --against {classifier}"
    said = cli(f"{line} --require-accuracy 1")
    assert said.exit_code == 0
    assert "accuracy 1.0000, no difference on these 12 images: both misclassify the same ones" in said.stdout
    assert "  difference (95 % interval): accuracy +0.0000 (-0." in said.stdout
    found = strict(cli(f"{line} --json").stdout)
    assert (found["images"], found["comparison"]["wins"], found["comparison"]["losses"]) == (12, 0, 0)
    assert found["comparison"]["log_loss_difference"] > 0
    assert "comparison" not in strict(cli(f"{EVALUATE} --json").stdout)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (EMBED, {"inputs": 61, "embedded": 60, "failed": 1, "computed": 61, "classes": ["ash", "birch", "cedar"]}),
        (TRAIN, {"output": "c.onnx", "classes": ["ash", "birch", "cedar"], "is_backbone_trained": True}),
        (EVALUATE, {"images": 12, "accuracy": 1.0, "mistakes": []}),
        (SCORE, {"inputs": 61, "scored": 60, "failed": 1, "counts": {"ash": 20, "birch": 20, "cedar": 20}}),
        (f"{SCORE} --shard 1/1", {"inputs": 61, "scored": 60}),
        ("score {store} --classifier {classifier} -o p.jsonl", {"output": "p.jsonl", "provider": None}),
        ("inspect {backbone}", {"kind": "backbone", "backbone": "tiny", "dim": 16}),
        ("inspect {store}", {"kind": "embedding store", "rows": 61, "classes": {"ash": 21, "birch": 20, "cedar": 20}}),
        ("inspect {classifier}", {"kind": "classifier", "classes": ["ash", "birch", "cedar"]}),
    ],
)
def test_json_is_one_object_on_stdout(cli, line, expected):
    result = cli(f"{line} --json")
    found = strict(result.stdout)
    assert {key: found[key] for key in expected} == expected
    assert (result.exit_code, result.stderr) == (0, "")


def test_names_that_are_no_text_are_still_valid_json(cli, draw_photos, tmp_path):
    draw_photos(tmp_path / "odd", {"ash": 2, "birch": 2})
    for name in (b"odd/ash/\xff.png", b"odd/ash/a\nb.png"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(b"broken")
    found = strict(cli("embed odd --model {backbone} -o odd.h5 --json").stdout)
    assert len(found["failures"]) == 2
    assert "a\\nb.png" in cli("inspect odd.h5").stdout


# What a file is.


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("inspect {backbone}", ["kind: backbone", "image: uint8 (n, 32, 32, 3), RGB, 0-255"]),
        ("inspect {store}", ["kind: embedding store", "embedded: 60", "ash 21, birch 20, cedar 20"]),
        ("inspect {classifier}", ["kind: classifier", "classes: ash, birch, cedar", "measured:"]),
    ],
)
def test_inspect_tells_what_a_file_is(cli, line, expected):
    result = cli(line)
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    assert [text for text in expected if text not in said] == []


# Faults: one line that names the file, exit code 1, nothing written.


@pytest.mark.parametrize(
    ("line", "named", "said"),
    [
        ("embed {empty} --model {backbone} -o x.h5", "empty", "found no files at all"),
        ("embed gone --model {backbone} -o x.h5", "gone", "no such folder or manifest"),
        ("embed {notes} --model {backbone} -o x.h5", "notes.txt", "expected a folder of images or a manifest"),
        ("embed {photos} --model gone.onnx -o x.h5", "gone.onnx", "no such file; make a backbone"),
        ("embed {photos} --model {notes} -o x.h5", "notes.txt", "found a text file; make a backbone"),
        ("embed {photos} --model {classifier} -o x.h5", "classifier.onnx", "found a classifier; embed with"),
        ("embed {backbone} --model {backbone} -o x.h5", "backbone.onnx", "found a backbone; give the folder"),
        ("embed {photos} --model {backbone} -o folder.h5", "folder.h5", "expected the name of a file to write"),
        ("embed {photos} --model {backbone} -o gone/x.h5", "gone/x.h5", "does not exist; make it first"),
        ("embed {photos} --model {backbone} -o gone/x.emb", "gone/x.emb", "does not exist; make it first"),
        ("embed {photos} --model {backbone} -o x.csv", "x.csv", "expected a name that ends in .h5"),
        (
            "embed {photos} --model {backbone} -o x.h5 --provider gpu",
            "'gpu'",
            "auto or one of tensorrt, tensorrt-fp16, cuda, ",
        ),
        ("embed {photos} --model {backbone} -o x.h5 --dtype int8", "'int8'", "one of float16, float32"),
        ("embed {photos} --model {other_backbone} -o {store}", "photos.h5", "holds rows of another model"),
        ("embed {photos} --model {backbone} -o {truncated}", "truncated.h5", "damaged (cut off or altered)"),
        ("train gone.h5 -o c.onnx", "gone.h5", "no such store; make one with `headstart embed"),
        ("train {notes} -o c.onnx", "notes.txt", "found a text file; give the folder"),
        ("train {classifier} -o c.onnx", "classifier.onnx", "found a classifier; give the folder"),
        ("train {backbone} -o c.onnx", "backbone.onnx", "found a backbone; give the folder"),
        ("train {empty} --backbone {backbone} -o c.onnx", "empty", "found no files at all"),
        ("train {truncated} -o c.onnx", "truncated.h5", "damaged (cut off or altered)"),
        ("train {broken_store} -o c.onnx", "broken.h5", "expected images of at least 2 classes to train on"),
        ("train {single_store} -o c.onnx", "single.h5", "at least 2 classes to train on, found only 'ash'"),
        ("train {unlabelled_store} -o c.onnx", "unlabelled.h5", "put each class in a folder of its own"),
        ("train {store} -o folder.h5", "folder.h5", "expected the name of a file to write, found a folder"),
        ("train {store} -o gone/c.onnx", "gone/c.onnx", "does not exist; make it first"),
        ("train {store} -o c.bin", "c.bin", "expected a name that ends in .onnx"),
        ("train {store} -o {backbone}", "backbone.onnx", "exists and is not a classifier"),
        ("train {store} -o c.onnx --head forest", "'forest'", "one of logreg, mlp"),
        ("train {store} -o c.onnx --class-weight all", "'all'", "one of none, balanced"),
        ("train {store} -o c.onnx --C 0", "C must be above 0", "found 0.0"),
        ("train {store} -o c.onnx --head mlp --hidden 8,0", "hidden", "at least one unit each"),
        ("train {store} -o c.onnx --holdout 1", "hold out", "between 0 and 1, found 1.0"),
        ("train {store} -o c.onnx --false-alarms 1", "false alarms", "at least 0 and below 1, found 1.0"),
        ("train {store} -o c.onnx --precision ash=1", "precision of 'ash'", "above 0 and below 1, found 1"),
        ("train {store} -o c.onnx --precision ahs=0.9", "no class 'ahs'", "did you mean 'ash'"),
        ("train {store} -o c.onnx --head auto --C -1", "C must be above 0", "found -1.0"),
        ("train {store} -o c.onnx --untrained gone.h5", "gone.h5", "no such store"),
        (
            "train {store} -o c.onnx --untrained {single_store}",
            "single.h5",
            "expected a store from an untrained backbone",
        ),
        ("train {store} -o c.onnx --report gone/c.html", "gone/c.html", "does not exist; make it first"),
        ("train {store} -o c.onnx --report c.pdf", "c.pdf", ".html"),
        ("train {store} -o c.onnx --seed 99999999999999999999", "seed", "must lie between 0 and 4294967295"),
        ("evaluate {other_store} --classifier {classifier}", "other.h5", "embed the images with the same backbone"),
        ("evaluate {foreign_store} --classifier {classifier}", "foreign.h5", "the class 'fir', which"),
        ("evaluate {unlabelled_store} --classifier {classifier}", "unlabelled.h5", "found no labelled images"),
        ("evaluate {store} --classifier {classifier} --split all", "'all'", "one of train, val, test"),
        ("evaluate {store} --classifier {newer}", "newer.onnx", "expected headstart-classifier schema 1, found 2"),
        (
            "evaluate {store} --classifier {classifier} --against gone.onnx",
            "gone.onnx",
            "no such file; make a backbone",
        ),
        ("evaluate {store} --classifier {classifier} --against {backbone}", "backbone.onnx", "found a backbone"),
        (
            "evaluate {store} --classifier {classifier} --against {foreign_classifier}",
            "foreign_classifier.onnx",
            "knows ash, fir, but",
        ),
        (
            "evaluate {store} --classifier {classifier} --against {other_classifier}",
            "other_classifier.onnx",
            "embed the images with the same backbone",
        ),
        ("evaluate {store} --classifier {backbone}", "backbone.onnx", "expected a classifier, found a backbone"),
        ("score {photos} --classifier {newer} -o p.csv", "newer.onnx", "schema 1, found 2 of another version"),
        ("score {photos} --classifier {truncated_classifier} -o p.csv", "cut.onnx", "export it again"),
        ("score {photos} --classifier {classifier} -o p.csv --shard 3", "'3'", "expected a shard such as 3/16"),
        ("score {photos} --classifier gone.onnx -o p.csv", "gone.onnx", "no such file"),
        ("score {photos} --classifier {store} -o p.csv", "photos.h5", "found an embedding store; make a backbone"),
        ("score {photos} --classifier {photos} -o p.csv", "photos", "found a folder; make a backbone"),
        ("predict {store} {photos}", "photos.h5", "found an embedding store; make a backbone"),
        ("evaluate {classifier} --classifier {classifier}", "classifier.onnx", "found a classifier; make one with"),
        ("merge {store} {backbone} -o m.h5", "backbone.onnx", "found a backbone; make one with"),
        ("score {other_store} --classifier {classifier} -o p.csv", "other.h5", "embed the images with the same"),
        ("score {truncated} --classifier {classifier} -o p.csv", "truncated.h5", "damaged (cut off or altered)"),
        ("score {empty} --classifier {classifier} -o p.csv", "empty", "found no files at all"),
        ("score {photos} --classifier {classifier} -o p.txt", "p.txt", "one of .csv, .jsonl, .parquet"),
        ("score {photos} --classifier {classifier} -o folder.h5", "folder.h5", "one of .csv, .jsonl, .parquet"),
        ("score {photos} --classifier {classifier} -o gone/p.csv", "gone/p.csv", "does not exist; make it first"),
        ("score {photos} --classifier {classifier} -o p.csv --provider gpu", "'gpu'", "auto or one of tensorrt"),
        ("inspect gone", "gone", "no such file"),
        ("inspect {notes}", "notes.txt", "expected a backbone or classifier (.onnx) or an embedding store"),
        ("inspect {truncated}", "truncated.h5", "damaged (cut off or altered)"),
        ("inspect {empty}", "empty", "found a folder without finished shards"),
        ("export --backbone alexnet -o x.onnx", "alexnet", "mobilenet_v2"),
        ("tune {store} -o x.onnx", "photos.h5", "headstart export --cut"),
        ("tune {store} -o x.h5", "x.h5", ".onnx"),
        ("train {tensors} -o x.onnx", "tensors.h5", "headstart tune"),
        ("export --weights gone.h5 -o x.onnx", "gone.h5", "no such weight file"),
        ("export --weights random -o gone/x.onnx", "gone/x.onnx", ""),
        ("inspect {truncated_classifier}", "cut.onnx", "export it again"),
        ("demo --images gone -o x", "gone", "one folder of photos per class, and at least 2 classes"),
        ("demo --images {single} -o x", "single", "one folder of photos per class, and at least 2 classes"),
        ("demo --weights gone.h5 -o x", "gone.h5", "no such weights file"),
    ],
)
def test_a_fault_is_one_line_and_nothing_is_written(cli, tmp_path, places, line, named, said):
    (tmp_path / "folder.h5").mkdir()
    before = {name: place.read_bytes() for name, place in places.items() if place.is_file()}
    result = cli(line)
    assert result.exit_code == 1
    assert is_one_error(result), result.stderr
    assert named in result.stderr
    assert said in result.stderr
    assert result.stdout == ""
    assert visible(tmp_path) == ["folder.h5"]
    assert not list((tmp_path / "folder.h5").iterdir())
    assert before == {name: place.read_bytes() for name, place in places.items() if place.is_file()}


def test_a_folder_of_broken_images_embeds_as_failures(cli):
    result = cli("embed {broken} --model {backbone} -o x.h5")
    assert result.exit_code == 1
    assert "x.h5: 0 embedded, 4 failed, of 4 images" in result.stdout


def test_a_manifest_names_what_is_missing(cli):
    result = cli("embed {manifest} --model {backbone} -o x.h5")
    assert result.exit_code == 0
    assert "4 embedded, 1 failed, of 5 images" in result.stdout
    assert "failed: birch/gone.png: no such file" in result.stdout


def test_a_store_that_another_run_writes_is_busy(cli, tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD_A_STORE, tmp_path / "photos.h5"], stdout=-1, text=True) as holder:
        holder.stdout.readline()
        result = cli(EMBED)
        holder.kill()
    assert result.exit_code == 1
    assert is_one_error(result)
    assert f"photos.h5: being written by process {holder.pid} on" in result.stderr
    assert visible(tmp_path) == []


def test_a_demo_does_not_touch_a_folder_of_other_files(cli, tmp_path):
    (tmp_path / "mine" / "photos").mkdir(parents=True)
    (tmp_path / "mine" / "photos" / "wedding.jpg").write_bytes(b"dear")
    (tmp_path / "file").write_bytes(b"x")
    for output, said in (("mine", "the folder holds files that no demo made"), ("file", "cannot write to this folder")):
        result = cli(f"demo -o {output} --weights random")
        assert (result.exit_code, is_one_error(result)) == (1, True)
        assert f"{output}: {said}" in result.stderr
    assert (tmp_path / "mine" / "photos" / "wedding.jpg").read_bytes() == b"dear"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "paint",
        "embed",
        "embed {photos} --colour",
        "embed {photos} --workers 0",
        "embed {photos} --batch-size none",
        "export --precision int8",
        "export --precision int4",
        "export --calibrate {photos}",
        "export --cut auto",
        "export --cut block_12 --sample {photos}",
        "tune {store} --epochs 0",
        "train {store} --hidden 8,many",
        "train {store} --C strong",
        "train {store} --false-alarms few",
        "train {store} --seed -1",
        "evaluate {store}",
        "evaluate {store} --classifier {classifier} --require-accuracy 2",
        "score {photos}",
        "score {photos} --classifier {classifier} --top 0",
        "score {photos} --classifier {classifier} --max-failures -1",
    ],
)
def test_wrong_usage_leaves_with_2(cli, tmp_path, line):
    result = cli(line)
    assert result.exit_code == 2
    assert visible(tmp_path) == []


@pytest.mark.parametrize(("limit", "code"), [(0, 3), (1, 0)])
@pytest.mark.parametrize(("line", "output"), [(EMBED, "photos.h5"), (SCORE, "p.csv")])
def test_more_failures_than_allowed_leave_with_3_but_keep_the_result(cli, tmp_path, line, output, limit, code):
    result = cli(f"{line} --max-failures {limit}")
    assert result.exit_code == code
    assert visible(tmp_path) == [output]
    if code:
        assert result.stderr == "error: too many images failed: 1, and --max-failures allows 0\n"


def test_a_required_accuracy_is_a_gate(cli, draw_photos, tmp_path):
    assert cli(f"{EVALUATE} --require-accuracy 1").exit_code == 0
    drawn = draw_photos(tmp_path / "drawn", {"ash": 23}) / "ash"
    for number in range(20):  # the classifier was trained on them
        (drawn / f"{number:03}.png").unlink()
    (tmp_path / "drawn" / "ash").rename(tmp_path / "drawn" / "birch")
    cli("embed drawn --model {backbone} -o wrong.h5")
    result = cli("evaluate wrong.h5 --classifier {classifier} --require-accuracy 0.99")
    assert (result.exit_code, is_one_error(result)) == (1, True)
    assert "accuracy 0.0000 is below the required 0.99" in result.stderr
    assert "mistake: birch/020.png: ash" in result.stdout


def test_untrained_weights_are_warned_of(cli):
    cli("embed {photos} --model {untrained_backbone} -o u.h5")
    result = cli("train u.h5 -o u.onnx --holdout 0.5")
    assert result.exit_code == 0
    assert "warning: the backbone's weights are untrained: use this only as a baseline" in result.stderr.splitlines()


# Interrupts.


@pytest.fixture
def slow_photos(tmp_path) -> Path:
    """2,000 names of one picture that takes a while to decode."""
    folder = tmp_path / "slow" / "ash"
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), np.uint8)
    Image.fromarray(noise).save(folder / "0000.png")
    for number in range(1, 2000):
        os.link(folder / "0000.png", folder / f"{number:04}.png")
    return folder.parent


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_keeps_what_is_finished(slow_photos, tiny_backbone, headstart_run, tmp_path, sent, code):
    output, parts = tmp_path / "photos.h5", tmp_path / "photos.h5.parts"
    arguments = [*map(str, ("embed", slow_photos, "--model", tiny_backbone, "-o", output, "--json"))]
    run = subprocess.Popen([sys.executable, "-m", "headstart", *arguments], stdout=-1, stderr=-1, text=True)
    with run:
        deadline = time.monotonic() + 60
        while not list(parts.glob("part-*.h5")) and time.monotonic() < deadline and run.poll() is None:
            time.sleep(0.01)
        run.send_signal(sent)
        stdout, stderr = run.communicate(timeout=60)
    assert (run.returncode, stdout) == (code, "")
    assert stderr.count("\n") == 1
    assert "finished work is kept: run the same command again to continue" in stderr
    assert not output.exists()
    again = strict(headstart_run(*arguments).stdout)
    assert (again["inputs"], again["embedded"]) == (2000, 2000)
    assert again["reused"] >= 512
    assert visible(tmp_path) == ["photos.h5", "slow"]


@pytest.mark.parametrize(
    "line", ["embed {photos}/ash/broken.png --model {backbone} -o x.h5", SCORE.replace("{photos}", "{broken}")]
)
def test_a_run_of_which_nothing_comes_is_no_success(cli, line):
    done = cli(line)
    assert done.exit_code == 1
    assert "next:" not in done.stdout
    assert re.search(
        r"error: none of the (\d) images could be (embedded|scored); most common reason \(\1 of \1\)", done.stderr
    )


def test_a_run_with_nothing_to_do_is_a_success(cli):
    for _ in range(2):
        assert cli(EMBED).exit_code == 0
    assert cli("embed {photos}/ash/000.png --model {backbone} --shard 1/9999 -o none.h5").exit_code == 0


def test_single_images_are_embedded_and_scored(cli, tmp_path):
    files = "{photos}/ash/000.png {photos}/birch/001.png {photos}/birch/001.png"
    assert "2 embedded, 0 failed" in cli(f"embed {files} --model {{backbone}} -o x.h5").stdout
    assert "1 scored" in cli("score {photos}/ash/000.png --classifier {classifier}").stdout
    assert (tmp_path / "predictions.csv").read_text().splitlines()[1].startswith("000.png,ok,ash,")
    assert "2 scored" in cli(f"score {files} --classifier {{classifier}}").stdout
    rows = (tmp_path / "predictions.csv").read_text().splitlines()[1:]
    assert [row.split(",")[:3] for row in rows] == [["ash/000.png", "ok", "ash"], ["birch/001.png", "ok", "birch"]]
    done = cli("score {photos}/ash/000.png {photos}/birch --classifier {classifier}")
    assert done.exit_code == 1
    assert "expected an image file beside others" in done.stderr


# pandas-dev/pandas#44323, JuliaData/CSV.jl#697, cldf/csvw#15: an option, because many readers keep the mark.
def test_excel_reads_predictions_that_begin_with_a_byte_order_mark(cli, tmp_path):
    cli(SCORE)
    plain = (tmp_path / "p.csv").read_bytes()
    cli(f"{SCORE} --bom")
    assert (tmp_path / "p.csv").read_bytes() == b"\xef\xbb\xbf" + plain
    assert "leave --bom out" in cli("score {photos} --classifier {classifier} -o p.jsonl --bom").stderr


LONG = "x" * 300


@pytest.mark.parametrize(
    "line",
    [
        f"embed {LONG} --model {{backbone}} -o x.h5",
        f"embed {{photos}} --model {LONG}.onnx -o x.h5",
        f"embed {{photos}} --model {{backbone}} -o {LONG}.h5",
        f"embed {{photos}} --model {{backbone}} -o {LONG}.emb",
        f"embed {{photos}} --model {{backbone}} -o {LONG[:250]}.h5",
        f"merge {LONG}.h5 -o x.h5",
        f"merge {{store}} -o {LONG}.h5",
        f"train {LONG}.h5 -o x.onnx",
        f"train {{store}} -o {LONG}.onnx",
        f"train {{store}} -o x.onnx --report {LONG}.html",
        f"evaluate {{store}} --classifier {LONG}.onnx",
        f"score {LONG} --classifier {{classifier}}",
        f"score {{photos}} --classifier {{classifier}} -o {LONG}.csv",
        f"score {{photos}} --classifier {{classifier}} -o {LONG[:250]}.csv",
        f"inspect {LONG}",
        f"inspect {LONG}.h5",
        f"inspect {LONG}.onnx",
        f"tune {LONG}.h5 -o x.onnx",
        f"tune {{tensors}} -o {LONG}.onnx",
        f"export --weights {LONG}.h5 -o x.onnx",
        f"export --weights random -o {LONG}.onnx",
        f"demo -o {LONG}",
    ],
)
def test_a_name_that_is_too_long_is_one_line(cli, line):
    result = cli(line)
    assert result.exit_code == 1
    assert is_one_error(result)


def test_a_batch_is_never_larger_than_what_there_is(cli):
    assert "60 embedded" in cli(f"{EMBED} --batch-size 100000000").stdout
    assert "60 scored" in cli(f"{SCORE} --batch-size 100000000").stdout
