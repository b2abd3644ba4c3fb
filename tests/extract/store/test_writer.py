import io
import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from headstart.extract import EngineOptions, Share, embed, pipeline
from headstart.extract.errors import StoreError
from headstart.extract.inference.model import parse_model
from headstart.extract.sources.items import Item
from headstart.extract.store.rows import NO_DIGEST, Outcome, to_rows, write_shard
from headstart.extract.store.schema import Header
from headstart.extract.store.shards import next_number
from headstart.extract.store.store import open_store
from headstart.extract.store.writer import StoreWriter, is_folder_store
from headstart.files.atomic import write_all
from headstart.files.errors import OutputError

DIM = 16


@pytest.fixture(scope="module")
def model(backbone_bytes):
    return parse_model(backbone_bytes(), "tiny.onnx")


@pytest.fixture
def writer(model, output):
    """Give a writer for a store in each form; the keywords change its header."""

    def writer(model=model, path=output, **changes) -> StoreWriter:
        header = Header(
            model.metadata,
            model.sha256,
            "embedding",
            (DIM,),
            "float32",
            ("cat", "dog"),
            "/photos",
            ("CPUExecutionProvider",),
        )
        return StoreWriter(path, replace(header, **changes), model)

    return writer


def item(number: int, label: str | None = "cat", split: str = "") -> Item:
    return Item(f"{number:03}.jpg".encode(), 100 + number, 5 + number, label, split)


def outcome(number: int, label: str | None = "cat", split: str = "", value: float | None = None) -> Outcome:
    vector = np.full(DIM, number if value is None else value, np.float32)
    return Outcome(item(number, label, split), bytes([number + 1]) * 32, 100 + number, 5 + number, vector)


def failure(number: int, reason: str = "damaged image") -> Outcome:
    return replace(outcome(number), vector=None, reason=reason)


def write(writer: StoreWriter, *outcomes: Outcome):
    with writer:
        for one in outcomes:
            writer.add(one)
        return writer.finish(writer.reusable.gone([one.item for one in outcomes]))


def shards(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("part-*"))


def numbers(writer: StoreWriter) -> list[int]:
    return [int(name.split("-")[1]) for name in shards(writer.folder)]


def test_rows_are_read_in_order_of_path_with_everything_they_were_written_with(writer):
    store = write(writer(), outcome(2, "dog", "val"), failure(1), outcome(0, None, "train"))
    assert store.paths == ["000.jpg", "001.jpg", "002.jpg"]
    assert store.rows.size.tolist() == [100, 101, 102]
    assert store.rows.mtime_ns.tolist() == [5, 6, 7]
    assert [store.rows.sha256[i].tobytes() for i in range(3)] == [bytes([i + 1]) * 32 for i in range(3)]
    assert store.labels.tolist() == [-1, 0, 1]
    assert store.splits.tolist() == ["train", "", "val"]
    assert store.failures == {"001.jpg": "damaged image"}
    expected = np.repeat(np.array([0, np.nan, 2], np.float32), DIM).reshape(3, DIM)
    np.testing.assert_array_equal(store.embeddings(), expected)


@pytest.mark.parametrize("path", [b"\xff\xfe", "猫.jpg".encode(), b"two\nlines", b"x" * 4000, b" "], ids=ascii)
def test_any_path_and_any_class_come_back(writer, path):
    label = os.fsdecode(path[:255])
    one = replace(outcome(0), item=Item(path, 1, 2, label))
    store = write(writer(classes=(label,)), one)
    assert store.rows.path.tolist() == [path]
    assert store.classes == [label]


def test_paths_are_ordered_by_their_bytes(writer):
    paths = [b"\xff", b"a", b"a.b", b"a/b", b"a0", b"B", "é".encode(), b"~"]
    store = write(writer(), *(replace(outcome(0), item=Item(path, 1, 2)) for path in paths))
    assert store.rows.path.tolist() == sorted(paths)


def test_a_reason_in_any_script_comes_back(writer):
    store = write(writer(), failure(0, "cannot be read: ошибка 猫 \udcff"))
    assert store.failures["000.jpg"].startswith("cannot be read: ошибка 猫")


