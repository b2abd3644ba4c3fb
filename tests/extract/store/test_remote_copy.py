"""Stores and tables at URLs: what is there is what a run here would have made, whatever happens on the way."""

import csv
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from headstart.classify import score, train
from headstart.extract import EngineOptions, Share, embed, merge, open_store, read_model
from headstart.extract.errors import BusyError, StoreError
from headstart.extract.store import remote_copy
from headstart.extract.store.remote_copy import working_copy
from headstart.extract.store.remote_files import RemoteFiles
from headstart.extract.store.schema import ROW_DTYPES
from headstart.extract.store.shards import MODEL_FILE, shards_of
from headstart.files.errors import LocationError, OutputError

boto3 = pytest.importorskip("boto3")
pytestmark = pytest.mark.filterwarnings("ignore")  # of boto and its kin
FAULTS = ("throttled", "reset", "slow", "cut")


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """Give a function that goes to another machine: one with another cache."""

    def go_to(name: str) -> Path:
        monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "caches" / name))
        return tmp_path / "caches" / name

    go_to("first")
    monkeypatch.setattr("headstart.files.filesystems.FIRST_WAIT", 0.01)
    return go_to


@pytest.fixture
def bucket(door):
    name = f"stores-{time.time_ns()}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture
def many_shards(monkeypatch):
    monkeypatch.setattr("headstart.extract.store.writer.ROWS_A_SHARD", 8)


def objects(url: str) -> dict[str, bytes]:
    client, (name, _, prefix) = boto3.client("s3"), url.removeprefix("s3://").partition("/")
    found = client.list_objects_v2(Bucket=name, Prefix=prefix).get("Contents", [])
    return {entry["Key"]: client.get_object(Bucket=name, Key=entry["Key"])["Body"].read() for entry in found}


def rows_of(store) -> dict[bytes, bytes]:
    return {path: digest.tobytes() for path, digest in zip(store.rows.path.tolist(), store.rows.sha256, strict=True)}


def assert_same(one, other) -> None:
    for name in ROW_DTYPES:
        assert getattr(one.rows, name).tolist() == getattr(other.rows, name).tolist(), name
    np.testing.assert_allclose(one.embeddings(), other.embeddings(), atol=1e-3)  # their batches may differ


@pytest.mark.parametrize("name", ["photos.h5", "photos.emb"])
@pytest.mark.parametrize("faults", [(), FAULTS], ids=["well", "ill"])
def test_a_store_at_a_url_is_that_of_a_run_here(
    door, bucket, photos, backbone, tmp_path, machine, many_shards, name, faults
):
    url = f"{bucket}/deep/{name}"
    local, _ = embed(photos, backbone, tmp_path / "local.h5")
    before = {path.name for path in tmp_path.iterdir()}
    door.faults, door.method, door.kinds = faults, "PUT", ("/deep/",)
    store, summary = embed(photos, backbone, url)
    assert_same(store, local)
    if faults:
        assert max(door.seen.values()) > 1
    if name.endswith(".h5"):
        assert objects(bucket) == {f"deep/{name}": (tmp_path / "local.h5").read_bytes()}
    else:
        assert {key.rpartition("/")[2] for key in objects(bucket)} == {MODEL_FILE} | {path.name for path in store.files}
    assert {path.name for path in tmp_path.iterdir()} - before <= {"caches"}
    machine("second")
    door.method = "GET"
    door.seen.clear()
    assert_same(open_store(url), local)
    if faults:
        assert max(door.seen.values()) > 1
    door.faults = ()
    there = objects(bucket)
    _, again = embed(photos, backbone, url)
    assert (again.computed, again.reused) == (0, summary.inputs)
    assert objects(bucket) == there


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_did_not_change_is_neither_fetched_nor_put_again(door, bucket, photos, backbone, machine, elsewhere):
    url = f"{bucket}/photos.h5"
    embed(photos, backbone, url)
    if elsewhere:
        machine("second")
        open_store(url)
    door.kinds, door.method = ("photos.h5",), "GET"
    embed(photos, backbone, url)
    open_store(url)
    assert not door.seen
    door.method = "PUT"
    embed(photos, backbone, url)
    assert not door.seen


