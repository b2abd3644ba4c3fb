import os
import socket
import stat
from pathlib import Path

import pytest

from headstart.extract.errors import SourceError
from headstart.extract.sources import folders
from headstart.extract.sources.find import find_images
from headstart.extract.sources.items import Item

NAMES = [
    b"two\nlines.jpg",
    b"not \xff\xfe utf-8.jpg",
    b"x" * 251 + b".jpg",
    "\u200f\u202egnp.dat".encode(),
    "naïve 猫.jpg".encode(),
    b" leading and trailing .jpg ",
    b"quote'\"\\.jpg",
]


def fill(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"any bytes")
    return folder


def found(folder: Path) -> dict[str, tuple[str | None, str]]:
    return {os.fsdecode(item.path): (item.label, item.split) for item in find_images(folder).items}


def only_item(folder: Path) -> Item:
    (item,) = find_images(folder).items
    return item


def test_the_folders_at_the_top_are_the_classes(tmp_path):
    fill(tmp_path, "dog/2.jpg", "cat/1.jpg", "cat/3.png")
    assert found(tmp_path) == {"cat/1.jpg": ("cat", ""), "cat/3.png": ("cat", ""), "dog/2.jpg": ("dog", "")}
    assert find_images(tmp_path).classes == ["cat", "dog"]


def test_a_deeper_folder_belongs_to_the_class_above_it(tmp_path):
    fill(tmp_path, "cat/grey/old/1.jpg", "cat/2.jpg")
    assert found(tmp_path) == {"cat/grey/old/1.jpg": ("cat", ""), "cat/2.jpg": ("cat", "")}


def test_a_file_at_the_top_has_no_label(tmp_path):
    fill(tmp_path, "1.jpg", "cat/2.jpg")
    assert found(tmp_path) == {"1.jpg": (None, ""), "cat/2.jpg": ("cat", "")}


def test_a_flat_folder_has_no_classes(tmp_path):
    fill(tmp_path, "1.jpg", "2.jpg")
    assert find_images(str(tmp_path)).classes == []


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (("train", "val", "test"), ("train", "val", "test")),
        (("training", "validation", "testing"), ("train", "val", "test")),
        (("Train", "VALID"), ("train", "val")),
        (("train",), ("train",)),
    ],
)
def test_folders_that_are_all_splits_hold_the_classes(tmp_path, names, splits):
    fill(tmp_path, *(f"{name}/{label}/1.jpg" for name in names for label in ("cat", "dog")))
    expected = {
        f"{name}/{label}/1.jpg": (label, split)
        for name, split in zip(names, splits, strict=True)
        for label in ("cat", "dog")
    }
    assert found(tmp_path) == expected


def test_a_class_called_train_beside_other_classes_is_a_class(tmp_path):
    # huggingface/datasets#7201: images right in it, next to other classes
    fill(tmp_path, "train/1.jpg", "train/steam/1.jpg", "tram/2.jpg")
    assert set(found(tmp_path).values()) == {("train", ""), ("tram", "")}


def test_a_split_of_folders_beside_another_folder_is_refused(tmp_path):
    fill(tmp_path, "train/daisy/1.jpg", "train/rose/1.jpg", "more/2.jpg")
    assert "holds the split train, but also the folder 'more', which is no split" in refusal(tmp_path)


def test_splits_beside_another_folder_are_refused(tmp_path):
    fill(tmp_path, "train/cat/1.jpg", "val/cat/2.jpg", "models/old.jpg")
    message = refusal(tmp_path)
    assert "but also the folder 'models', which is no split; move it elsewhere" in message
    assert set(message.partition("the splits ")[2].partition(", but")[0].split(", ")) == {"train", "val"}


def test_splits_beside_a_folder_without_images_are_splits(tmp_path):
    fill(tmp_path, "train/cat/1.jpg", "val/cat/2.jpg", "models/old.onnx")
    assert found(tmp_path) == {
        "train/cat/1.jpg": ("cat", "train"), "val/cat/2.jpg": ("cat", "val"), "models/old.onnx": (None, ""),
    }  # fmt: skip


def test_splits_without_folders_below_have_no_labels(tmp_path):  # huggingface/datasets#7880
    fill(tmp_path, "train/1.jpg", "test/2.jpg")
    assert found(tmp_path) == {"train/1.jpg": (None, "train"), "test/2.jpg": (None, "test")}


