"""Trees of public reports: which folders are classes and splits, and what is passed over."""

import unicodedata
from pathlib import Path

import pytest

from headstart.extract.errors import SourceError
from headstart.extract.sources.find import find_images
from headstart.extract.sources.labels import class_name
from headstart.extract.sources.lists.values import label_in
from headstart.extract.sources.names import layout_of, split_of_shard


def tree(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"any bytes")
    return root


def places(root: Path) -> dict[str, tuple[str | None, str]]:
    return {item.path.decode(): (item.label, item.split) for item in find_images(root).items}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        pytest.param(["train/a/1.jpg", "dev/a/2.jpg"], [("a", "train"), ("a", "val")], id="huggingface/datasets#7880"),
        pytest.param(["train2017/a/1.jpg", "val2017/a/2.jpg"], [("a", "train"), ("a", "val")], id="years"),
        pytest.param(["train/a/1.jpg", "test1/2.jpg"], [("a", "train"), (None, "test")], id="numbered test"),
        pytest.param(["train/a/1.jpg", "test/2.jpg"], [("a", "train"), (None, "test")], id="fastai/fastai#1552"),
        pytest.param(["train.png", "car/1.jpg", "bus/2.jpg"], [(None, ""), ("car", ""), ("bus", "")],
                     id="huggingface/datasets#5021"),
        pytest.param(["p/LICENSE.txt", "p/a/1.jpg", "p/b/2.jpg"], [("a", ""), ("b", "")], id="stray text in a wrapper"),
        pytest.param(["p/train/a/1.jpg", "p/val/a/2.jpg"], [("a", "train"), ("a", "val")], id="splits in a wrapper"),
        pytest.param(["a/1.jpg", "a/old/2.jpg"], [("a", ""), ("a", "")], id="one class"),
        pytest.param(["a/.ipynb_checkpoints/1.jpg", "a/2.jpg"], [("a", "")], id="pytorch/vision#2831"),
        pytest.param(["a/._0.png", "a/0.png"], [("a", "")], id="OpenNeuroOrg/openneuro#2520"),
        pytest.param(["2/1.jpg", "10/1.jpg"], [("2", ""), ("10", "")], id="pytorch/vision#714"),
        pytest.param(["a/1.JPG", "a/2"], [("a", ""), ("a", "")], id="open-edge-platform/anomalib#3058"),
    ],
)  # fmt: skip
def test_labels_and_splits_of_trees(tmp_path, paths, expected):
    assert sorted(map(str, places(tree(tmp_path, *paths)).values())) == sorted(map(str, expected))


@pytest.mark.parametrize(
    "name", ["@eaDir", "@EADIR", "#recycle", "Desktop.ini", "THUMBS.DB", "lost+found", "__MACOSX", ".AppleDouble"]
)
def test_what_systems_leave_is_passed_over_in_any_case(tmp_path, name):
    tree(tmp_path, "a/1.jpg", f"a/{name}/1.jpg/thumb.jpg", f"{name}/2.jpg")
    assert list(places(tmp_path)) == ["a/1.jpg"]


@pytest.mark.parametrize("name", ["README.md", "labels.csv", "classes.txt", "a.zip", "movie.MP4", "LICENSE"])
def test_files_that_are_plainly_no_images_are_counted(tmp_path, name):  # google/tensorflow-recorder#32
    source = find_images(tree(tmp_path, "a/1.jpg", "b/1.jpg", name, f"a/{name}"))
    assert [item.path for item in source.items] == [b"a/1.jpg", b"b/1.jpg"]
    assert "passed over 2 files" in source.notes[-1]


def test_a_list_among_unlabelled_photos_is_pointed_out(tmp_path):  # huggingface/datasets#6442
    notes = find_images(tree(tmp_path, "1.jpg", "metadata.csv")).notes
    assert "metadata.csv may be a list of the images and their labels" in notes[-1]


