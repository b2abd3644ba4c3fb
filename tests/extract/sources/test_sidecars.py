"""Labels and sidecar files of images: one set of rules in folders, at URLs and in archives."""

import io
import os
import tarfile
import time
from pathlib import Path

import pytest

from headstart.extract import EngineOptions, embed, find_images
from headstart.extract.errors import SourceError
from headstart.extract.sources.sidecars import paired

Files = dict[str, bytes]


def as_folder(folder: Path, files: Files) -> Path:
    for name, data in files.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder / "files"


def as_tar(folder: Path, files: Files) -> Path:
    with tarfile.open(folder / "files.tar", "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return folder / "files.tar"


def as_url(folder: Path, files: Files) -> str:
    memory = pytest.importorskip("fsspec").filesystem("memory")
    url = f"/{folder.name}-{time.time_ns()}"
    for name, data in files.items():
        memory.pipe(f"{url}/{name}", data)
    return f"memory:/{url}"


KINDS = pytest.mark.parametrize("place", [as_folder, as_tar, as_url])


def labels_of(source: str | Path) -> dict[str, str | None]:
    items = find_images(source).items
    assert not any(item.reason for item in items)
    return {os.fsdecode(item.path).removeprefix("files.tar/"): item.label for item in items}


CASES: dict[str, tuple[list[str], dict[str, str | None]]] = {
    "whole stems with dots": (
        ["cam3.0001.jpg", "cam3.0001.cls=ash", "cam3.0002.jpg", "cam3.0002.cls=oak", "cam3.0003.jpg"],
        {"cam3.0001.jpg": "ash", "cam3.0002.jpg": "oak", "cam3.0003.jpg": None},
    ),
    "dots in folders": (["v1.0/1.jpg", "v1.0/1.cls=ash", "v1.0/2.jpg"], {"v1.0/1.jpg": "ash", "v1.0/2.jpg": "v1.0"}),
    "another key's label is not lent": (
        ["cam3.0001.jpg", "cam3.0002.cls=oak"],
        {"cam3.0001.jpg": None},
    ),
    "masks are no photos": (
        ["7.jpg", "7.seg.png", "7.cls=ash", "c.1.jpg", "c.1.seg.png", "c.2.jpg"],
        {"7.jpg": "ash", "c.1.jpg": None, "c.2.jpg": None},
    ),
    "a mask beside several labels": (["a/7.jpg", "a/7.seg.png", "a/8.seg.png"], {"a/7.jpg": "a", "a/8.seg.png": "a"}),
    "a number is no field": (["p.jpg", "p.1.jpg", "p.jpg.1"], dict.fromkeys(["p.jpg", "p.1.jpg", "p.jpg.1"])),
    "a photo with a label of its own": (
        ["cam.jpg", "cam.front.jpg", "cam.front.cls=oak"],
        {"cam.jpg": None, "cam.front.jpg": "oak"},
    ),
    "views of one sample": (
        ["8.left.jpg", "8.right.PNG", "8.cls=3", "8.json"],
        {"8.left.jpg": "3", "8.right.PNG": "3"},
    ),
    "a label in a field": (
        ["9.left.jpg", "9.label.cls=ash", "8.jpg", "8.cls=oak", "8.fine.cls=x"],
        {"9.left.jpg": "ash", "8.jpg": "oak"},
    ),
    "upper case": (["1.JPG", "1.CLS=ash"], {"1.JPG": "ash"}),
    "sidecars of every kind": (
        ["b/1.jpg", "b/1.txt", "b/1.json", "b/1.jpg.json", "b/1.xmp", "b/1.bbox.txt"],
        {"b/1.jpg": "b"},
    ),
    "two photos of one stem": (["a/1.jpg", "a/1.png"], {"a/1.jpg": "a", "a/1.png": "a"}),
}  # fmt: skip


def files_of(names: list[str]) -> Files:
    return {name: text.encode() or b"x" for name, _, text in (name.partition("=") for name in names)}


@KINDS
@pytest.mark.parametrize(("names", "expected"), CASES.values(), ids=CASES)
def test_images_have_their_own_label_and_sidecar_files_are_left_out(tmp_path, place, names, expected):
    for order in (names, names[::-1]):
        (tmp_path / "files.tar").unlink(missing_ok=True)
        assert labels_of(place(tmp_path, files_of(order))) == expected


@KINDS
@pytest.mark.parametrize(
    ("names", "both"),
    [
        (["a.1.jpg", "a.1.cls=x", "a.1.CLS=y"], ("'a.1.cls'", "'a.1.CLS'")),
        (["7.jpg", "7.one.cls=x", "7.two.cls=y"], ("'7.one.cls'", "'7.two.cls'")),
        (["7.jpg", "7.png", "7.cls=x"], ("'7.jpg'", "'7.png'")),
        (["7.jpg", "7.1.jpg", "7.cls=x"], ("'7.jpg'", "'7.1.jpg'")),
    ],
)
def test_two_labels_or_two_images_are_refused_with_both_names(tmp_path, place, names, both):
    with pytest.raises(SourceError, match="found two") as caught:
        find_images(place(tmp_path, files_of(names)))
    assert all(name[1:-1] in str(caught.value) for name in both)
    assert "\n" not in str(caught.value)


@KINDS
@pytest.mark.parametrize(
    ("text", "label"),
    [
        (b"cat\r\n", "cat"),
        (b"\xef\xbb\xbfcat", "cat"),
        ("cat".encode("utf-16"), "cat"),
        (b'"cat"', "cat"),
        (b'"r\\u00f6se"', "röse"),
        ("röse ".encode(), "röse"),
        (b"07", "07"),
        (b"7", "7"),
        (b" \n", None),
        (b"", None),
    ],
)
def test_a_label_is_read_however_it_was_written(tmp_path, place, text, label):
    assert labels_of(place(tmp_path, {"1.jpg": b"x", "1.cls": text})) == {"1.jpg": label}


@KINDS
@pytest.mark.parametrize(
    "text",
    [b"\x80\x03K\x07.", b"\x93NUMPY\1\0", b"r\xf6se", b'["a", "b"]', b'{"name": "a"}', b"a\nb", b"x" * 300],
    ids=["pickle", "numpy", "latin-1", "list", "object", "two lines", "caption"],
)
def test_what_is_no_label_is_refused_by_name(tmp_path, place, text):
    with pytest.raises(SourceError, match=r"expected the name of a class.*'(files.tar/)?1\.cls', found") as caught:
        find_images(place(tmp_path, {"1.jpg": b"x", "1.cls": text}))
    assert "\n" not in str(caught.value)


def test_many_names_of_one_key_are_paired():
    names = [b"cam.%06d.jpg" % number for number in range(50_000)]
    names += [b"cam.%06d.cls" % number for number in range(50_000)]
    pairs = paired(names, "here")
    assert len(pairs.label_files) == len(pairs.sidecars) == 50_000


def test_labels_beside_photos_are_trained_on(tmp_path, backbone, picture):
    files = {f"a/{number}.png": picture(number) for number in range(2)} | {"a/1.cls": b"owl", "a/0.txt": b"a caption"}
    store, summary = embed(
        as_folder(tmp_path, files), backbone, tmp_path / "a.h5", options=EngineOptions(isolate=False)
    )
    assert (store.classes, store.paths, summary.failed) == (["a", "owl"], ["a/0.png", "a/1.png"], 0)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("dots_in_keys.tar", [("cam1.0000.jpg", "daisy"), ("cam1.0001.jpg", "rose"), ("cam1.0002.jpg", "daisy")]),
        ("masks.tar", [("0.jpg", "daisy"), ("1.jpg", "daisy"), ("2.jpg", "daisy")]),
        ("sidecars", [("daisy/0.jpg", "daisy"), ("daisy/1.jpg", "daisy"), ("daisy/2.jpg", "daisy")]),
    ],
)
def test_inputs_that_went_wrong(shared, case, expected):
    items = find_images(shared(f"cases/trees/{case}")).items
    found = [(os.fsdecode(item.path).removeprefix(f"{case}/"), item.label) for item in items]
    assert found[:3] == expected
    assert len(found) == {"dots_in_keys.tar": 6, "masks.tar": 3, "sidecars": 6}[case]


@pytest.mark.parametrize(
    ("text", "label"), [("null", None), ("None", None), ("3.0", "3"), ('"3.0"', "3.0"), ("1e3", "1e3")]
)
def test_a_label_file_means_what_the_cell_of_a_list_means(tmp_path, text, label):
    (tmp_path / "1.jpg").write_bytes(b"any bytes")
    (tmp_path / "1.cls").write_text(text)
    (item,) = find_images(tmp_path).items
    assert item.label == label