def test_files_right_below_a_split_have_no_label(tmp_path):
    fill(tmp_path, "train/cat/1.jpg", "test/2.jpg", "3.jpg")
    assert found(tmp_path) == {"train/cat/1.jpg": ("cat", "train"), "test/2.jpg": (None, "test"), "3.jpg": (None, "")}


def test_hidden_files_and_what_desktops_leave_are_passed_over(tmp_path):
    fill(tmp_path, ".DS_Store", ".git/a.jpg", "cat/._1.jpg", "cat/Thumbs.db", "desktop.ini", "__MACOSX/cat/1.jpg")
    fill(tmp_path, "cat/1.jpg")
    assert list(found(tmp_path)) == ["cat/1.jpg"]


def test_a_hidden_folder_beside_splits_does_not_make_them_classes(tmp_path):
    fill(tmp_path, ".cache/a.jpg", "train/cat/1.jpg")
    assert found(tmp_path) == {"train/cat/1.jpg": ("cat", "train")}


def test_items_are_sorted_by_the_bytes_of_their_paths(tmp_path):
    fill(tmp_path, "b/1", "a/2", "a.x/3", "a/10", "B/1", "é/1", "a-b", "z")
    (tmp_path / os.fsdecode(b"\xff")).write_bytes(b"")
    paths = [item.path for item in find_images(tmp_path).items]
    assert paths == sorted(paths)
    assert len(paths) == 9
    assert paths[-1] == b"\xff"


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_file_may_have_any_name(tmp_path, name):
    (tmp_path / "cat").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/cat/" + name)).write_bytes(b"12345")
    item = only_item(tmp_path)
    assert (item.path, item.size, item.label, item.reason) == (b"cat/" + name, 5, "cat", "")


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_class_may_have_any_name(tmp_path, name):
    fill(tmp_path, os.fsdecode(name) + "/1.jpg")
    assert find_images(tmp_path).classes == [os.fsdecode(name).strip(" \u200f\u202e")]


def test_size_and_time_are_those_of_the_file(tmp_path):
    fill(tmp_path, "1.jpg")
    os.utime(tmp_path / "1.jpg", ns=(0, 1_234_567_890_123_456_789))
    item = only_item(tmp_path)
    assert (item.size, item.mtime_ns) == (9, 1_234_567_890_123_456_789)


def test_a_link_within_the_folder_is_followed(tmp_path):
    fill(tmp_path, "cat/1.jpg")
    (tmp_path / "cat/2.jpg").symlink_to("1.jpg")
    assert [(item.size, item.reason) for item in find_images(tmp_path).items] == [(9, ""), (9, "")]


def test_a_link_is_followed_where_the_folder_itself_is_given_by_a_link(tmp_path):
    fill(tmp_path, "real/1.jpg")
    (tmp_path / "real/2.jpg").symlink_to(tmp_path / "real/1.jpg")
    (tmp_path / "alias").symlink_to("real")
    assert [item.reason for item in find_images(tmp_path / "alias").items] == ["", ""]


def _link_out(at: Path) -> None:
    (at.parents[1] / "secret").write_text("not an image of this folder")
    at.symlink_to(at.parents[1] / "secret")


def _link_to_a_sibling_with_the_same_beginning(at: Path) -> None:
    sibling = at.parent.with_name(at.parent.name + "2")
    sibling.mkdir()
    (sibling / "secret").write_text("not an image of this folder")
    at.symlink_to(sibling / "secret")


def _socket(at: Path) -> None:
    here = Path.cwd()
    os.chdir(at.parent)  # the name of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(at.name)
    finally:
        os.chdir(here)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (_link_out, "leads out of the folder"),
        (_link_to_a_sibling_with_the_same_beginning, "leads out of the folder"),
        (lambda at: at.symlink_to("/dev/null"), "leads out of the folder"),
        (lambda at: at.symlink_to("nowhere"), "no such file"),
        (lambda at: at.symlink_to(at.name), "too many levels of symbolic links"),
        (lambda at: at.symlink_to("."), "leads out of the folder"),
        (os.mkfifo, "not a regular file but a pipe"),
        (_socket, "not a regular file but a socket"),
    ],
    ids=["link out", "link to sibling", "link to device", "dangling", "loop", "link to the top", "pipe", "socket"],
)
def test_what_is_no_regular_file_below_the_folder_is_a_failed_item(tmp_path, make, reason):
    (tmp_path / "photos").mkdir()
    make(tmp_path / "photos" / "1.jpg")
    item = only_item(tmp_path / "photos")
    assert reason in item.reason
    assert (item.path, item.size) == (b"1.jpg", -1)