@pytest.mark.parametrize("name", ["photos.h5", "photos.emb"])
def test_what_another_machine_adds_is_reused_and_what_it_drops_goes(
    bucket, photos, backbone, picture, machine, tmp_path, name
):
    url = f"{bucket}/{name}"
    embed(photos, backbone, url)
    machine("second")
    (photos / "cat" / "new.png").write_bytes(picture(700))
    (photos / "stray.png").unlink()
    _, there = embed(photos, backbone, url)
    assert (there.computed, there.removed) == (1, 1)
    machine("first")
    store, here = embed(photos, backbone, url)
    assert (here.computed, here.removed) == (0, 0)
    assert_same(store, embed(photos, backbone, tmp_path / "local.h5")[0])


@pytest.mark.parametrize("name", ["photos.h5", "photos.emb"])
def test_a_run_that_was_cut_off_goes_on(bucket, photos, backbone, machine, many_shards, name):
    def stop(state):
        if state.done == 20:
            raise KeyboardInterrupt

    url, options = f"{bucket}/{name}", EngineOptions(workers=1, batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        embed(photos, backbone, url, options=options, progress=stop)
    if name.endswith(".emb"):  # whose finished shards are at the URL, for whatever machine goes on
        machine("second")
    else:
        assert objects(bucket) == {}
    _, summary = embed(photos, backbone, url)
    assert 0 < summary.computed <= summary.inputs - 20
    assert len(open_store(url)) == summary.inputs


def test_finished_shards_are_put_while_the_run_goes_on(bucket, photos, backbone, many_shards, monkeypatch):
    monkeypatch.setattr(remote_copy, "SECONDS_PER_UPLOAD", 0.05)
    url, seen = f"{bucket}/photos.emb", []

    def look(state):
        if state.done == 20:
            end = time.monotonic() + 60
            while len(objects(bucket)) < 3 and time.monotonic() < end:
                time.sleep(0.05)
            seen.append(len(objects(bucket)))

    embed(photos, backbone, url, options=EngineOptions(workers=1, batch_size=4), progress=look)
    assert seen[0] >= 3


def test_a_result_of_another_machine_is_not_overwritten(door, bucket, photos, backbone, machine, tmp_path):
    url = f"{bucket}/photos.h5"

    def overtake(state):
        if state.done == 20:
            machine("second")
            embed(photos, backbone, url, share=Share(1, 2))
            machine("first")

    with pytest.raises(StoreError, match="changed at the URL during this run: expected none, found") as caught:
        embed(photos, backbone, url, progress=overtake)
    assert str(caught.value).startswith(f"{url}: ")
    there = objects(bucket)
    assert 0 < len(open_store(url)) < 25
    assert objects(bucket) == there
    store, summary = embed(photos, backbone, url)
    assert summary.computed == 0  # what both had done is kept
    assert_same(store, embed(photos, backbone, tmp_path / "local.h5")[0])


def test_machines_share_a_folder_of_shards_of_one_model_alone(
    bucket, photos, backbone, make_backbone, machine, tmp_path
):
    url, other = f"{bucket}/photos.emb", make_backbone(tmp_path / "other.onnx", seed=1)

    def join(state):
        if state.done == 5:
            machine("second")
            embed(photos, backbone, url, share=Share(2, 2))
            machine("first")

    embed(photos, backbone, url, share=Share(1, 2), progress=join)
    assert_same(open_store(url), embed(photos, backbone, tmp_path / "local.h5")[0])
    url = f"{bucket}/others.emb"

    def differ(state):
        if state.done == 5:
            machine("second")
            embed(photos, other, url)
            machine("first")

    with pytest.raises(StoreError, match=r"model\.onnx changed at the URL"):
        embed(photos, backbone, url, progress=differ)
    machine("third")
    assert open_store(url).model().sha256 == read_model(other).sha256


def test_a_store_that_was_deleted_is_made_anew(bucket, photos, backbone):
    url = f"{bucket}/photos.h5"
    embed(photos, backbone, url)
    boto3.client("s3").delete_object(Bucket=bucket.removeprefix("s3://"), Key="photos.h5")
    with pytest.raises(StoreError, match="there is no embedding store"):
        open_store(url)
    assert embed(photos, backbone, url)[1].reused == 0


def test_of_two_writers_on_one_machine_one_is_told(bucket, photos, backbone):
    url = f"{bucket}/photos.emb"
    with (
        working_copy(url),
        pytest.raises(BusyError, match=f"^{url}: being written by process"),
        working_copy(url),
    ):
        pass


def test_stores_at_urls_are_merged_trained_on_and_scored(bucket, tiny_photos, tiny_backbone, tmp_path):
    boto3.client("s3").upload_file(str(tiny_backbone), bucket.removeprefix("s3://"), "backbone.onnx")
    one_by_one = EngineOptions(batch_size=1)  # the numbers of an image may depend on the images beside it in a batch
    for number in (1, 2):
        share = Share(number, 2)
        embed(tiny_photos, f"{bucket}/backbone.onnx", f"{bucket}/{number}.h5", share=share, options=one_by_one)
    merged = merge([f"{bucket}/{number}.h5" for number in (1, 2)], f"{bucket}/photos.h5")
    assert_same(merged, embed(tiny_photos, tiny_backbone, tmp_path / "local.h5", options=one_by_one)[0])
    assert objects(bucket)["photos.h5"] == (tmp_path / "local.h5").read_bytes()
    classifier = train(f"{bucket}/photos.h5", tmp_path / "c.onnx").path
    for images in (tiny_photos, f"{bucket}/photos.h5"):
        local = score(tmp_path / "local.h5" if images != tiny_photos else images, classifier, tmp_path / "p.csv")
        summary = score(images, classifier, f"{bucket}/p.csv")
        assert (summary.output, summary.inputs) == (f"{bucket}/p.csv", local.inputs)
        assert objects(bucket)["p.csv"] == (tmp_path / "p.csv").read_bytes()


def test_shares_are_scored_to_urls(bucket, tiny_photos, tiny_classifier, tmp_path, machine):
    cache = machine("first")
    score(tiny_photos, tiny_classifier, tmp_path / "p.csv")
    for number in (1, 2, 3):
        score(tiny_photos, tiny_classifier, f"{bucket}/{number}.csv", share=Share(number, 3))
    lines = [line for data in objects(bucket).values() for line in data.decode().splitlines()[1:]]
    assert sorted(lines) == sorted((tmp_path / "p.csv").read_text().splitlines()[1:])
    assert [path for path in cache.rglob("*.csv*") if path.suffix != ".lock"] == []


@pytest.mark.parametrize("name", ["photos.h5", "photos.emb"])
def test_memory_is_a_place_for_stores_as_well(photos, backbone, tmp_path, machine, name):
    url = f"memory://{time.time_ns()}/{name}"
    local, _ = embed(photos, backbone, tmp_path / "local.h5")
    embed(photos, backbone, url)
    machine("second")
    assert_same(open_store(url), local)
    (photos / "stray.png").unlink()
    store, summary = embed(photos, backbone, url)
    assert (summary.computed, summary.removed) == (0, 1)
    machine("third")
    assert_same(open_store(url), store)


def test_a_url_of_this_machine_is_a_path(photos, backbone, tmp_path, machine):
    store, _ = embed(photos, backbone, f"file://{tmp_path}/photos.h5")
    assert_same(open_store(tmp_path / "photos.h5"), store)
    assert not machine("first").exists()


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("s3://no-such-bucket-of-ours/photos.h5", OutputError, "cannot be written: "),
        ("s3://no-such-bucket-of-ours", OutputError, "expected a name that ends in .h5|cannot be written"),
        ("nothing://a/photos.h5", LocationError, "cannot be opened"),
        ("s3://me:secret@host/photos.h5", LocationError, "without a name or password"),
    ],
)
def test_what_cannot_be_written_is_told_before_any_work(door, photos, backbone, url, kind, message):
    with pytest.raises(kind, match=message) as caught:
        embed(photos, backbone, url, progress=lambda _: pytest.fail("worked"))
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_store_inside_the_images_is_refused(bucket, backbone):
    with pytest.raises(OutputError, match="lies inside"):
        embed(f"{bucket}/photos", backbone, f"{bucket}/photos/out.h5")


