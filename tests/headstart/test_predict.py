"""`headstart predict`: answers for a few photos, on the terminal and in files."""

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest

CLASSES = ["ash", "birch", "cedar"]


def rows(path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_one_photo_has_a_bar_per_class_with_its_probability(cli, places):
    run = cli("predict {classifier} {photo}", photo=places["photos"] / "ash" / "000.png")
    assert run.exit_code == 0
    name, *bars = [line for line in run.stdout.splitlines() if "unknown" not in line]
    assert name == str(places["photos"] / "ash" / "000.png")
    shares = {line.split()[0]: float(line.split()[-1].rstrip("%")) for line in bars}
    assert sorted(shares) == CLASSES
    assert sum(shares.values()) == pytest.approx(100, abs=0.2)
    lengths = [line.count("█") for line in bars]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] == pytest.approx(40 * max(shares.values()) / 100, abs=1)


def test_a_folder_gives_a_line_per_photo_and_what_score_writes(cli, places, tmp_path):
    run = cli("predict {classifier} {photos} -o predicted.csv")
    assert run.exit_code == 0
    assert run.stdout.count(".png") == 61
    assert "failed: not an image" in run.stdout
    assert "predicted.csv: 60 classified, 1 failed, of 61 images" in run.stdout
    assert cli("score {photos} --classifier {classifier} -o scored.csv").exit_code == 0
    assert rows(tmp_path / "predicted.csv") == rows(tmp_path / "scored.csv")


def test_photos_folders_and_standard_input_keep_their_order(cli, places, monkeypatch):
    first, second = (places["photos"] / "cedar" / name for name in ("001.png", "000.png"))
    run = cli("predict {classifier} {first} {photos} {second} --json", first=first, second=second)
    found = [row["path"] for row in json.loads(run.stdout)["predictions"]]
    assert (found[0], found[-1], len(found)) == (str(first), str(second), 63)


def test_a_store_is_answered_from_its_embeddings(cli, places, tmp_path):
    run = cli("predict {classifier} {store} -o stored.csv")
    assert run.exit_code == 0, run.stderr
    assert cli("score {store} --classifier {classifier} -o scored.csv").exit_code == 0
    assert rows(tmp_path / "stored.csv") == rows(tmp_path / "scored.csv")


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(
    "name", ["a b.png", "a\u2028b.png", "a\x85b.png", "a\x0cb.png", "a\x1eb.png", "a\udcffb.png", " .png"]
)
def test_a_path_on_standard_input_ends_at_the_newline_alone(cli, places, tmp_path, name, end):
    photo = Path(shutil.copy(places["photos"] / "ash" / "000.png", tmp_path / name))
    run = cli("predict {classifier} - -o p.csv", os.fsencode(photo) + end + end + os.fsencode(photo))
    assert run.exit_code == 0, run.stderr
    assert "p.csv: 2 classified, 0 failed, of 2 images" in run.stdout


@pytest.mark.parametrize("read", ["list.csv", "classifier.csv", "-", "link.csv", "file://list.csv"])
def test_what_is_read_is_not_written_over(cli, places, tmp_path, read):
    (tmp_path / "list.csv").write_text(f"path\n{places['photos'] / 'ash' / '000.png'}\n")
    (tmp_path / "link.csv").symlink_to("list.csv")
    shutil.copy(places["classifier"], tmp_path / "classifier.csv")
    before = [path.read_bytes() for path in sorted(tmp_path.iterdir())]
    output = {"-": "list.csv", "file://list.csv": "list.csv"}.get(read, read)
    images = "list.csv" if read == "classifier.csv" else read
    line = "predict classifier.csv {photos} {images} -o {output}"
    run = cli(line, b"list.csv\n", images=images, output=output)
    assert run.exit_code == 1
    assert f"error: {output}: is also an input; write the predictions to another file with -o" in run.stderr
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == before


def test_no_file_is_written_among_the_images(cli, places, tmp_path, draw_photos):
    photos = draw_photos(tmp_path / "photos", {"ash": 1})
    run = cli("predict {classifier} {photos} photos -o photos/p.csv")
    assert (run.exit_code, (photos / "p.csv").exists()) == (1, False)
    assert f"lies inside the image folder photos; write it elsewhere, for example with -o {tmp_path}" in run.stderr
    assert cli("predict {classifier} {one} -o photos/p.csv", one=photos / "ash" / "000.png").exit_code == 0


def test_all_probabilities_are_a_column_each(cli, places, tmp_path):
    assert cli("predict {classifier} {photos} -o all.csv --all-probabilities --top 1").exit_code == 0
    for row in rows(tmp_path / "all.csv"):
        shares = [row[f"p({name})"] for name in CLASSES]
        if row["status"] == "failed":
            assert shares == ["", "", ""]
        else:
            assert sum(map(float, shares)) == pytest.approx(1, abs=1e-5)
            assert row[f"p({row['label']})"] == row["probability"] == max(shares, key=float)
    asked = cli("predict {classifier} {photos} --all-probabilities")
    assert (asked.exit_code, "needs a file" in asked.stderr) == (2, True)


