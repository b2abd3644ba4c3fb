"""Images at URLs: a real S3 server on this machine, behind a door that fails as networks do."""

import csv
import io
import os
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from PIL import Image

from headstart.extract import EngineOptions, embed, find_images
from headstart.extract.errors import DecodeError, SourceError
from headstart.extract.sources.open import open_reader
from headstart.extract.sources.remote import RemoteReader
from headstart.extract.store.schema import ROW_DTYPES
from headstart.files.errors import HeadstartError, LocationError

boto3 = pytest.importorskip("boto3")
pytest.importorskip("s3fs")
pytestmark = pytest.mark.filterwarnings("ignore")  # of boto and its kin


@pytest.fixture
def photos(picture, tmp_path):
    for number in range(60):
        split = "train" if number % 4 else "val"
        path = tmp_path / "photos" / split / ("ash", "oak")[number % 2] / f"{number:02} é.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number, size=(120, 90)) if number != 13 else b"no image")
    (tmp_path / "photos" / "train" / "ash" / ".hidden.png").write_bytes(picture(0))
    return tmp_path / "photos"


@pytest.fixture
def bucket(door, photos):
    client = boto3.client("s3")
    name = f"photos-{time.time_ns()}"
    client.create_bucket(Bucket=name)
    for path in photos.rglob("*.png"):
        client.put_object(Bucket=name, Key=f"some/where/{path.relative_to(photos).as_posix()}", Body=path.read_bytes())
    client.put_object(Bucket=name, Key="some/where/train/", Body=b"")  # as consoles leave for a folder
    door.seen.clear()
    return f"s3://{name}/some/where"


def assert_same(one, other) -> None:
    for name in set(ROW_DTYPES) - {"mtime_ns"}:
        assert getattr(one.rows, name).tolist() == getattr(other.rows, name).tolist(), name
    np.testing.assert_allclose(one.embeddings(), other.embeddings(), rtol=2e-3)  # their batches may differ


@pytest.mark.parametrize("faults", [(), ("throttled", "reset", "slow", "cut", "")], ids=["well", "ill"])
def test_rows_are_those_of_the_folder(door, bucket, photos, backbone, tmp_path, faults):
    local, _ = embed(photos, backbone, tmp_path / "local.h5")
    door.faults = faults
    door.sent = 0
    store, summary = embed(bucket, backbone, tmp_path / "remote.h5")
    assert_same(store, local)
    assert (summary.inputs, summary.failed) == (60, 1)
    assert store.header.root == bucket
    size = sum(path.stat().st_size for path in photos.rglob("*.png") if not path.name.startswith("."))
    assert door.sent <= 1.05 * size
    if faults:
        assert max(door.seen.values()) == 2
    door.seen.clear()
    _, again = embed(bucket, backbone, tmp_path / "remote.h5")
    assert (again.computed, again.reused) == (0, 60)
    assert not any(".png" in path for path in door.seen)


def test_what_is_changed_is_read_and_what_is_gone_goes(door, bucket, backbone, picture, tmp_path):
    embed(bucket, backbone, tmp_path / "a.h5")
    client, (name, _, prefix) = boto3.client("s3"), bucket.removeprefix("s3://").partition("/")
    client.put_object(Bucket=name, Key=f"{prefix}/val/ash/00 é.png", Body=picture(500))
    client.delete_object(Bucket=name, Key=f"{prefix}/train/oak/01 é.png")
    store, summary = embed(bucket, backbone, tmp_path / "a.h5")
    assert (summary.computed, summary.removed, len(store)) == (1, 1, 59)


def test_an_object_that_stays_out_of_reach_is_a_failure_and_tried_again(door, bucket, backbone, tmp_path, monkeypatch):
    monkeypatch.setattr("headstart.files.filesystems.FIRST_WAIT", 0.001)
    monkeypatch.setattr("headstart.files.filesystems.TRIES", 2)
    with monkeypatch.context() as ill:
        ill.setattr(type(door), "fault_of", lambda self, method, path: "throttled" if "/02" in path else "")
        store, summary = embed(bucket, backbone, tmp_path / "a.h5", options=EngineOptions(isolate=False))
    assert summary.failed == 2
    ((reason,),) = [[why for path, why in store.failures.items() if "02" in path]]
    assert reason.startswith("cannot be read: ")
    _, again = embed(bucket, backbone, tmp_path / "a.h5", options=EngineOptions(isolate=False))
    assert (again.computed, again.failed) == (1, 1)