def test_only_other_files_are_no_images(tmp_path):
    with pytest.raises(SourceError, match=r"found only other files \(1 \.mp4, 1 \.pdf\)"):
        find_images(tree(tmp_path, "a.mp4", "b.pdf"))


def test_an_empty_class_folder_is_named(tmp_path):  # pytorch/vision#4925
    (tmp_path / "c").mkdir()
    assert find_images(tree(tmp_path, "a/1.jpg", "b/1.jpg")).notes == ["no images in the class folders 'c'"]


def test_both_unicode_forms_are_one_class(tmp_path):  # renpy/renpy#2327
    forms = [unicodedata.normalize(form, "rosé") for form in ("NFC", "NFD")]
    assert find_images(tree(tmp_path, *(f"{form}/1.jpg" for form in forms))).classes == [forms[0]]


def test_classes_that_differ_in_capitals_are_shown(tmp_path):  # roboflow/supervision#1641
    source = find_images(tree(tmp_path, "Cat/1.jpg", "cat/2.jpg"))
    assert source.classes == ["Cat", "cat"]
    assert "'Cat' and 'cat' differ only in capital letters" in source.notes[0]


@pytest.mark.parametrize("text", ["rose", "rose ", "\u200brose", "rose\u00a0", "\ufeffrose", "\u202erose", " rose\n"])
def test_names_that_look_the_same_are_one_class(text):
    assert class_name(text) == label_in(text, "x") == "rose"


@pytest.mark.parametrize("value", [None, float("nan"), "", " ", "NaN", "NA", "None", "null", "<NA>", "\u200b"])
def test_an_empty_cell_is_no_label(value):
    assert label_in(value, "x") is None


@pytest.mark.parametrize(
    ("name", "split"),
    [("train-00000-of-00001.parquet", "train"), ("validation-00000-of-00002.parquet", "val"), ("test.tar", "test"),
     ("dev_001.tar", "val"), ("training_photos.tar", ""), ("0001.tar", "")],
)  # fmt: skip
def test_split_in_the_name_of_a_shard(name, split):
    assert split_of_shard(b"data/" + name.encode()) == split


def test_a_folder_that_appears_while_walking_has_no_split():
    layout = layout_of("x", [b"train/a/1.jpg", b"val/a/1.jpg"])
    assert layout.label_and_split(b"new/a/1.jpg") == (None, "")


@pytest.mark.parametrize(
    ("part", "classes", "splits"),
    [("train_and_test1", ["daisy", "rose"], {"train", "test"}), ("hf", None, {"train", "val"}),
     ("wrapped", ["daisy", "rose"], {""}), ("eadir", ["daisy", "rose"], {""}),
     ("unlabelled_test", ["daisy", "rose", "unknown"], {"train", "test"})],
)  # fmt: skip
def test_trees_that_went_wrong(shared, part, classes, splits):
    source = find_images(shared(f"cases/trees/{part}"))
    assert not [item for item in source.items if item.reason or b"@eaDir" in item.path]
    assert classes in (None, source.classes)
    assert {item.split for item in source.items} == splits


@pytest.mark.parametrize("stray", ["SHA256SUMS", "checksums", "readme.odt"])
def test_a_stray_file_beside_the_wrapper_changes_nothing(tmp_path, stray):
    names = [f"flowers/{split}/{name}/1.jpg" for split in ("train", "test") for name in ("rose", "tulip")]
    source = find_images(tree(tmp_path, *names, stray))
    assert {(item.label, item.split) for item in source.items if item.path.endswith(b".jpg")} == {
        (name, split) for split in ("train", "test") for name in ("rose", "tulip")
    }


@pytest.mark.parametrize("suffix", ["hif", "pef", "nef", "exr"])
def test_a_photo_of_another_format_is_no_sidecar_file(tmp_path, suffix):
    source = find_images(tree(tmp_path, "1.jpg", f"1.{suffix}"))
    assert len(source.items) == 2


def test_no_images_by_name_are_an_error():
    with pytest.raises(SourceError, match="at least one image"):
        find_images([])
