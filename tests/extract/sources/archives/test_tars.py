"""Tar archives as people make them, most of them from public reports: every photo is found under its own name."""

import io
import os
import shutil
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from headstart.extract import find_images
from headstart.extract.errors import SourceError
from headstart.extract.sources.readers import LocalReader

Member = tuple[str, bytes] | tarfile.TarInfo


def tar_of(*members: Member, form: int = tarfile.PAX_FORMAT) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=form) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    return held.getvalue()


def info(name: str, **attributes) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for key, value in attributes.items():
        setattr(made, key, value)
    return made


def without_end_mark(data: bytes) -> bytes:
    content = data.rstrip(b"\0")
    return content.ljust(-(-len(content) // 512) * 512, b"\0")


def listed(path: Path) -> dict[str, tuple[str | None, str, str]]:
    """Give label, split and reason by path; what can be read must hold its own name."""
    source, found = find_images(path), {}
    reader = LocalReader(source.root)
    for item in source.items:
        name = os.fsdecode(item.path).removeprefix("x.tar/")
        found[name] = item.label, item.split, item.reason
        if not item.reason:
            assert reader.read(item)[0] in (name.encode(), os.path.basename(name).encode()), name
    return found


def photos(*names: str) -> list[Member]:
    return [(name, os.path.basename(name).encode()) for name in names]


A, B = photos("a/1.jpg", "b/2.jpg"), photos("a/3.jpg", "b/4.jpg")
BOTH = {"a/1.jpg": ("a", "", ""), "b/2.jpg": ("b", "", ""), "a/3.jpg": ("a", "", ""), "b/4.jpg": ("b", "", "")}
FIRST = {name: BOTH[name] for name in ("a/1.jpg", "b/2.jpg")}
OUTSIDE = "a name that leads out of the archive; not read"
REPORTS = {
    "borgbackup/borg#7432 and libarchive/libarchive#457: joined with cat": (tar_of(*A) + tar_of(*B), BOTH),
    "joined, padded to a megabyte": (tar_of(*A) + bytes(1 << 20) + tar_of(*B), BOTH),
    "joined, the first without end mark": (without_end_mark(tar_of(*A)) + tar_of(*B), BOTH),
    "composefs/tar-rs#171: no end mark": (without_end_mark(tar_of(*A)), FIRST),
    "half an end mark": (without_end_mark(tar_of(*A)) + bytes(512), FIRST),
    "other data behind the end": (
        tar_of(*A) + b"garbage",
        FIRST | {"x.tar": (None, "", "behind the end of the archive, at byte 10,240, other data follow; not read")},
    ),
    "tmbdev-archive/webdataset-lightning#4: ILSVRC2012_img_train.tar": (
        tar_of(("n01.tar", tar_of(*photos("n01_1.JPEG"))), ("n02.tar", tar_of(*photos("n02_1.JPEG")))),
        {"n01/n01_1.JPEG": ("n01", "", ""), "n02/n02_1.JPEG": ("n02", "", "")},
    ),
    "an archive in an archive is damaged": (
        tar_of(*A, ("c.tar", b"no archive at all" * 99)),
        FIRST
        | {
            "c.tar": (None, "", "not a tar archive (begins with b'no archive a')"),
        },
    ),
    "pytorch/vision#3519: a zip archive in an archive": (
        tar_of(*A, ("c.tar", b"PK\x03\x04" * 200)),
        FIRST | {"c.tar": (None, "", "a zip archive inside the archive; unpack it first")},
    ),
    "backslashes of Windows tools": (
        tar_of(("a\\1.jpg", b"1.jpg"), ("b\\2.jpg", b"2.jpg"), ("..\\3.jpg", b"")),
        FIRST | {"../3.jpg": (None, "", OUTSIDE)},
    ),
    "a backslash beside slashes": (
        tar_of(*A, ("a/\\3.jpg", b"\\3.jpg")),
        FIRST | {"a/\\3.jpg": ("a", "", "")},
    ),
    "a stray file in the folder around the classes": (
        tar_of(("flowers/LICENSE.txt", b"LICENSE.txt"), *photos("flowers/a/1.jpg", "flowers/b/2.jpg")),
        {
            "flowers/a/1.jpg": ("a", "", ""),
            "flowers/b/2.jpg": ("b", "", ""),
        },
    ),
    "a stray file beside splits": (
        tar_of(("README", b"README"), ("docs/how.txt", b"how.txt"), *photos("train/a/1.jpg", "val/a/2.jpg")),
        {
            "train/a/1.jpg": ("a", "train", ""),
            "val/a/2.jpg": ("a", "val", ""),
        },
    ),
    "bad names beside splits in a folder": (
        tar_of(("../evil.jpg", b""), ("/train/x.jpg", b""), *photos("d/train/a/1.jpg", "d/val/b/2.jpg")),
        {
            "../evil.jpg": (None, "", OUTSIDE),
            "/train/x.jpg": (None, "", OUTSIDE),
            "d/train/a/1.jpg": ("a", "train", ""),
            "d/val/b/2.jpg": ("b", "val", ""),
        },
    ),
    "a link beside splits": (
        tar_of(info("other/x.jpg", type=tarfile.SYMTYPE, linkname="../1.jpg"), *photos("train/a/1.jpg", "val/b/2.jpg")),
        {
            "other/x.jpg": (None, "", "a symbolic link inside an archive; not followed"),
            "train/a/1.jpg": ("a", "train", ""),
            "val/b/2.jpg": ("b", "val", ""),
        },
    ),
    "webdataset/webdataset#157: a label twice": (
        tar_of(("1.jpg", b"1.jpg"), ("1.cls", b"a"), ("1.cls", b"b")),
        {"1.jpg": ("b", "", "")},
    ),
    "python/cpython#120740: a bad checksum": (
        tar_of(*A).replace(tar_of(*A)[1024 + 148 : 1024 + 156], b"0000000\0"),
        {"a/1.jpg": ("a", "", ""), "x.tar": (None, "", "the archive is damaged at byte 1,024 (bad checksum)")},
    ),
}


@pytest.mark.parametrize(("data", "expected"), REPORTS.values(), ids=REPORTS)
def test_archives_as_people_make_them(tmp_path, data, expected):
    (tmp_path / "x.tar").write_bytes(data)
    found = listed(tmp_path / "x.tar")
    assert found.keys() == expected.keys()
    for name, (label, split, reason) in expected.items():
        assert found[name][:2] == (label, split), name
        assert found[name][2].startswith(reason), name
        assert bool(found[name][2]) == bool(reason), name


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_hard_links_have_the_bytes_of_the_member_that_they_name(tmp_path, form):
    long = "n" * 150 + ".jpg"
    data = tar_of(
        ("./a/1.jpg", b"one"),
        (f"a/{long}", b"long"),
        info("b/2.jpg", type=tarfile.LNKTYPE, linkname="./a/1.jpg"),
        info("b/3.jpg", type=tarfile.LNKTYPE, linkname="b/2.jpg"),
        info("b/4.jpg", type=tarfile.LNKTYPE, linkname=f"a/{long}"),
        info("b/5.jpg", type=tarfile.LNKTYPE, linkname="later.jpg"),
        info("b/6.jpg", type=tarfile.LNKTYPE, linkname="../../etc/passwd"),
        ("later.jpg", b"later"),
        form=form,
    )
    (tmp_path / "x.tar").write_bytes(data)
    source = find_images(tmp_path / "x.tar")
    reader = LocalReader(source.root)
    found = {os.fsdecode(item.path)[6:]: item.reason or reader.read(item)[0] for item in source.items}
    broken = "a hard link to a file that the archive does not contain before it"
    assert [found[f"b/{number}.jpg"] for number in range(2, 7)] == [b"one", b"one", b"long", broken, broken]


def test_incremental_archives_of_gnu_tar_have_the_names_of_their_files(tmp_path):
    tar = shutil.which("tar") or pytest.skip("needs GNU tar")
    if "GNU tar" not in subprocess.run([tar, "--version"], capture_output=True, text=True).stdout:
        pytest.skip("needs GNU tar")
    for name in ("a/1.jpg", "b/2.jpg", "b/c/" + "n" * 120 + ".jpg"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(os.path.basename(name).encode())
    options = ["--format=gnu", f"--listed-incremental={tmp_path}/note", "--label=photos of May"]
    subprocess.run([tar, *options, "-cf", tmp_path / "x.tar", "a", "b"], cwd=tmp_path / "in", check=True)
    assert listed(tmp_path / "x.tar") == {
        "a/1.jpg": ("a", "", ""),
        "b/2.jpg": ("b", "", ""),
        "b/c/" + "n" * 120 + ".jpg": ("b", "", ""),
    }


@pytest.mark.parametrize("name", ["photos.zip", "photos.tar", "PHOTOS.ZIP"])
@pytest.mark.parametrize("given", ["file", "folder"])
def test_a_zip_archive_is_to_be_unzipped_first(tmp_path, name, given, headstart_run, tiny_backbone):
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("a/1.png", b"")
    place = tmp_path / name if given == "file" else tmp_path
    with pytest.raises(SourceError, match=f"{name}: expected .*, found a zip archive; unzip it first") as caught:
        find_images(place)
    assert "\n" not in str(caught.value)
    if (name, given) == ("photos.zip", "folder"):
        run = headstart_run("embed", place, "--model", tiny_backbone, "-o", tmp_path.parent / "a.h5")
        assert run.returncode == 1
        assert "unzip it first" in run.stderr


def test_files_about_an_archive_are_left_out(tmp_path):  # rom1504/img2dataset#31
    for name in ("0", "1"):
        (tmp_path / f"{name}.tar").write_bytes(tar_of(*A))
        (tmp_path / f"{name}.parquet").write_bytes(b"a table without images")
        (tmp_path / f"{name}_stats.json").write_text("{}")
    (tmp_path / "0.tar.md5").write_text("0")
    (tmp_path / "notes.txt").write_text("notes")
    assert [item.path for item in find_images(tmp_path).items] == [
        b"0.tar/a/1.jpg", b"0.tar/b/2.jpg", b"1.tar/a/1.jpg", b"1.tar/b/2.jpg",
    ]  # fmt: skip


def test_a_member_repeated_thousands_of_times_costs_neither_time_nor_long_names(tmp_path):
    (tmp_path / "x.tar").write_bytes(tar_of(*[("a/1.jpg", b"")] * 20_000))
    items = find_images(tmp_path / "x.tar").items
    assert len(items) == 20_000
    assert max(len(item.path) for item in items) < 40