def test_parquet_holds_the_same(cli, tmp_path):
    import pyarrow.parquet

    assert cli("predict {classifier} {photos} -o all.parquet --all-probabilities").exit_code == 0
    table = pyarrow.parquet.read_table(tmp_path / "all.parquet")
    assert table.schema.field("p(ash)").type == "double"
    assert table.num_rows == 61


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("predict {classifier} {missing}", 1, "none of the 1 images could be classified"),
        ("predict {classifier} {photos} --max-failures 0", 3, "too many images failed: 1"),
        ("predict {backbone} {photos}", 1, "expected a classifier, found a backbone"),
        ("predict {classifier} {photos} -o p.txt", 1, "expected a name that ends in one of .csv, .jsonl, .parquet"),
        ("predict {classifier} {nowhere}", 1, "no such folder or manifest"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(line, code, said, cli, tmp_path):
    run = cli(line, missing=tmp_path / "none.jpg", nowhere=tmp_path / "nowhere")
    assert run.exit_code == code
    assert said in run.stderr
    assert run.stderr.count("error:") == 1


@pytest.mark.parametrize("width", [32, 60, 200])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_long_and_wide_names_are_cut_to_the_column(width, encoding, monkeypatch):
    from rich.cells import cell_len
    from rich.console import Console

    from headstart.classify.scoring.predictions import Prediction
    from headstart.commands import predict

    text = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    screen = Console(file=text, width=width, highlight=False, markup=False, soft_wrap=True)
    monkeypatch.setattr(predict, "out", screen)
    names = ["b" * 30 if encoding == "ascii" else "猫" * 30, "a" * 100, "[red]x"]
    predict._show_bars(
        Prediction("x.jpg", [(name, share) for name, share in zip(names, (0.5, 0.3, 0.2), strict=True)]), 5
    )
    text.seek(0)
    bars = text.read().splitlines()
    full, cut = ("#", "~") if encoding == "ascii" else ("█", "…")
    assert all(cell_len(line) <= width and full in line and "\\" not in line for line in bars)
    assert [cut in line for line in bars] == [width < 60 or encoding != "ascii", True, False]
    assert "[red]x" in bars[2]


@pytest.mark.parametrize("option", ["--root .", "--follow-links", "--provider cpu", "--workers 1"])
def test_options_for_photos_are_refused_with_a_store(option, cli):
    run = cli("predict {classifier} {store} " + option)
    assert run.exit_code == 1
    assert f"leave {option.split()[0]} out" in run.stderr


def test_columns_that_could_be_labels_do_not_matter(cli, places, tmp_path):
    (tmp_path / "list.csv").write_text(f"path,class,species\n{places['photos'] / 'ash' / '000.png'},ash,ash\n")
    run = cli("predict {classifier} list.csv --root /")
    assert run.exit_code == 0, run.stderr


def test_a_provider_that_was_passed_over_is_said(cli, places, monkeypatch):
    from headstart.classify import Classifier

    monkeypatch.setattr(Classifier, "passed_over", ["cuda: no device"])
    run = cli("predict {classifier} {photos}")
    assert "warning: provider skipped: cuda: no device" in run.stderr


def test_a_classifier_names_its_provider_while_it_is_open(places):
    import headstart

    with headstart.load(places["classifier"]) as model:
        assert (model.provider, list(model.passed_over)) == (None, [])
        model.predict(places["photos"] / "ash" / "000.png")
        assert model.provider in {"CPUExecutionProvider", "CUDAExecutionProvider"}


@pytest.mark.parametrize("option", ["--root .", "--follow-links"])
def test_options_of_lists_and_folders_are_refused_for_photos(option, cli, places):
    run = cli("predict {classifier} {photo} " + option, photo=places["photos"] / "ash" / "000.png")
    assert (run.exit_code, "are for lists and folders" in run.stderr) == (2, True)


def test_a_photo_below_its_class_threshold_is_unknown_without_a_distance(cli, places, strict_classifier):
    run = cli("predict {it} {photo}", it=strict_classifier, photo=places["photos"] / "ash" / "000.png")
    assert run.stdout.splitlines()[-1] == "  unknown: probably none of these classes, or too uncertain"
    assert "too uncertain" in " ".join(cli("predict {it} {photos}", it=strict_classifier).stdout.split())
    answer = json.loads(cli("predict {it} {photos} --json", it=strict_classifier).stdout)["predictions"][0]
    assert (answer["unknown"], answer["distance"]) == ("yes", None)