def test_a_row_is_found_by_its_path_while_size_and_time_are_the_same(writer):
    write(writer(), outcome(0), outcome(1))
    with writer() as again:
        assert again.reusable.find(item(1)) == 1
        assert again.reusable.find(item(2)) is None
        assert again.reusable.find(replace(item(1), size=99)) is None
        assert again.reusable.find(replace(item(1), mtime_ns=99)) is None


def test_a_row_is_found_by_its_content_whether_it_failed_or_not(writer):
    unread = replace(failure(2), sha256=NO_DIGEST)
    write(writer(), outcome(0), failure(1), unread)
    with writer() as again:
        assert again.reusable.find_content(bytes([1]) * 32) == 0
        assert again.reusable.find_content(bytes([2]) * 32) == 1
        assert again.reusable.find_content(NO_DIGEST) is None
        assert again.reusable.find(item(2)) is None


def test_an_item_without_a_file_is_found_while_its_reason_is_the_same(writer):
    gone = Item(b"gone.jpg", -1, 0, "cat", "", "no such file")
    write(writer(), Outcome(gone, NO_DIGEST, -1, 0, None, gone.reason))
    with writer() as again:
        assert again.reusable.find(gone) == 0
        assert again.reusable.find(replace(gone, reason="link that leads out of the folder; not followed")) is None


def test_a_row_says_whether_label_and_split_are_the_same(writer):
    write(writer(), outcome(0, "dog", "val"), outcome(1, None))
    with writer() as again:
        assert again.reusable.has_same_label_and_split(0, item(0, "dog", "val"))
        assert not again.reusable.has_same_label_and_split(0, item(0, "cat", "val"))
        assert not again.reusable.has_same_label_and_split(0, item(0, "dog"))
        assert again.reusable.has_same_label_and_split(1, item(1, None))
        assert not again.reusable.has_same_label_and_split(1, item(1, "cat"))


@pytest.mark.parametrize("source", [outcome(0), failure(0, "empty file")])
def test_a_row_is_copied_with_its_vector_or_reason(writer, source):
    write(writer(), source)
    with writer() as again:
        copied = again.reusable.copied(0, item(5, "dog"), 9, 8)
    assert (copied.item, copied.size, copied.mtime_ns) == (item(5, "dog"), 9, 8)
    assert (copied.sha256, copied.reason) == (source.sha256, source.reason)
    assert (copied.vector is None) == (source.vector is None)


def test_a_shard_is_written_each_time_so_many_rows_are_there(writer, monkeypatch):
    monkeypatch.setattr("headstart.extract.store.writer.ROWS_A_SHARD", 3)
    with writer() as one:
        counts = []
        for number in range(7):
            one.add(outcome(number))
            counts.append(len(shards(one.folder)))
    assert counts == [0, 0, 1, 1, 1, 2, 2]
    assert len(shards(one.folder)) == 3
    assert len(open_store(one.folder)) == 7


def test_a_shard_is_written_when_it_has_waited_long_enough(writer, monkeypatch):
    with writer() as one:
        one.add(outcome(0))
        assert shards(one.folder) == []
        monkeypatch.setattr("headstart.extract.store.writer.SECONDS_A_SHARD", -1)
        one.add(outcome(1))
        assert len(shards(one.folder)) == 1


def test_a_shard_is_named_by_number_and_digest(writer):
    with writer() as one:
        for number in range(3):
            one.add(outcome(number))
            one.commit()
    assert not list(one.folder.glob(".tmp-*"))
    names = shards(one.folder)
    assert [name[:14] for name in names] == ["part-00000001-", "part-00000002-", "part-00000003-"]
    for name in names:
        line = (one.folder / name).read_bytes()[:512]
        assert line.split()[3][:16].decode() == name[14:30]


def test_shards_are_listed_once_however_many_are_written(writer, monkeypatch):
    write(writer(), outcome(0))
    listed = []
    monkeypatch.setattr(
        "headstart.extract.store.writer.next_number", lambda folder: listed.append(folder) or next_number(folder)
    )
    with writer() as one:
        listed.clear()
        for number in range(1, 6):
            one.add(outcome(number))
            one.commit()
        assert len(listed) == 1
    assert numbers(one) == list(range(numbers(one)[0], numbers(one)[0] + len(numbers(one))))
    assert len(numbers(one)) >= 5


