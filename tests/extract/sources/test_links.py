"""Symbolic links: named by the user, inside a folder, or next to a list."""

import os
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from headstart.extract.options import SourceOptions
from headstart.extract.pipeline import embed
from headstart.extract.sources.find import find_images
from headstart.extract.sources.open import open_reader
from headstart.extract.store.store import open_store
from headstart.extract.thumbnails import thumbnail
from headstart.files.errors import OptionError

FOLLOW = SourceOptions(follow_links=True)


def listed(images, options: SourceOptions | None = None) -> dict[str, tuple[str | None, str]]:
    return {os.fsdecode(item.path): (item.label, item.reason) for item in find_images(images, options).items}


@pytest.fixture
def disk(tmp_path, picture) -> Path:
    """Give a folder elsewhere, with a photo in each of two classes."""
    for seed, name in enumerate(("cat", "dog")):
        (tmp_path / "disk" / name).mkdir(parents=True)
        (tmp_path / "disk" / name / f"{seed}.png").write_bytes(picture(seed))
    return tmp_path / "disk"


def test_class_folders_on_a_data_disk_are_followed_on_request(tmp_path, disk):
    (tmp_path / "photos").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).symlink_to(disk / name)
    reasons = {reason for _, reason in listed(tmp_path / "photos").values()}
    assert reasons == {"link that leads out of the folder; not followed without --follow-links"}
    assert listed(tmp_path / "photos", FOLLOW) == {"cat/0.png": ("cat", ""), "dog/1.png": ("dog", "")}


def test_links_that_go_round_end(tmp_path, disk):
    (disk / "cat" / "up").symlink_to(disk)
    (disk / "cat" / "self").symlink_to("self")
    (disk / "dog" / "pets").symlink_to("../cat")
    (disk / "dog" / "gone.png").symlink_to("nowhere.png")
    found = listed(disk, FOLLOW)
    assert (
        found.pop("cat/self")[1]
        == found.pop("dog/pets/self")[1]
        == "cannot be looked at: too many levels of " + ("symbolic links")
    )
    assert found == {
        "cat/0.png": ("cat", ""),
        "cat/up": ("cat", "link to a folder that it lies in"),
        "dog/1.png": ("dog", ""),
        "dog/gone.png": ("dog", "no such file"),
        "dog/pets/0.png": ("dog", ""),
        "dog/pets/up": ("dog", "link to a folder that it lies in"),
    }


def test_devices_behind_links_are_not_read(tmp_path, disk):
    (disk / "cat" / "endless.png").symlink_to("/dev/zero")
    assert listed(disk, FOLLOW)["cat/endless.png"][1] == "not a regular file but a device"


def test_a_link_to_images_next_to_a_list(tmp_path, disk):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "images").symlink_to(disk)
    path = tmp_path / "lists" / "list.csv"
    path.write_text("path,label\nimages/cat/0.png,cat\nimages/dog/1.png,dog\n")
    (reason,) = {reason for _, reason in listed(path).values()}
    assert reason == "outside the manifest's folder, behind a link; not followed without --follow-links"
    assert listed(path, FOLLOW) == {"images/cat/0.png": ("cat", ""), "images/dog/1.png": ("dog", "")}


def test_absolute_paths_of_a_root_that_is_a_link_are_found(tmp_path, disk):
    (tmp_path / "link").symlink_to(disk)
    path = tmp_path / "list.csv"
    path.write_text(f"path\n{disk}/cat/0.png\n{tmp_path}/link/dog/1.png\n")
    assert listed(path, SourceOptions(root=tmp_path / "link")) == {"cat/0.png": (None, ""), "dog/1.png": (None, "")}


@pytest.mark.parametrize("name", ["disk", "disk/cat/0.png", "list.csv", "table.parquet", "photos.tar"])
def test_a_link_that_the_user_names_is_followed(tmp_path, disk, name, picture):
    import tarfile

    pq.write_table(pa.table({"image": [picture(3)], "label": ["cat"]}), tmp_path / "table.parquet")
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(disk / "cat", "cat")
    (tmp_path / "list.csv").write_text("path\ndisk/cat/0.png\n")
    (tmp_path / "other").mkdir()
    link = tmp_path / "other" / name.rpartition("/")[2]
    link.symlink_to(tmp_path / name)
    options = SourceOptions(root=tmp_path) if name.endswith(".csv") else None
    source = find_images(link, options)
    assert not any(item.reason for item in source.items)
    for item in source.items:
        reader = open_reader(source.root)
        assert reader.read(item)[0]
        reader.close()


