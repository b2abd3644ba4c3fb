import os
import shutil
import signal
import subprocess
import sys
import tarfile
from contextlib import contextmanager, suppress
from pathlib import Path

import h5py
import numpy as np
import onnx
import pyarrow.parquet
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from onnx import numpy_helper

import headstart.extract.sources.items
from headstart.extract import EngineOptions, ExtractError, embed, find_images, open_session, open_store, read_model
from headstart.extract.decoding.decode import decode
from headstart.extract.engines.clock import STAGES
from headstart.extract.errors import BusyError, SourceError, StoreError
from headstart.files.errors import OptionError, OutputError
from headstart.files.progress import Progress

INPUTS, FAILED = 25, 3


class Embedding(tuple):
    """Numbers that are equal to others but for rounding: the kernels may add differently in another batch."""

    __hash__ = None

    def __eq__(self, other) -> bool:
        return np.allclose(self, other, rtol=2e-3)

    def __ne__(self, other) -> bool:
        return not self == other


def contents(store) -> list[tuple]:
    """Give everything that must not depend on how a store was made."""
    rows = store.rows
    columns = [store.paths, rows.sha256.tolist(), store.labels.tolist(), store.splits.tolist(), rows.status.tolist()]
    columns += [rows.reason.tolist(), rows.size.tolist(), rows.mtime_ns.tolist()]
    return [*zip(*columns, map(Embedding, np.nan_to_num(store.embeddings(), nan=-1)), strict=True)]


def counts(summary) -> tuple[int, int, int]:
    return summary.computed, summary.reused, summary.removed


@pytest.fixture
def run(photos, backbone, output):
    """Give a function that embeds the photos into a store of each form, and checks what always holds."""

    def run(images=photos, model=backbone, place=output, **options):
        store, summary = embed(images, model, place, **options)
        assert summary.inputs == summary.embedded + summary.failed == summary.computed + summary.reused == len(store)
        assert contents(open_store(place)) == contents(store)
        return store, summary

    return run


def test_every_image_becomes_a_row(run, photos):
    store, summary = run()
    assert (summary.inputs, summary.embedded, summary.failed) == (INPUTS, INPUTS - FAILED, FAILED)
    assert counts(summary) == (INPUTS, 0, 0)
    assert store.rows.path.tolist() == [item.path for item in find_images(photos).items]
    assert store.classes == ["cat", "dog", "owl"]
    assert [store.labels[store.paths.index(path)] for path in ("stray.png", "cat/00.png", "owl/02.png")] == [-1, 0, 2]
    assert (summary.provider, summary.passed_over) == ("CPUExecutionProvider", [])
    assert summary.seconds > 0


def test_a_row_holds_what_the_model_gives_for_its_image(run, photos, backbone):
    store, _ = run(dtype="float32")
    model = read_model(backbone)
    session = open_session(model, "cpu")
    for path, vector in zip(store.paths, store.embeddings(), strict=True):
        if path not in store.failures:
            pixels = decode((photos / path).read_bytes(), model.rule)
            np.testing.assert_allclose(vector, session.run(pixels[None])[0], rtol=1e-5)


def test_a_failed_image_has_its_reason_and_no_vector(run):
    store, _ = run()
    reasons = store.failures
    assert list(reasons) == ["cat/broken.jpg", "dog/empty.png", "owl/notes.dat"]
    assert "truncated JPEG" in reasons["cat/broken.jpg"]
    assert reasons["dog/empty.png"] == "empty file"
    assert "not an image but a text file" in reasons["owl/notes.dat"]
    assert np.isnan(store.embeddings()[~store.is_embedded]).all()
    assert np.isfinite(store.embeddings(store.is_embedded)).all()


def test_three_lines_of_plain_h5py_read_it(photos, backbone, tmp_path):
    store, _ = embed(photos, backbone, tmp_path / "photos.h5")
    with h5py.File(tmp_path / "photos.h5") as file:
        embedding, label, classes = file["embedding"][:], file["label"][:], file.attrs["classes"]
    assert embedding.dtype == np.float16
    np.testing.assert_array_equal(embedding.astype(np.float32), store.embeddings())
    assert label.tolist() == store.labels.tolist()
    assert [name.decode() for name in classes] == store.classes


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_values_have_the_dtype_asked_for(run, dtype):
    store, _ = run(dtype=dtype)
    with h5py.File(store.files[0]) as file:
        assert file["embedding"].dtype == np.dtype(dtype)
    assert store.header.dtype == dtype