def test_shards_are_numbered_after_those_that_others_wrote_meanwhile(writer):
    with writer() as one:
        one.add(outcome(0))
        one.commit()
        first = one.begin_shards()
        for number in (1, 2):
            rows = to_rows([outcome(number)], one.header.classes)
            write_shard(one.folder, one.header, first + number - 1, rows, np.ones((1, DIM)))
        for number in (3, 4):
            one.add(outcome(number))
            one.commit()
    assert numbers(one) == [1, 2, 3, 4, 5]


def test_a_later_row_takes_the_place_of_an_earlier_one(writer):
    write(writer(), outcome(0, value=1), outcome(1, value=1))
    store = write(writer(), outcome(0, "dog", value=2), outcome(1, value=1))
    assert store.embeddings()[:, 0].tolist() == [2, 1]
    assert store.labels.tolist() == [1, 0]


def test_rows_that_are_no_longer_wanted_go(writer):
    write(writer(), outcome(0), outcome(1), outcome(2))
    with writer() as again:
        store = again.finish(again.reusable.gone([item(1)]))
    assert again.removed == 2
    assert store.paths == ["001.jpg"]
    assert open_store(store.location).paths == ["001.jpg"]
    returned = write(writer(), outcome(0), outcome(1))
    assert returned.paths == ["000.jpg", "001.jpg"]


def test_classes_are_those_that_have_rows(writer):
    write(writer(), outcome(0, "cat"), outcome(1, "dog"))
    store = write(writer(classes=("dog", "owl", "yak")), outcome(0, "owl"), outcome(1, "dog"))
    assert store.classes == ["dog", "owl"]
    assert store.labels.tolist() == [1, 0]


@pytest.mark.parametrize("changes", [{"dtype": "float16"}, {"output": "probabilities"}, {"model_sha256": "ab" * 32}])
def test_a_store_that_was_made_otherwise_is_refused_and_left_alone(writer, output, changes):
    write(writer(), outcome(0))
    before = sorted(path.name for path in output.parent.iterdir())
    with pytest.raises(StoreError, match="holds rows of another") as caught:
        writer(**changes).__enter__()
    assert str(caught.value).startswith(f"{output}: ")
    assert sorted(path.name for path in output.parent.iterdir()) == before
    assert open_store(output).paths == ["000.jpg"]
    with writer() as unlocked:
        assert len(unlocked.reusable)


def test_the_store_carries_the_model_even_where_another_of_its_size_was_left(writer, model, backbone_bytes):
    other = parse_model(backbone_bytes(seed=1), "other.onnx")
    assert len(other.data) == len(model.data)
    with writer(other):
        pass  # cut off before its first row
    store = write(writer(), outcome(0))
    assert store.model().data == model.data


def test_one_file_is_written_without_leaving_its_parts(writer, output):
    write(writer(), outcome(0))
    with h5py.File(output if output.is_file() else output / shards(output)[0], "r") as file:
        assert file.attrs["format"] == "headstart-store"
    left = {path.name for path in output.parent.iterdir()}
    assert left == {output.name, f".{output.name}.lock"}