# huggingface/datasets#5098: the hub's cache holds links from a snapshot to its blobs
def test_snapshots_of_the_hub_cache_are_read(tmp_path, picture):
    snapshot = tmp_path / "snapshots" / "abc" / "data"
    for folder in (snapshot, tmp_path / "blobs"):
        folder.mkdir(parents=True)
    for seed, split in enumerate(("train", "validation")):
        table = pa.table({"image": [picture(seed)], "label": ["cat"]})
        pq.write_table(table, tmp_path / "blobs" / split)
        (snapshot / f"{split}-00000-of-00001.parquet").symlink_to(f"../../../blobs/{split}")
    source = find_images(snapshot, FOLLOW)
    assert [(item.label, item.split, item.reason) for item in source.items] == [
        ("cat", "train", ""),
        ("cat", "val", ""),
    ]
    reader = open_reader(source.root)
    data = [reader.read(item)[0] for item in source.items]
    reader.close()
    assert data == [picture(0), picture(1)]
    refused = find_images(snapshot).items
    assert all("--follow-links" in item.reason for item in refused)


def test_a_thumbnail_follows_a_link_only_for_the_content_that_is_known(tmp_path, disk, picture):
    import hashlib

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat").symlink_to(disk / "cat")
    digest = hashlib.sha256(picture(0)).digest()
    assert thumbnail(tmp_path / "photos", b"cat/0.png", sha256=digest)
    assert thumbnail(tmp_path / "photos", b"cat/0.png") is None
    assert thumbnail(tmp_path / "photos", b"../disk/cat/0.png", sha256=digest) is None


@pytest.mark.parametrize("name", ["photos.h5", "photos.emb"])
def test_a_store_behind_a_link_is_updated_where_it_is(tmp_path, disk, backbone, picture, name):
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / name).symlink_to(tmp_path / name)
    embed(disk, backbone, tmp_path / name)
    (disk / "cat" / "2.png").write_bytes(picture(2))
    _, summary = embed(disk, backbone, tmp_path / "links" / name)
    assert (summary.computed, summary.reused) == (1, 2)
    assert (tmp_path / "links" / name).is_symlink()
    assert len(open_store(tmp_path / name)) == len(open_store(tmp_path / "links" / name)) == 3


ALL = {"root": ".", "label_column": "label", "follow_links": True}


@pytest.mark.parametrize(
    ("name", "kind", "used"),
    [
        ("disk", "a folder", {"follow_links"}),
        ("disk/cat/0.png", "an image file", set()),
        ("photos.tar", "an archive or table", set()),
        ("table.parquet", "an archive or table", {"label_column"}),
        ("tables", "a folder", {"label_column", "follow_links"}),
        ("list.csv", "a list", {*ALL}),
        ("memory", "a URL", set()),
        ("files", "several image files", set()),
    ],
)
@pytest.mark.parametrize("option", ALL)
def test_an_option_that_would_do_nothing_is_refused(tmp_path, disk, picture, name, kind, used, option):
    (tmp_path / "tables").mkdir()
    for table in ("table.parquet", "tables/table.parquet"):
        pq.write_table(pa.table({"image": [picture(3)], "label": ["cat"]}), tmp_path / table)
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(disk / "cat", "cat")
    (tmp_path / "list.csv").write_text("path,label\ndisk/cat/0.png,cat\n")
    MemoryFileSystem().pipe("/options/cat/0.png", picture(3))
    places = {"memory": "memory://options", "files": [disk / "cat/0.png"]}
    images, options = places.get(name, tmp_path / name), SourceOptions(**{option: ALL[option]})
    if name == "list.csv" and option == "root":
        options = SourceOptions(root=tmp_path)
    if option in used:
        assert find_images(images, options).items
        return
    with pytest.raises(OptionError, match=f"--{option.replace('_', '-')} .* but this is {kind}"):
        find_images(images, options)