def test_a_folder_that_cannot_be_listed_is_an_error_and_not_empty(photos, monkeypatch):
    from fsspec import AbstractFileSystem
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem().put(str(photos), "/listed", recursive=True)
    original = MemoryFileSystem.ls

    def ls(self, path, detail=True, **options):
        if "oak" in path:
            raise TimeoutError("timed out")
        return original(self, path, detail=detail, **options)

    monkeypatch.setattr("headstart.files.filesystems.FIRST_WAIT", 0.001)
    monkeypatch.setattr(MemoryFileSystem, "ls", ls)
    monkeypatch.setattr(MemoryFileSystem, "find", AbstractFileSystem.find)  # as most kinds of store have it
    with pytest.raises(LocationError, match="cannot be listed: timed out"):
        find_images("memory://listed")


def test_a_url_of_this_machine_is_a_folder_and_one_with_a_password_is_refused(photos, tmp_path):
    found = find_images(f"file://{photos}")
    assert [item.path for item in found.items] == [item.path for item in find_images(photos).items]
    with pytest.raises(LocationError, match="without a name or password") as caught:
        find_images("ftp://me:secret@host/photos")
    assert "secret" not in str(caught.value)


def test_scoring_and_ray_read_urls_too(door, bucket, tiny_classifier, assert_same_predictions, tmp_path):
    from headstart.classify import score

    for engine in ("local", "ray"):
        if engine == "ray":
            pytest.importorskip("ray")
        summary = score(bucket, tiny_classifier, tmp_path / f"{engine}.csv", options=EngineOptions(engine=engine))
        assert (summary.inputs, summary.failed) == (60, 1)
    rows = [list(csv.DictReader((tmp_path / f"{engine}.csv").read_text().splitlines())) for engine in ("local", "ray")]
    assert_same_predictions(*rows)


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Give folders of archives and of tables of 120 photos of 50 KB, which hold the labels as well."""
    import pyarrow.parquet

    folder = tmp_path_factory.mktemp("packed")
    rng = np.random.default_rng(0)
    photos = []
    for _ in range(60):
        held = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (130, 130, 3), np.uint8)).save(held, "PNG")
        photos.append(held.getvalue())
    for kind in ("tars", "tables"):
        (folder / kind).mkdir()
    for number in range(2):
        with tarfile.open(folder / "tars" / f"{number}.tar", "w") as archive:
            for key, photo in list(enumerate(photos))[number::2]:
                for name, data in ((f"{key:03}.cls", b"ash" if key % 3 else b"oak"), (f"{key:03}.png", photo)):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    table = pyarrow.table({"image": photos, "label": ["ash" if key % 3 else "oak" for key in range(60)]})
    pyarrow.parquet.write_table(table, folder / "tables" / "x.parquet", row_group_size=25)
    return folder


@pytest.mark.parametrize("faults", [(), ("throttled", "reset", "cut")], ids=["well", "ill"])
@pytest.mark.parametrize("kind", ["tars", "tables"])
def test_rows_of_archives_and_tables_are_those_that_they_have_here(
    door, packed, backbone, tmp_path, monkeypatch, kind, faults
):
    monkeypatch.setattr("headstart.files.filesystems.FIRST_WAIT", 0.001)
    client, name = boto3.client("s3"), f"packed-{time.time_ns()}"
    client.create_bucket(Bucket=name)
    for path in (packed / kind).iterdir():
        client.upload_file(str(path), name, f"shards/{path.name}")
    url = f"s3://{name}/shards"
    quick = EngineOptions(isolate=False)
    local, _ = embed(packed / kind, backbone, tmp_path / "local.h5", options=quick)
    assert len(local) == local.is_embedded.sum() == 60
    door.seen.clear()
    door.faults, door.sent = faults, 0
    size = sum(path.stat().st_size for path in (packed / kind).iterdir())
    assert {item.label for item in find_images(url).items} == {"ash", "oak"}
    assert door.sent < 0.05 * size
    door.sent = 0
    store, summary = embed(url, backbone, tmp_path / "remote.h5", options=quick)
    for column in set(ROW_DTYPES) - {"mtime_ns"}:
        assert getattr(store.rows, column).tolist() == getattr(local.rows, column).tolist(), column
    assert np.allclose(store.embeddings(), local.embeddings(), rtol=2e-3)
    assert (summary.computed, summary.failed) == (60, 0)
    assert door.sent <= 1.05 * size
    door.sent = 0
    _, again = embed(url, backbone, tmp_path / "remote.h5", options=quick)
    assert again.computed == 0
    assert door.sent < 0.05 * size
    one = next(iter((packed / kind).iterdir())).name
    assert {item.path.partition(b"/")[0] for item in find_images(f"{url}/{one}").items} == {one.encode()}


def test_memory_is_a_store_as_well(photos, backbone, tmp_path):
    import fsspec

    files = fsspec.filesystem("memory")
    files.put(str(photos / "val"), "/pictures", recursive=True)
    found = find_images("memory://pictures")
    assert {item.label for item in found.items} == {"ash"}
    store, _ = embed("memory://pictures", backbone, tmp_path / "a.h5")
    assert len(store) == 15


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://no-such-bucket-of-ours/photos", "cannot be listed|found no files"),
        ("nothing://a/b", "cannot be opened"),
        ("memory://empty", "found no files"),
    ],
)
def test_what_cannot_be_listed_is_told_in_one_line(door, monkeypatch, url, message):
    monkeypatch.setattr("headstart.files.filesystems.FIRST_WAIT", 0.001)
    with pytest.raises(HeadstartError, match=message) as caught:
        find_images(url)
    assert str(caught.value).startswith(f"{url}: ")
    assert "\n" not in str(caught.value)


def test_wrong_credentials_are_told_in_one_line(door, bucket, backbone, tmp_path, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    command = [sys.executable, "-m", "headstart", "embed", bucket, "--model", str(backbone), "-o", tmp_path / "a.h5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {bucket}: cannot be listed: ")
    assert "credentials" in done.stderr
    assert done.stderr.count("\n") == 1


def test_every_object_is_one_row_whatever_its_key(door, picture):
    client, name = boto3.client("s3"), f"keys-{time.time_ns()}"
    client.create_bucket(Bucket=name)
    keys = [
        "cat/1.png",
        "cat//1.png",
        "/cat/1.png",
        "//dog/2.png",
        "dog/a b.png",
        "dog/x#y.png",
        "dog/%20+*.png",
        "dog",
    ]
    contents = {key: picture(seed) for seed, key in enumerate(keys)}
    for key, data in {
        **contents,
        "cat/": b"",
        "dog//": b"",
        "dog/empty.png": b"",
        "dog/0?versionId=1.png": b"x",
    }.items():
        client.put_object(Bucket=name, Key=f"photos/{key}", Body=data)
    source = find_images(f"s3://{name}/photos")
    by_path = {os.fsdecode(item.path): item for item in source.items}
    assert sorted(by_path) == sorted([*keys, "dog/empty.png", "dog/0?versionId=1.png"])
    assert {item.label for item in source.items} == {"cat", "dog", None}
    assert [path for path, item in by_path.items() if item.label is None] == ["dog"]
    assert "rename the object" in by_path["dog/0?versionId=1.png"].reason
    reader = open_reader(source.root)
    assert {path: reader.read(by_path[path])[0] for path in keys} == contents
    assert reader.read(by_path["dog/empty.png"])[0] == b""
    reader.close()


def test_a_single_photo_at_a_url_is_read_and_a_list_refused(door, bucket, picture):
    name, _ = bucket.removeprefix("s3://").split("/", 1)
    client = boto3.client("s3")
    client.put_object(Bucket=name, Key="one/photo.png", Body=picture(3))
    (item,) = find_images(f"s3://{name}/one/photo.png").items
    assert (item.path, item.label, item.reason) == (b"photo.png", None, "")
    with pytest.raises(SourceError, match="a list at a URL is not read; download it"):
        find_images(f"s3://{name}/one/list.csv")


def test_a_server_that_sends_whole_files_is_named(tmp_path):
    class Whole(MemoryFileSystem):
        def cat_file(self, path, start=None, end=None, **kwargs):
            return super().cat_file(path)

    reader = RemoteReader("memory://whole")
    reader._files = Whole()
    reader._files.pipe_file("/whole/x.tar", bytes(2000))
    with pytest.raises(DecodeError, match="does not give parts of a file"):
        reader.part(b"x.tar", 512, 1024)
    assert len(reader.part(b"x.tar", 0, 4096)) == 2000
    reader.close()