def test_the_store_carries_the_very_backbone(run, backbone):
    assert run()[0].model().data == backbone.read_bytes()


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_neither_workers_nor_batches_change_a_row(photos, backbone, tmp_path, workers, batch_size):
    expected, _ = embed(photos, backbone, tmp_path / "a.h5", dtype="float32")
    options = EngineOptions(workers=workers, batch_size=batch_size)
    given, _ = embed(photos, backbone, tmp_path / "b.h5", dtype="float32", options=options)
    assert contents(given) == contents(expected)


def test_both_forms_hold_the_same(photos, backbone, tmp_path):
    one, _ = embed(photos, backbone, tmp_path / "a.h5")
    folder, _ = embed(photos, backbone, tmp_path / "a.emb")
    assert contents(one) == contents(folder)
    assert one.model().data == folder.model().data


def test_progress_is_told_after_every_row(run):
    seen: list[Progress] = []
    run(progress=seen.append)
    assert [progress.done for progress in seen] == list(range(1, INPUTS + 1))
    assert {progress.total for progress in seen} == {INPUTS}
    assert seen[-1].failed == FAILED


def test_progress_counts_the_failures_that_were_there_already(run, photos, picture):
    run()
    seen: list[Progress] = []
    run(progress=seen.append)
    assert seen == []
    (photos / "new.png").write_bytes(picture(500))
    run(progress=seen.append)
    assert seen == [Progress("embedding", INPUTS + 1, INPUTS + 1, FAILED)]


def test_nothing_is_computed_twice(run, monkeypatch):
    first = contents(run()[0])
    monkeypatch.setattr("headstart.extract.sources.readers.read_file", None)  # would fail if anything were even read
    again, summary = run()
    assert counts(summary) == (0, INPUTS, 0)
    assert contents(again) == first


def test_an_unchanged_store_is_not_written_again(run, output):
    run()
    before = {path: path.stat().st_mtime_ns for path in [output, *output.rglob("part-*")]}
    run()
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_only_added_images_are_computed(run, photos, picture):
    run()
    for seed in range(200, 210):
        (photos / "cat" / f"a{seed}.png").write_bytes(picture(seed))
    store, summary = run()
    assert counts(summary) == (10, INPUTS, 0)
    assert store.paths == sorted(store.paths)


def test_an_image_replaced_under_its_name_is_computed(run, photos, picture):
    before = contents(run()[0])
    (photos / "dog/01.png").write_bytes(picture(300))
    after, summary = run()
    assert counts(summary) == (1, INPUTS - 1, 0)
    assert [new[0] for old, new in zip(before, contents(after), strict=True) if old != new] == ["dog/01.png"]


def test_an_image_replaced_by_one_of_its_size_is_computed(run, photos):
    run()
    data = bytearray((photos / "stray.png").read_bytes())
    data[-20] ^= 1
    (photos / "stray.png").write_bytes(data)
    assert counts(run()[1]) == (1, INPUTS - 1, 0)


def test_a_removed_image_goes(run, photos):
    run()
    (photos / "owl/02.png").unlink()
    store, summary = run()
    assert counts(summary) == (0, INPUTS - 1, 1)
    assert "owl/02.png" not in store.paths


def test_an_image_moved_to_another_class_changes_its_label_alone(run, photos):
    before, _ = run()
    vector = before.embeddings()[before.paths.index("cat/00.png")]
    os.rename(photos / "cat/00.png", photos / "dog/00.png")
    after, summary = run()
    assert counts(summary) == (0, INPUTS, 1)
    row = after.paths.index("dog/00.png")
    assert after.classes[after.labels[row]] == "dog"
    np.testing.assert_array_equal(after.embeddings()[row], vector)


def test_a_renamed_class_takes_its_rows_along(run, photos):
    run()
    os.rename(photos / "cat", photos / "zebra")
    store, summary = run()
    assert counts(summary) == (0, INPUTS, 8)
    assert store.classes == ["dog", "owl", "zebra"]
    assert {store.classes[code] for code in store.labels[-7:]} == {"zebra"}


def test_a_class_that_is_gone_is_not_named_in_the_file(photos, backbone, tmp_path):
    embed(photos, backbone, tmp_path / "photos.h5")
    shutil.rmtree(photos / "cat")
    embed(photos, backbone, tmp_path / "photos.h5")
    with h5py.File(tmp_path / "photos.h5") as file:
        assert file.attrs["classes"].tolist() == [b"dog", b"owl"]
        assert sorted(set(file["label"][:].tolist())) == [-1, 0, 1]