def test_a_put_that_fails_for_good_keeps_the_work(door, bucket, photos, backbone, monkeypatch):
    url = f"{bucket}/photos.h5"
    with monkeypatch.context() as ill:
        ill.setattr("headstart.files.filesystems.TRIES", 2)
        ill.setattr(
            type(door), "fault_of", lambda self, method, path: "throttled" if method == "PUT" and "h5" in path else ""
        )
        with pytest.raises(OutputError, match=f"^{url}: cannot be written: .*saved at"):
            embed(photos, backbone, url)
    assert objects(bucket) == {}
    with pytest.raises(StoreError, match="there is no embedding store"):
        open_store(url)
    assert embed(photos, backbone, url)[1].computed == 0
    assert len(objects(bucket)) == 1


def test_readers_see_what_is_published_and_no_more(bucket, photos, backbone, monkeypatch, tmp_path):
    url = f"{bucket}/photos.h5"
    before, _ = embed(photos, backbone, tmp_path / "local.h5")
    embed(photos, backbone, url)
    (photos / "stray.png").unlink()
    with monkeypatch.context() as ill:
        ill.setattr(RemoteFiles, "upload", refuse_upload)
        with pytest.raises(OutputError):
            embed(photos, backbone, url)
    assert_same(open_store(url), before)
    assert embed(photos, backbone, url)[1].removed == 0  # removed here already
    assert len(open_store(url)) == len(before) - 1


