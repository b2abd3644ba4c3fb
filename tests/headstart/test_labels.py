"""`--labels` and its companions on the command line, on real photos and stores."""

import json

import pytest


@pytest.fixture
def labels(tiny_store, tmp_path):
    """Give another label to each photo of the tiny store: whether its number is odd; and a group and a day."""
    from headstart.extract import open_store

    lines = ["id,breed,camera,day"]
    for row, path in enumerate(open_store(tiny_store).paths):
        name = path.rpartition("/")[2].rpartition(".")[0]
        lines.append(f"{path},{path.partition('/')[0].upper()},{name[-1]},2024:05:{row % 28 + 1:02} 10:00:00")
    path = tmp_path / "labels.csv"
    path.write_text("\n".join([*lines, "fir/1.png,FIR,1,2024:01:01 00:00:00"]))
    return path


def test_train_and_evaluate_print_what_was_joined(cli, labels):
    line = f"{{store}} --labels {labels} --label-column breed --group camera --where 'camera != 9'"
    trained = cli(f"train {line} -o x.onnx")
    assert trained.exit_code == 0, trained.stderr
    assert "labels 'breed' of labels.csv: " in trained.stdout
    assert "where camera != 9: " in trained.stdout
    assert "of 'camera', each on one side of a split" in trained.stdout
    assert "1 rows of labels.csv name no photo of" in trained.stderr.replace("\n", " ")
    found = json.loads(cli(f"train {line} -o x.onnx --json").stdout)
    assert found["classes"] == ["ASH", "BIRCH", "CEDAR"]
    assert found["labels"]["mismatches"]["rows_without_photo"] == {"count": 1, "examples": ["fir/1.png"]}
    again = json.loads(cli(f"evaluate {{store}} --classifier x.onnx --labels {labels} --json").stdout)
    assert (again["images"], again["accuracy"]) == (found["evaluation"]["images"], found["evaluation"]["accuracy"])
    assert again["labels"]["group"] == "camera"
    shown = cli(f"evaluate {{store}} --classifier x.onnx --labels {labels}")
    assert "labels 'breed' of labels.csv: " in shown.stdout


def test_a_folder_of_photos_takes_its_labels_from_the_list(cli, draw_photos, tmp_path):
    folder = draw_photos(tmp_path / "photos", {"train": 12}) / "train"
    names = sorted(path.stem for path in folder.iterdir())
    rows = [f"{name},{('pug', 'boxer')[number % 2]}" for number, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join(["id,breed", *rows, "absent,pug"]))
    trained = cli(f"train {folder} --backbone {{backbone}} --labels {tmp_path}/labels.csv -o x.onnx")
    assert trained.exit_code == 0, trained.stderr
    assert "labels 'breed' of labels.csv: 12 photos; labels.csv joined by name without suffix (12)" in trained.stdout
    split = cli(f"train x.h5 --labels {tmp_path}/labels.csv --label-column breed --where 'id == 3' -o x.onnx")
    assert split.exit_code == 1


def test_photos_are_grouped_and_split_by_their_own_metadata(cli, draw_photos, tmp_path):
    from PIL import Image

    folder = draw_photos(tmp_path / "photos", {"ash": 30, "birch": 30})
    for number, path in enumerate(sorted(folder.rglob("*.png"))):
        exif = Image.Exif()
        exif[0x0110] = f"model {number % 6}"
        exif.get_ifd(0x8769)[0x9003] = f"2024:05:{number % 28 + 1:02} 12:30:00"
        with Image.open(path) as image:
            image.save(path, exif=exif)
    for options in ("--group camera", "--split-by-time", "--where 'camera != \"model 3\"'"):
        trained = cli(f"train {folder} --backbone {{backbone}} {options} -o x.onnx --json")
        assert trained.exit_code == 0, trained.stderr
        found, again = json.loads(trained.stdout), json.loads(cli("evaluate x.h5 --classifier x.onnx --json").stdout)
        assert (again["images"], again["accuracy"]) == (found["evaluation"]["images"], found["evaluation"]["accuracy"])
        assert found["labels"]["mismatches"] == {}
    assert found["labels"]["left_out"] == 10


def test_a_split_by_time(cli, labels):
    line = f"train {{store}} --labels {labels} --label-column breed --time day --split-by-time -o x.onnx"
    found = json.loads(cli(f"{line} --json").stdout)
    assert found["labels"]["evaluated_from"] > "2024-05-15"
    assert found["judged_on"].endswith(f"from {found['labels']['evaluated_from']} on ('day')")
    assert "split by time: the latest photos, from 2024-05-" in cli(line).stdout


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("train {store} --label-column breed -o x.onnx", "leave --label-column out"),
        ("train {store} --time day -o x.onnx", "add --split-by-time"),
        ("train {store} --split-by-time -o x.onnx", "expected a column 'taken'"),
        (
            "train {photos} --backbone {backbone} --group patient -o x.onnx",
            "but not 'patient'; give a list",
        ),
        ("train {store} --labels gone.csv -o x.onnx", "gone.csv: expected a list of labels, found no such file"),
        ("train {photos} --backbone {backbone} --labels gone.csv -o x.onnx", "found no such file"),
        ("train {store} --where 'open(1)' -o x.onnx", "expected a condition such as"),
        ("evaluate {store} --classifier {classifier} --group camera", "expected a column 'camera'"),
        ("evaluate {store} --classifier {classifier} --label-column x", "--labels"),
    ],
)
def test_faults_are_one_line(cli, tmp_path, line, said):
    found = cli(line)
    assert found.exit_code in (1, 2)
    assert said in " ".join(found.stderr.split())
    assert found.stderr.count("\n") == 1
    assert not (tmp_path / "x.h5").exists()