def test_a_label_changed_in_a_manifest_is_taken_over(run, photos):
    manifest = photos / "all.csv"
    manifest.write_text("path,label,split\ncat/00.png,cat,train\ndog/01.png,dog,train\ngone.png,dog,val\n")
    store, summary = run(manifest)
    assert (summary.computed, store.failures) == (3, {"gone.png": "no such file"})
    manifest.write_text("path,label,split\ncat/00.png,lion,val\ndog/01.png,dog,train\ngone.png,dog,val\n")
    store, summary = run(manifest)
    assert counts(summary) == (0, 3, 0)
    assert store.classes == ["dog", "lion"]
    assert store.labels.tolist() == [1, 0, 0]
    assert store.splits.tolist() == ["val", "train", "val"]


def test_a_touched_image_is_not_computed(run, photos):
    run()
    os.utime(photos / "cat/00.png", ns=(1, 1))
    store, summary = run()
    assert counts(summary) == (0, INPUTS, 0)
    assert store.rows.mtime_ns[store.paths.index("cat/00.png")] == 1


def test_a_failed_image_is_tried_again_only_when_its_bytes_change(run, photos, picture):
    run()
    os.utime(photos / "cat/broken.jpg", ns=(1, 1))
    store, summary = run()
    assert counts(summary) == (0, INPUTS, 0)
    assert len(store.failures) == FAILED
    (photos / "cat/broken.jpg").write_bytes(picture(400))
    store, summary = run()
    assert counts(summary) == (1, INPUTS - 1, 0)
    assert "cat/broken.jpg" not in store.failures


def test_an_image_that_is_now_broken_becomes_a_failure(run, photos):
    run()
    (photos / "cat/00.png").write_bytes(b"no longer an image")
    store, _ = run()
    assert "cat/00.png" in store.failures
    assert np.isnan(store.embeddings()[store.paths.index("cat/00.png")]).all()


def test_copies_of_an_image_are_rows_of_their_own(run, photos):
    shutil.copy(photos / "cat/00.png", photos / "dog/copy.png")
    first, _ = run()
    shutil.copy(photos / "cat/00.png", photos / "owl/copy.png")
    store, summary = run()
    assert counts(summary) == (0, INPUTS + 2, 0)
    rows = [store.paths.index(path) for path in ("cat/00.png", "dog/copy.png", "owl/copy.png")]
    assert len(np.unique(store.embeddings()[rows], axis=0)) == 1
    assert store.labels[rows].tolist() == [0, 1, 2]
    assert len(first) == INPUTS + 1


def test_files_that_vanish_during_the_run_are_failed_rows(run, photos):
    def remove(progress: Progress) -> None:
        if progress.done == 1:
            (photos / "stray.png").unlink()

    store, summary = run(progress=remove, options=EngineOptions(workers=1, batch_size=1))
    assert summary.inputs == INPUTS
    assert store.failures["stray.png"] == "cannot be read: no such file or directory"
    assert counts(run()[1]) == (0, INPUTS - 1, 1)


def test_a_file_that_is_too_large_fails_by_its_row(run, photos, monkeypatch):
    monkeypatch.setattr("headstart.extract.sources.readers.MAX_FILE_BYTES", 100_000)
    (photos / "owl/film.dat").write_bytes(bytes(100_001))
    store, summary = run()
    assert summary.failed == FAILED + 1
    assert store.failures["owl/film.dat"] == "100,001 bytes; more than 100,000 are not read"