def refuse_upload(self, path, name):
    raise OutputError("full")


@pytest.mark.parametrize("note", [b"[1, 2]", b'{"photos.h5": 3}', b"not JSON", b"[" * 100_000, None])
@pytest.mark.parametrize("is_published", [True, False])
def test_without_its_note_a_copy_reverts_nothing(
    bucket, photos, backbone, picture, machine, monkeypatch, note, is_published
):
    cache, url = machine("first"), f"{bucket}/photos.h5"
    embed(photos, backbone, url)
    if not is_published:
        (photos / "dog" / "mine.png").write_bytes(picture(800))
        with monkeypatch.context() as ill:
            ill.setattr(RemoteFiles, "upload", refuse_upload)
            with pytest.raises(OutputError):
                embed(photos, backbone, url)
    machine("second")
    (photos / "stray.png").unlink()
    (photos / "cat" / "00.png").write_bytes(picture(700))
    embed(photos, backbone, url)
    there = rows_of(open_store(url))
    machine("first")
    (path,) = cache.rglob(".note")
    path.unlink()
    if note is not None:
        path.write_bytes(note)
    shares = [Share(number, 3) for number in (1, 2, 3)]
    share = next(share for share in shares if not (share.holds(b"stray.png") or share.holds(b"cat/00.png")))
    embed(photos, backbone, url, share=share)
    assert rows_of(open_store(url)) == there