def test_what_an_interrupted_block_has_finished_is_committed(writer):
    def interrupted(one: StoreWriter) -> None:
        with one:
            one.add(outcome(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted(writer())
    with writer() as again:
        assert again.reusable.find(item(0)) == 0


def test_unfinished_files_of_killed_runs_are_removed(writer, output):
    write(writer(), outcome(0))
    with writer() as one:
        leftovers = [one.folder / ".tmp-99999-part", output.with_name(f".tmp-99999-{output.name}")]
    for leftover in leftovers:
        leftover.parent.mkdir(exist_ok=True)
        leftover.write_bytes(b"half")
    with writer():
        assert not any(leftover.exists() for leftover in leftovers)


class Disk:
    """A disk that takes only so many bytes; what is built in memory is none of them."""

    def __init__(self, free: float, monkeypatch) -> None:
        self.free = free
        for room in ("headstart.extract.store.writer", "headstart.extract.store.rows", "headstart.extract.store.hdf5"):
            monkeypatch.setattr(f"{room}.write_all", self.write_all)

    def write_all(self, file, data) -> None:
        if isinstance(file, io.FileIO):
            self.free -= memoryview(data).nbytes
            if self.free < 0:
                raise OSError(28, "No space left on device")
        write_all(file, data)


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_a_full_disk_ends_the_run_and_keeps_what_was_there(writer, output, monkeypatch, tmp_path, share):
    (tmp_path / "dry").mkdir()
    for path in (output, tmp_path / "dry" / output.name):
        write(writer(path=path), outcome(0))
    with monkeypatch.context() as patch:
        wide = Disk(1e9, patch)
        write(writer(path=tmp_path / "dry" / output.name), outcome(0), outcome(1))
    with monkeypatch.context() as patch:
        Disk(share * (1e9 - wide.free), patch)
        with pytest.raises(OutputError, match="No space left on device"):
            write(writer(), outcome(0), outcome(1))
    assert open_store(output).paths == ["000.jpg"]
    assert not list(output.parent.rglob(".tmp-*"))
    assert write(writer(), outcome(0), outcome(1)).paths == ["000.jpg", "001.jpg"]


def test_a_folder_is_a_store_by_its_name_or_by_what_it_holds(tmp_path, writer):
    (tmp_path / "photos").mkdir()
    assert is_folder_store(tmp_path / "new.emb")
    assert not is_folder_store(tmp_path / "new.h5")
    assert not is_folder_store(tmp_path / "photos")
    write(writer(path=tmp_path / "photos.emb"), outcome(0))
    os.rename(tmp_path / "photos.emb", tmp_path / "renamed")
    assert is_folder_store(tmp_path / "renamed")


def test_a_store_of_no_rows_can_be_copied_from_in_no_way(writer):
    with writer() as one, pytest.raises(StoreError, match="there are no rows yet"):
        one.reusable.copied(0, item(0), 1, 1)


def tiff() -> bytes:
    """Give a 16-bit TIFF whose greys are inverted; what decoder 1 made of it is not what this one does."""
    values = np.full((8, 8), 40_000, np.uint16)
    content = io.BytesIO()
    Image.fromarray(values).save(content, "TIFF", tiffinfo={262: 0})
    return content.getvalue()


@pytest.mark.parametrize("name", ["photos.h5", "photos.emb"])
def test_only_what_decodes_otherwise_since_is_computed_again(name, tmp_path, tiny_backbone, picture, monkeypatch):
    photos, path = tmp_path / "photos", tmp_path / name
    photos.mkdir()
    jpeg, grey16 = io.BytesIO(), io.BytesIO()
    Image.open(io.BytesIO(picture(1))).convert("RGB").save(jpeg, "JPEG")
    Image.fromarray(np.full((8, 8), 500, np.uint16)).save(grey16, "PNG")
    contents = {
        "a.jpg": jpeg.getvalue(), "b.png": picture(2), "c.png": grey16.getvalue(), "d.tif": tiff(),
        "e.jpg": jpeg.getvalue()[:60], "f.jpg": b"\1\2\3\4 no image",
    }  # fmt: skip
    for photo, data in contents.items():
        (photos / photo).write_bytes(data)
    options = EngineOptions(isolate=False, workers=1)

    def run():
        return embed(photos, tiny_backbone, path, options=options)

    with monkeypatch.context() as earlier:
        earlier.setattr(pipeline, "DECODER", 1)
        store, _ = run()
    assert store.header.decoder == 1
    again, summary = run()
    assert (summary.computed, summary.reused) == (3, 3)  # c, d and e; f begins like no image
    assert [again.decoder_of(row) for row in range(1, 6)] == [2] * 5
    assert again.paths == sorted(contents)
    _, summary = run()
    assert summary.computed == 0


def test_a_share_leaves_the_rows_of_other_shares_to_them(tmp_path, tiny_backbone, monkeypatch):
    photos, path = tmp_path / "photos", tmp_path / "photos.h5"
    photos.mkdir()
    for number in range(8):
        (photos / f"{number**3}.tif").write_bytes(tiff()[:-1] + bytes([number]))
    options = EngineOptions(isolate=False, workers=1)
    with monkeypatch.context() as earlier:
        earlier.setattr(pipeline, "DECODER", 1)
        embed(photos, tiny_backbone, path, options=options)
    store, first = embed(photos, tiny_backbone, path, share=Share(1, 2), options=options)
    assert 0 < first.computed < 8
    assert store.header.decoder == 1
    store, rest = embed(photos, tiny_backbone, path, options=options)
    assert rest.computed >= 8 - first.computed
    assert store.header.decoder == 2