def test_what_cannot_be_opened_is_a_failed_row_that_stays(run, photos):
    (photos / "cat/loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(photos / "cat/pipe.jpg")
    (photos / os.fsdecode(b"two\nlines \xff.jpg")).symlink_to("/etc")
    store, summary = run()
    assert summary.failed == FAILED + 3
    assert "link that leads out" in store.failures[os.fsdecode(b"two\nlines \xff.jpg")]
    assert counts(run()[1]) == (0, INPUTS + 3, 0)


def test_a_folder_of_nothing_but_failures_is_a_store(run, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/1.jpg").write_bytes(b"")
    store, summary = run(tmp_path / "bad")
    assert (summary.embedded, summary.failed, store.classes) == (0, 1, [])
    assert counts(run(tmp_path / "bad")[1]) == (0, 1, 0)


def test_rows_below_a_folder_that_cannot_be_listed_are_kept(run, monkeypatch):
    before = contents(run()[0])
    list_folder = headstart.extract.sources.folders._entries

    def deny(folder):
        if folder.endswith(b"cat"):
            raise OSError(5, "Input/output error")
        return list_folder(folder)

    with monkeypatch.context() as broken:
        broken.setattr("headstart.extract.sources.folders._entries", deny)
        store, summary = run()
    assert store.failures["cat"] == "folder cannot be listed: input/output error"
    assert counts(summary) == (1, INPUTS, 0)
    assert [row for row in contents(store) if row[0] != "cat"] == before
    store, summary = run()
    assert counts(summary) == (0, INPUTS, 1)
    assert contents(store) == before


def test_an_image_that_found_no_memory_is_tried_again(run, monkeypatch, tmp_path):
    expected, _ = run(place=tmp_path / "expected.h5")

    def fail(*_):
        raise MemoryError

    with monkeypatch.context() as full:
        full.setattr("headstart.extract.decoding.decode._to_rgb", fail)
        store, _ = run(options=EngineOptions(isolate=False))
    hungry = [path for path, reason in store.failures.items() if reason == "not enough memory to decode it"]
    assert len(hungry) == INPUTS - FAILED
    store, summary = run()
    assert counts(summary) == (INPUTS - FAILED, FAILED, 0)
    assert contents(store) == contents(expected)


def test_a_summary_tells_where_the_time_went(run):
    _, summary = run()
    assert tuple(summary.stages) == STAGES == ("read", "decode", "infer", "store")
    assert min(summary.stages.values()) > 0
    assert summary.stages[summary.bottleneck] == max(summary.stages.values())
    _, again = run()
    assert (again.stages, again.bottleneck) == (dict.fromkeys(STAGES, 0), "")


# Another root


def copied(folder: Path, other: Path, picture=None) -> Path:
    """Copy a folder with its times; a picture takes the place of every content, in the same number of bytes."""
    shutil.copytree(folder, other)
    for number, path in enumerate(sorted(other.rglob("*.*")) if picture else []):
        found = path.stat()
        path.write_bytes(picture(1000 + number, "BMP"))
        assert path.stat().st_size == found.st_size
        os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))
    return other


@pytest.fixture
def bitmaps(tmp_path, picture) -> Path:
    """Give 25 pictures whose files are of one size."""
    (tmp_path / "bitmaps" / "cat").mkdir(parents=True)
    for seed in range(INPUTS):
        (tmp_path / "bitmaps" / "cat" / f"{seed:02}.bmp").write_bytes(picture(seed, "BMP"))
    return tmp_path / "bitmaps"


def test_the_same_names_sizes_and_times_in_another_folder_are_other_images(run, bitmaps, picture, tmp_path):
    other = copied(bitmaps, tmp_path / "other", picture)
    expected, _ = run(other, place=tmp_path / "expected.h5")
    first = contents(run(bitmaps)[0])
    store, summary = run(other)
    assert counts(summary) == (INPUTS, 0, 0)
    assert contents(store) == contents(expected) != first
    assert store.header.root == str(other)
    assert counts(run(other)[1]) == (0, INPUTS, 0)


def test_they_are_so_also_after_a_run_that_was_cut_off(run, halted, bitmaps, picture, tmp_path):
    other = copied(bitmaps, tmp_path / "other", picture)
    expected, _ = run(other, place=tmp_path / "expected.h5")
    run(bitmaps)
    with halted("in the middle", images=other) as process:
        process.kill()
    store, summary = run(other)
    assert contents(store) == contents(expected)
    assert counts(summary) == (INPUTS - 16, 16, 0)


def test_a_moved_folder_is_known_by_its_content(run, photos, tmp_path, monkeypatch):
    before = contents(run()[0])
    moved = photos.rename(tmp_path / "moved")
    store, summary = run(moved)
    assert counts(summary) == (0, INPUTS, 0)
    assert contents(store) == before
    assert store.header.root == str(moved)
    monkeypatch.setattr("headstart.extract.sources.readers.read_file", None)
    assert counts(run(moved)[1]) == (0, INPUTS, 0)


# What is refused


@pytest.fixture
def refused(photos, backbone, output):
    def refused(error: type[ExtractError], images=photos, model=backbone, place=output, **options) -> str:
        with pytest.raises(error) as caught:
            embed(images, model, place, **options)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return refused


def test_a_store_of_another_backbone_is_refused(run, refused, backbone_bytes, tmp_path, output):
    before = contents(run()[0])
    (tmp_path / "other.onnx").write_bytes(backbone_bytes(seed=1))
    assert refused(StoreError, model=tmp_path / "other.onnx").startswith(f"{output}: holds rows of another model")
    assert contents(open_store(output)) == before


def test_the_images_of_another_folder_are_refused_and_the_store_is_kept(run, refused, photos, output, tmp_path):
    before = contents(run()[0])
    other = tmp_path / "other"
    shutil.copytree(photos, other / "birds")
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert f"{output}: holds the images of {photos}, not of {other}; " in refused(StoreError, images=other)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files
    assert contents(open_store(output)) == before
    assert counts(run()[1]) == (0, INPUTS, 0)