@pytest.mark.parametrize("name", ["photos.h5", "photos.emb"])
@pytest.mark.parametrize("is_noticed", [True, False])
def test_a_damaged_copy_is_fetched_again(bucket, photos, backbone, machine, name, is_noticed):
    cache, url = machine("first"), f"{bucket}/{name}"
    store, _ = embed(photos, backbone, url)
    copy, *_links = [path for path in cache.rglob("*.h5") if path.is_file()]

    def damage():
        data, times = bytearray(copy.read_bytes()), copy.stat()
        data[-5] ^= 1
        copy.write_bytes(data)
        if not is_noticed:  # as where the disk is at fault
            os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))

    damage()
    assert_same(open_store(url), store)
    damage()
    assert embed(photos, backbone, url)[1].computed == 0
    assert_same(open_store(url), store)


def test_damage_at_the_url_is_told(bucket, photos, backbone, machine):
    cache, url = machine("first"), f"{bucket}/photos.h5"
    embed(photos, backbone, url)
    (copy,) = cache.rglob("photos.h5")
    data = bytearray(copy.read_bytes())
    data[-5] ^= 1
    boto3.client("s3").put_object(Bucket=bucket.removeprefix("s3://"), Key="photos.h5", Body=bytes(data))
    with pytest.raises(StoreError, match="damaged") as caught:
        open_store(url)
    assert str(caught.value).startswith(f"{url} (here as {copy}): ")


def test_commands_take_urls_of_a_real_server(bucket, tiny_photos, tiny_backbone, tiny_classifier, tmp_path):
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "headstart", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)

    url = f"{bucket}/photos.h5"
    made = run("embed", tiny_photos, "--model", tiny_backbone, "-o", url)
    assert made.stdout.startswith(f"{url}: 60 embedded, 1 failed")
    assert f"next: headstart train {url}" in made.stdout
    assert run("score", url, "--classifier", tiny_classifier, "-o", f"{bucket}/p.csv").returncode == 0
    rows = list(csv.DictReader(objects(bucket)["p.csv"].decode().splitlines()))
    assert len(rows) == 61
    assert {path.name for path in tmp_path.iterdir()} <= {"caches"}


def test_workers_of_ray_on_this_machine_write_to_the_copy(bucket, photos, backbone, tmp_path):
    pytest.importorskip("ray")
    store, _ = embed(photos, backbone, f"{bucket}/photos.emb", options=EngineOptions(engine="ray", workers=2))
    assert_same(store, embed(photos, backbone, tmp_path / "local.h5")[0])
    assert len(objects(bucket)) == 1 + len(shards_of(store.location))


def test_what_fails_is_tried_again_and_never_half_there(photos, backbone, tmp_path, machine, monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    failing, url = Counter(), f"memory://{time.time_ns()}/photos.emb"
    original = {name: getattr(MemoryFileSystem, name) for name in ("put_file", "get_file", "ls")}

    def cut(name, most):
        def attempt(self, source, target=None, **options):
            failing[name, source] += 1
            if failing[name, source] > most:
                return original[name](self, source, *([target] if target else []), **options)
            if name == "put_file":
                self.pipe_file(target, Path(source).read_bytes()[:100])
            if name == "get_file":
                Path(target).write_bytes(self.cat_file(source)[:100])
                return None
            raise TimeoutError("timed out")

        monkeypatch.setattr(MemoryFileSystem, name, attempt)

    for name in original:
        cut(name, most=2)
    local, _ = embed(photos, backbone, tmp_path / "local.h5")
    embed(photos, backbone, url)
    machine("second")
    assert_same(open_store(url), local)
    cut("put_file", most=99)
    (photos / "stray.png").unlink()
    before = {path: MemoryFileSystem().cat_file(path) for path in MemoryFileSystem().find(url)}
    with pytest.raises(OutputError, match="timed out"):
        embed(photos, backbone, url)
    assert {path: MemoryFileSystem().cat_file(path) for path in MemoryFileSystem().find(url)} == before


def test_missing_credentials_are_told_in_one_line(door, bucket, photos, backbone, monkeypatch):
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(OutputError, match=f"^{bucket}/photos.h5: cannot be written: .*check the credentials"):
        embed(photos, backbone, f"{bucket}/photos.h5")