def test_a_link_to_a_folder_is_a_failed_item_and_not_walked(tmp_path):
    fill(tmp_path, "cat/1.jpg")
    (tmp_path / "dog").symlink_to("cat")
    items = find_images(tmp_path).items
    assert [(item.path, item.reason) for item in items] == [
        (b"cat/1.jpg", ""),
        (b"dog", "link to a folder; not followed without --follow-links"),
    ]


def test_a_link_to_a_pipe_within_the_folder_is_a_failed_item(tmp_path):
    os.mkfifo(tmp_path / ".pipe")
    (tmp_path / "1.jpg").symlink_to(".pipe")
    assert only_item(tmp_path).reason == "not a regular file but a pipe"


def test_a_folder_called_like_an_image_is_a_class(tmp_path):
    fill(tmp_path, "x.jpg/1.jpg")
    assert found(tmp_path) == {"x.jpg/1.jpg": ("x.jpg", "")}


@pytest.fixture
def deny(monkeypatch):
    """Make folders of a name unreadable; file permissions would not stop root."""

    def deny(name: str) -> None:
        real = os.scandir

        def scandir(folder):
            if os.path.basename(os.fsdecode(folder)) == name:
                raise PermissionError(13, "Permission denied", folder)
            return real(folder)

        monkeypatch.setattr("headstart.extract.sources.items.os.scandir", scandir)

    return deny


def test_a_folder_that_cannot_be_listed_is_a_failed_item(tmp_path, deny):
    fill(tmp_path, "cat/1.jpg", "dog/2.jpg")
    deny("dog")
    cat, dog = find_images(tmp_path).items
    assert (cat.path, cat.reason) == (b"cat/1.jpg", "")
    assert (dog.path, dog.reason) == (b"dog", "folder cannot be listed: permission denied")


def test_an_unreadable_folder_beside_splits_leaves_them_splits(tmp_path, deny):
    fill(tmp_path, "train/cat/1.jpg", "val/cat/2.jpg")
    deny("val")
    assert found(tmp_path)["train/cat/1.jpg"] == ("cat", "train")


def test_a_file_that_vanishes_while_it_is_listed_is_a_failed_item(tmp_path, monkeypatch):
    fill(tmp_path, "1.jpg")
    listed = folders._entries

    def vanish(folder):
        entries = listed(folder)
        (tmp_path / "1.jpg").unlink()
        return entries

    monkeypatch.setattr(folders, "_entries", vanish)
    assert only_item(tmp_path).reason == "no such file"


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        find_images(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_a_top_folder_that_cannot_be_listed_is_refused(tmp_path, deny):
    fill(tmp_path, "photos/cat/1.jpg")
    deny("photos")
    assert "cannot be listed: permission denied" in refusal(tmp_path / "photos")


@pytest.mark.parametrize("name", ["photos", "photos.csv", "photos/deeper", "x" * 300])
def test_a_missing_place_is_refused(tmp_path, name):
    assert "no such folder or manifest" in refusal(tmp_path / name)


@pytest.mark.parametrize("hidden", [[], [".hidden.jpg", ".git/1.jpg"]])
def test_a_folder_without_files_is_refused(tmp_path, hidden):
    (tmp_path / "cat").mkdir()
    fill(tmp_path, *hidden)
    assert "found no files at all" in refusal(tmp_path)


def test_another_file_is_refused_with_the_kinds_of_manifest(tmp_path):
    fill(tmp_path, "photos.doc")
    assert "(.csv, .tsv, .jsonl, .parquet)" in refusal(tmp_path / "photos.doc")


def test_a_deep_tree_is_walked_to_its_end(tmp_path):
    fill(tmp_path, "d/" * 200 + "1.jpg")
    item = only_item(tmp_path)
    assert (item.path, item.label) == (b"d/" * 200 + b"1.jpg", "d")


@pytest.mark.parametrize(("part", "images"), [("images/cats_vs_dogs", 1200), ("images/flowers", 2500)])
def test_real_folders_are_listed_whole(shared, part, images):
    source = find_images(shared(part))
    assert len(source.items) == images
    assert not [item for item in source.items if item.reason]
    assert {item.split for item in source.items} == ({"train", "val"} if "cats" in part else {""})
    assert len(source.classes) == (2 if "cats" in part else 5)


def test_nothing_is_opened_while_listing(tmp_path):
    fill(tmp_path, "1.jpg")
    (tmp_path / "1.jpg").chmod(0)
    assert stat.S_IMODE((tmp_path / "1.jpg").stat().st_mode) == 0
    assert only_item(tmp_path).reason == ""