def listing(path: Path, images) -> Path:
    path.write_text("path,label\n" + "".join(f"{name},{label}\n" for name, label in images))
    return path


def packed(path: Path, folder: str) -> Path:
    with tarfile.open(path, "w") as archive:
        archive.add(path.parent / folder, folder)
    return path


def of_lists(root: Path) -> list[Path]:
    names = {name: sorted(f"{name}/{file.name}" for file in (root / name).glob("*.png")) for name in ("cat", "owl")}
    return [listing(root / f"{name}.csv", [(image, name) for image in images]) for name, images in names.items()]


SAME_ROOT = {
    "lists": of_lists,
    "archives": lambda root: [packed(root / f"{name}.tar", name) for name in ("cat", "owl")],
    "images": lambda root: [root / "cat/00.png", root / "cat/03.png"],
}


@pytest.mark.parametrize("make", SAME_ROOT.values(), ids=list(SAME_ROOT))
def test_other_images_of_the_same_folder_are_refused_while_the_first_are_there(run, refused, photos, make):
    first, second = make(photos)
    before = contents(run(first)[0])
    message = refused(StoreError, images=second)
    assert f"holds other images of {find_images(first).location}, such as " in message
    assert "give one folder or list with all images, choose another output with -o, or delete the store" in message
    assert contents(run(first)[0]) == before
    first.unlink()
    if first.suffix != ".csv":  # a list may go, its images are there still
        run(second)


@pytest.mark.parametrize("make", [SAME_ROOT["archives"], SAME_ROOT["images"]], ids=["archives", "images"])
def test_other_images_of_the_same_url_are_refused_while_the_first_are_there(run, refused, photos, make, monkeypatch):
    files = MemoryFileSystem()
    first, second = (f"/same_root/{path.relative_to(photos)}" for path in make(photos))
    for name in (first, second):
        files.pipe(name, (photos / name.removeprefix("/same_root/")).read_bytes())
    asked = []
    monkeypatch.setattr(MemoryFileSystem, "info", lambda self, path, **_: asked.append(path) or INFO(self, path))
    before = contents(run(f"memory:/{first}")[0])
    asked.clear()
    assert "holds other images of memory://same_root" in refused(StoreError, images=f"memory:/{second}")
    assert len(asked) < 5  # once per archive, not per image
    assert contents(run(f"memory:/{first}")[0]) == before
    files.rm(first)
    run(f"memory:/{second}")


INFO = MemoryFileSystem.info


def test_a_list_is_edited_and_run_again(run, refused, photos):
    path = photos / "list.csv"
    images = [(f"{file.parent.name}/{file.name}", file.parent.name) for file in sorted(photos.glob("[co]*/0*.png"))]
    run(listing(path, images))
    relabelled = [(name, "any") for name, _ in images]
    assert counts(run(listing(path, relabelled))[1]) == (0, 7, 0)
    assert counts(run(listing(path, images[:5]))[1]) == (0, 5, 2)
    assert counts(run(listing(path, images[:2]))[1]) == (0, 2, 3)
    assert counts(run(listing(path, images))[1]) == (5, 2, 0)
    renamed = [(name.replace("/0", "/x"), label) for name, label in images]
    for (old, _), (new, _) in zip(images, renamed, strict=True):
        (photos / old).rename(photos / new)
    store, summary = run(listing(path, renamed))
    assert counts(summary) == (0, 7, 7)
    assert store.labels.tolist() == [0] * 4 + [1] * 3


def test_a_store_of_another_dtype_is_refused(run, refused):
    run()
    assert "another dtype (float16, not float32)" in refused(StoreError, dtype="float32")


def test_a_truncated_store_is_refused(run, refused):
    store, _ = run()
    os.truncate(store.files[-1], 2000)
    assert "damaged" in refused(StoreError)


def test_an_unknown_dtype_is_answered_with_the_known_ones(refused):
    assert "'int8'; expected one of float16, float32" in refused(OptionError, dtype="int8")


@pytest.mark.parametrize("name", ["photos", "photos.csv", "photos.onnx", "photos.h5.parts", ""])
def test_another_suffix_is_refused(refused, tmp_path, name):
    assert "expected a name that ends in .h5" in refused(OutputError, place=tmp_path / "to" / name)


def test_a_folder_that_is_no_store_is_refused_and_left_alone(refused, photos, tmp_path):
    before = sorted(photos.rglob("*"))
    assert str(photos) in refused(OutputError, place=photos)
    assert sorted(photos.rglob("*")) == before
    (tmp_path / "folder.h5").mkdir()
    assert "found a folder" in refused(OutputError, place=tmp_path / "folder.h5")


@pytest.mark.parametrize("name", ["workers", "batch_size"])
@pytest.mark.parametrize("value", [0, -1])
def test_less_than_one_thread_or_image_is_refused(name, value):
    with pytest.raises(OptionError, match=f"{name} must be at least 1, found {value}"):
        EngineOptions(**{name: value})


def test_views_are_no_longer_an_option_of_embedding(refused):
    assert "views belong to the backbone now: headstart export --views 2" in refused(OptionError, views=2)


def test_a_store_serves_as_the_model_that_made_it(photos, backbone, tmp_path):
    made, _ = embed(photos, backbone, tmp_path / "a.h5")
    again, summary = embed(photos, tmp_path / "a.h5", tmp_path / "a.h5")
    assert (counts(summary), again.header.model_sha256) == ((0, INPUTS, 0), made.header.model_sha256)


@pytest.mark.parametrize("name", ["none/photos.h5", "none/photos.emb"])
def test_a_missing_folder_is_not_made(refused, tmp_path, name):
    assert "does not exist; make it first" in refused(OutputError, place=tmp_path / name)
    assert not (tmp_path / "none").exists()


def test_a_file_where_a_folder_of_shards_should_be_is_refused(refused, tmp_path):
    (tmp_path / "a.emb").write_text("mine")
    assert "cannot be written" in refused(OutputError, place=tmp_path / "a.emb")
    assert (tmp_path / "a.emb").read_text() == "mine"


def test_another_file_under_the_name_is_refused_and_kept(refused, tmp_path):
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["x"] = [1, 2, 3]
    before = (tmp_path / "mine.h5").read_bytes()
    assert "found an HDF5 file" in refused(StoreError, place=tmp_path / "mine.h5")
    assert (tmp_path / "mine.h5").read_bytes() == before


def test_a_missing_folder_of_images_is_refused_before_anything_is_written(refused, tmp_path):
    refused(SourceError, images=tmp_path / "none", place=tmp_path / "new.h5")
    assert not list(tmp_path.glob("*new.h5*"))


# Runs that are cut off, in processes of their own

RUN = """
import os, sys, time
import headstart.files.atomic, headstart.extract.store.hdf5, headstart.extract.store.writer
from headstart.extract import EngineOptions, embed

headstart.extract.store.writer.ROWS_A_SHARD = 8
_, images, model, output, halt = sys.argv


def stop():
    print("halted", flush=True)
    time.sleep(60)


def listener(progress):
    if halt == "in the middle" and progress.done == 20:
        stop()


replace, rmtree = headstart.files.atomic.os.replace, headstart.extract.store.writer.shutil.rmtree


def rename(temporary, path):
    if (halt, path.name) == ("before the rename", "photos.h5"):
        stop()
    if halt == "before a shard's rename" and path.name.startswith("part-00000002-"):
        stop()
    replace(temporary, path)


def remove(folder):
    if halt == "before the parts go":
        stop()
    rmtree(folder)


headstart.files.atomic.os.replace, headstart.extract.store.writer.shutil.rmtree = rename, remove
embed(images, model, output, options=EngineOptions(workers=1, batch_size=4), progress=listener)
"""


@pytest.fixture
def halted(photos, backbone, output):
    """Start a run in another process, and wait until it has come to where it halts."""

    @contextmanager
    def halted(where: str, place: Path = output, images: Path = photos):
        command = [sys.executable, "-c", RUN, images, backbone, place, where]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout.readline() == "halted\n", process.stderr.read()
                yield process
            finally:
                process.kill()

    return halted


def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_been(run, halted, tmp_path):
    expected, _ = run(place=tmp_path / "expected.h5")
    with halted("in the middle") as process:
        process.kill()
    store, summary = run()
    assert contents(store) == contents(expected)
    assert counts(summary) == (INPUTS - 16, 16, 0)  # 20 were done, 16 of them in two shards
    assert counts(run()[1]) == (0, INPUTS, 0)


def test_a_run_killed_before_a_shard_has_its_name_loses_that_shard_alone(run, halted, output):
    with halted("before a shard's rename") as process:
        process.kill()
    folder = output if output.suffix == ".emb" else output.with_name(f"{output.name}.parts")
    assert len(list(folder.glob("part-*"))) == len(list(folder.glob(".tmp-*"))) == 1
    assert counts(run()[1]) == (INPUTS - 8, 8, 0)
    assert not list(output.parent.rglob(".tmp-*"))


def test_the_rows_of_an_unfinished_run_can_be_read(halted, tmp_path):
    place = tmp_path / "photos.h5"
    with halted("in the middle", place) as process:
        process.kill()
    with pytest.raises(StoreError, match="its run has not finished"):
        open_store(place)
    rows = open_store(tmp_path / "photos.h5.parts")
    assert len(rows) == 16
    assert rows.paths == sorted(rows.paths)
    assert rows.model()


@pytest.mark.parametrize("where", ["before the rename", "before the parts go"])
def test_a_run_killed_while_it_compacts_has_lost_nothing(run, halted, tmp_path, where):
    place = tmp_path / "photos.h5"
    expected, _ = run(place=tmp_path / "expected.h5")
    with halted(where, place) as process:
        process.kill()
    assert place.exists() == (where == "before the parts go")
    assert len(list(tmp_path.glob(".tmp-*"))) == (where == "before the rename")
    store, summary = run(place=place)
    assert contents(store) == contents(expected)
    assert counts(summary) == (0, INPUTS, 0)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".tmp-", "photos.h5.parts"))]


def test_parts_left_beside_a_finished_file_do_not_bring_back_removed_images(run, halted, photos, tmp_path):
    place = tmp_path / "photos.h5"
    with halted("before the parts go", place) as process:
        process.kill()
    (photos / "cat/00.png").unlink()
    os.rename(photos / "dog/01.png", photos / "owl/01.png")
    store, summary = run(place=place)
    assert counts(summary) == (0, INPUTS - 1, 2)
    assert not {"cat/00.png", "dog/01.png"} & set(store.paths)


def test_control_c_keeps_everything_that_is_finished(run, halted, output):
    with halted("in the middle") as process:
        process.send_signal(signal.SIGINT)
        process.wait(60)
        assert "KeyboardInterrupt" in process.stderr.read()
    assert not list(output.parent.rglob(".tmp-*"))
    assert counts(run()[1]) == (INPUTS - 20, 20, 0)


def test_a_store_that_another_run_is_writing_is_refused_at_once(halted, refused, run):
    with halted("in the middle") as process:
        message = refused(BusyError)
        assert process.poll() is None
        assert f"being written by process {process.pid} on " in message
        process.kill()
        process.wait()
        run()


# Real photos


@pytest.fixture
def real_photos(shared, tmp_path) -> Path:
    """Give a copy of 60 photos of the two sets, 10 from each of 6 folders."""
    folders = [shared("images/flowers") / name for name in ("daisy", "rose", "tulip", "sunflower")]
    folders += [shared("images/cats_vs_dogs/val") / name for name in ("cats", "dogs")]
    for folder in folders:
        (tmp_path / "real" / folder.name).mkdir(parents=True)
        for photo in sorted(folder.iterdir())[:10]:
            shutil.copy(photo, tmp_path / "real" / folder.name)
    return tmp_path / "real"


def test_real_photos_are_embedded_and_found_again(real_photos, run):
    store, summary = run(real_photos)
    assert (summary.embedded, summary.failed) == (60, 0)
    assert store.classes == ["cats", "daisy", "dogs", "rose", "sunflower", "tulip"]
    assert np.bincount(store.labels).tolist() == [10] * 6
    assert len(np.unique(store.embeddings(), axis=0)) == 60
    shutil.rmtree(real_photos / "dogs")
    (real_photos / "cats").rename(real_photos / "felines")
    store, summary = run(real_photos)
    assert counts(summary) == (0, 50, 20)
    assert store.classes == ["daisy", "felines", "rose", "sunflower", "tulip"]


@pytest.mark.parametrize("workers", [1, 3])
def test_real_photos_give_the_same_rows_whatever_the_batches(real_photos, backbone, tmp_path, workers):
    expected, _ = embed(real_photos, backbone, tmp_path / "a.h5", dtype="float32")
    options = EngineOptions(workers=workers, batch_size=7)
    given, _ = embed(real_photos, backbone, tmp_path / "b.h5", dtype="float32", options=options)
    assert contents(given) == contents(expected)


def test_an_output_inside_the_images_is_refused(photos, backbone):
    with pytest.raises(OutputError, match=r"photos\.h5: lies inside the image folder"):
        embed(photos, backbone, photos / "photos.h5")
    assert not list(photos.glob("*photos.h5*"))


def test_a_vector_beyond_the_dtype_is_a_failure_with_its_reason(photos, tmp_path, backbone):
    model = onnx.load(backbone)
    for tensor in model.graph.initializer:
        if tensor.name in ("scale", "high"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e6), tensor.name))
    huge = tmp_path / "huge.onnx"
    onnx.save(model, huge)
    store, summary = embed(photos, huge, tmp_path / "photos.h5")
    assert summary.embedded == 0
    assert any("does not fit float16" in reason for reason in store.failures.values())
    assert embed(photos, huge, tmp_path / "wide.h5", dtype="float32")[1].embedded > 0


# mherrmann/fman#668, python/cpython#154328: a broken clock, or an archive that a hostile program made.
@pytest.mark.parametrize("seconds", [9.3e9, 1.5e10, -1e10, -1, 0])
def test_a_file_of_any_time_is_embedded_and_reused(draw_photos, tiny_backbone, tmp_path, seconds):
    folder = draw_photos(tmp_path / "photos", {"ash": 2, "birch": 2})
    (folder / "list.csv").write_text("path\nash/000.png\n")
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(folder, "photos")
    table = pyarrow.table({"image": [(folder / "ash" / "000.png").read_bytes()]})
    pyarrow.parquet.write_table(table, tmp_path / "photos.parquet")
    wanted = round(seconds * 1e9)
    for path in (folder / "ash" / "000.png", tmp_path / "photos.tar", tmp_path / "photos.parquet"):
        with suppress(OSError, OverflowError):  # not every file system stores every time
            os.utime(path, ns=(wanted, wanted))
    for images in (folder, folder / "list.csv", tmp_path / "photos.tar", tmp_path / "photos.parquet"):
        store = tmp_path / f"{images.name}.h5"
        assert embed(images, tiny_backbone, store)[1].embedded > 0
        assert embed(images, tiny_backbone, store)[1].computed == 0


def test_a_long_name_that_is_gone_leaves_no_trace(draw_photos, tiny_backbone, tmp_path):
    folder = draw_photos(tmp_path / "photos", {"ash": 2, "birch": 2})
    embed(folder, tiny_backbone, tmp_path / "fresh.h5")
    long = folder / "ash" / ("x" * 200 + ".png")
    long.write_bytes(b"no image")
    assert "x" * 200 in str(embed(folder, tiny_backbone, tmp_path / "photos.h5")[0].failures)
    long.unlink()
    embed(folder, tiny_backbone, tmp_path / "photos.h5")
    assert (tmp_path / "photos.h5").read_bytes() == (tmp_path / "fresh.h5").read_bytes()


def test_empty_images_keep_their_own_reasons(draw_photos, tiny_backbone, tmp_path):
    folder = draw_photos(tmp_path / "photos", {"ash": 1})
    image = (folder / "ash" / "000.png").read_bytes()
    pyarrow.parquet.write_table(pyarrow.table({"image": [image, None, b""]}), tmp_path / "photos.parquet")
    first = embed(tmp_path / "photos.parquet", tiny_backbone, tmp_path / "photos.h5")[0].failures
    os.utime(tmp_path / "photos.parquet", (1, 1))
    again = embed(tmp_path / "photos.parquet", tiny_backbone, tmp_path / "photos.h5")[0].failures
    assert len(set(first.values())) == 2
    assert again == first


def test_an_overflow_names_the_option_that_avoids_it(backbone_bytes, draw_photos, tmp_path):
    model = onnx.load_model_from_string(backbone_bytes())
    for tensor in model.graph.initializer:
        if tensor.name == "high":
            tensor.CopyFrom(numpy_helper.from_array(np.float32(1e9), "high"))
        if tensor.name == "scale":
            tensor.CopyFrom(numpy_helper.from_array(np.float32(1e4), "scale"))
    onnx.save(model, tmp_path / "large.onnx")
    folder = draw_photos(tmp_path / "photos", {"ash": 2})
    store, _ = embed(folder, tmp_path / "large.onnx", tmp_path / "photos.h5")
    assert all(reason.endswith("; use --dtype float32") for reason in store.failures.values())
    assert len(store.failures) == 2
    store, _ = embed(folder, tmp_path / "large.onnx", tmp_path / "exact.h5", dtype="float32")
    assert not store.failures


def test_what_an_interrupted_run_left_is_named_as_it_exists(draw_photos, tiny_backbone, make_backbone, tmp_path):
    def stop(state: Progress) -> None:
        raise KeyboardInterrupt

    folder = draw_photos(tmp_path / "photos", {"ash": 3})
    with pytest.raises(KeyboardInterrupt):
        embed(folder, tiny_backbone, tmp_path / "photos.h5", progress=stop)
    with pytest.raises(
        StoreError, match=r"continue with its own \(--model .*photos\.h5\.parts; for train, --backbone\)"
    ):
        embed(folder, make_backbone(tmp_path / "other.onnx", seed=9), tmp_path / "photos.h5")
    assert embed(folder, tmp_path / "photos.h5.parts", tmp_path / "photos.h5")[1].embedded == 3
