"""One folder embedded in several runs, and their stores put together again."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from headstart.extract import EngineOptions, Share, embed, find_images, merge, open_store
from headstart.extract.errors import StoreError
from headstart.extract.sources import folders
from headstart.extract.store.schema import EMBEDDED, FAILED, REMOVED, ROW_DTYPES
from headstart.extract.store.shards import latest_rows
from headstart.files.errors import OptionError, OutputError


@pytest.fixture
def folder(picture, tmp_path) -> Path:
    for number in range(23):
        path = tmp_path / "photos" / ("ash", "oak", "fir")[number % 3] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number) if number != 7 else b"no image")
    return tmp_path / "photos"


def assert_same(one, other) -> None:
    for name in ROW_DTYPES:
        assert getattr(one.rows, name).tolist() == getattr(other.rows, name).tolist(), name
    assert np.array_equal(one.embeddings(), other.embeddings(), equal_nan=True)
    assert one.header == other.header


@pytest.mark.parametrize("suffix", [".h5", ".emb"])
def test_shares_put_together_are_the_whole(folder, backbone, tmp_path, suffix):
    options = EngineOptions(batch_size=1)  # the numbers of an image may depend on the images beside it in a batch
    whole, _ = embed(folder, backbone, tmp_path / "whole.h5", options=options)
    parts = [tmp_path / f"{number}{suffix}" for number in range(1, 5)]
    inputs = [embed(folder, backbone, p, share=Share(i, 4), options=options)[1].inputs for i, p in enumerate(parts, 1)]
    assert sum(inputs) == 23 > max(inputs)
    merged = merge(parts, tmp_path / "merged.h5")
    assert_same(merged, whole)
    assert (tmp_path / "merged.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    _, again = embed(folder, backbone, tmp_path / "merged.h5")
    assert (again.computed, again.reused) == (0, 23)


def test_parts_may_be_called_parts(folder, backbone, tmp_path):
    parts = [tmp_path / f"part-{number}.h5" for number in (1, 2)]
    for number, part in enumerate(parts, start=1):
        embed(folder, backbone, part, share=Share(number, 2))
    assert len(merge(parts, tmp_path / "photos.h5")) == 23


def test_a_share_keeps_what_it_cannot_look_at(folder, backbone, tmp_path, monkeypatch):
    embed(folder, backbone, tmp_path / "all.h5")
    entries = folders._entries

    def refuse(path):
        if path.endswith(b"/oak"):
            raise PermissionError(13, "Permission denied")
        return entries(path)

    monkeypatch.setattr(folders, "_entries", refuse)
    for number in (1, 2, 3):
        _, summary = embed(folder, backbone, tmp_path / "all.h5", share=Share(number, 3))
        assert summary.removed == 0


def test_shares_may_follow_one_another_into_one_store(folder, backbone, tmp_path):
    whole, _ = embed(folder, backbone, tmp_path / "whole.h5")
    for number in (3, 1, 2):
        _, summary = embed(folder, backbone, tmp_path / "all.h5", share=Share(number, 3))
        assert summary.removed == 0
    assert_same(open_store(tmp_path / "all.h5"), whole)


def test_a_share_drops_what_is_gone_of_its_own_alone(folder, backbone, tmp_path):
    embed(folder, backbone, tmp_path / "all.h5")
    for path in folder.rglob("*0*.png"):
        path.unlink()
    shares = [Share(number, 2) for number in (1, 2)]
    removed = [embed(folder, backbone, tmp_path / "all.h5", share=share)[1].removed for share in shares]
    assert sum(removed) == 12 > max(removed) > 0
    assert len(open_store(tmp_path / "all.h5")) == 11


def test_every_image_is_in_one_share_whatever_is_added(folder):
    items = find_images(folder).items
    shares = [{item.path for item in items if Share(number, 5).holds(item.path)} for number in range(1, 6)]
    assert sum(map(len, shares)) == len(set.union(*shares)) == 23
    assert {i.path for i in Share(2, 5).of_source(find_images(folder)).items} == shares[1]


def test_a_share_of_nothing_is_a_store_too(folder, backbone, tmp_path):
    embed(folder, backbone, tmp_path / "whole.h5")
    numbers = [n for n in range(1, 1001) if not Share(n, 1000).of_source(find_images(folder)).items]
    embed(folder, backbone, tmp_path / "none.h5", share=Share(numbers[0], 1000))
    embed(folder, backbone, tmp_path / "none.emb", share=Share(numbers[1], 1000))
    assert len(open_store(tmp_path / "none.h5")) == len(open_store(tmp_path / "none.emb")) == 0
    merged = merge([tmp_path / "none.emb", tmp_path / "whole.h5", tmp_path / "none.h5"], tmp_path / "merged.h5")
    assert len(merged) == 23


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "1/0", "-1/4", "a/b", "1/4/2", "1.0/4"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(OptionError, match="expected a shard such as 3/16"):
        Share.parse(text)
    assert Share.parse("16/16") == Share(16, 16)


def test_the_last_of_a_path_is_taken(folder, backbone, picture, tmp_path):
    embed(folder, backbone, tmp_path / "old.h5")
    (folder / "ash" / "00.png").write_bytes(picture(99))
    new, _ = embed(folder, backbone, tmp_path / "new.h5")
    assert_same(merge([tmp_path / "old.h5", tmp_path / "new.h5"], tmp_path / "merged.h5"), new)


def test_what_one_store_removed_stays_in_another(folder, backbone, tmp_path):
    """A store of shards keeps markers of removed rows; in whatever order, these concern no other store."""
    embed(folder, backbone, tmp_path / "whole.h5")
    embed(folder, backbone, tmp_path / "less.emb")
    kept = folder.parent / "kept.png"
    (folder / "ash" / "00.png").rename(kept)
    less, summary = embed(folder, backbone, tmp_path / "less.emb")
    assert (summary.removed, len(less)) == (1, 22)
    kept.rename(folder / "ash" / "00.png")
    for order in (["whole.h5", "less.emb"], ["less.emb", "whole.h5"], ["less.emb", "whole.h5", "less.emb"]):
        merged = merge([tmp_path / name for name in order], tmp_path / "merged.h5")
        assert_same(merged, open_store(tmp_path / "whole.h5"))
    assert len(merge([tmp_path / "less.emb"] * 2, tmp_path / "merged.h5")) == 22


@pytest.mark.parametrize("seed", range(20))
def test_the_latest_rows_of_several_stores_are_those_of_each_store_alone(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 40))
    path = np.array([b"%d" % number for number in rng.integers(0, 8, n)], "S1")
    status = rng.choice([EMBEDDED, FAILED, REMOVED], n).astype(np.int8)
    store_of = np.sort(rng.integers(0, 4, n)).astype(np.int32)
    expected: dict[bytes, int] = {}
    for number in range(4):
        own: dict[bytes, int] = {}
        for row in np.flatnonzero(store_of == number).tolist():
            own[path[row]] = row
        expected |= {name: row for name, row in own.items() if status[row] != REMOVED}
    assert latest_rows(path, status, store_of).tolist() == [expected[name] for name in sorted(expected)]


def test_an_output_may_be_one_of_the_inputs(folder, backbone, tmp_path):
    for number in (1, 2):
        embed(folder, backbone, tmp_path / f"{number}.h5", share=Share(number, 2))
    assert len(merge([tmp_path / "1.h5", tmp_path / "2.h5"], tmp_path / "1.h5")) == 23


def test_stores_that_do_not_fit_together_are_refused_by_name(folder, backbone, backbone_bytes, tmp_path):
    embed(folder, backbone, tmp_path / "a.h5")
    other = tmp_path / "other.onnx"
    other.write_bytes(backbone_bytes(seed=1))
    embed(folder, other, tmp_path / "model.h5")
    embed(folder, backbone, tmp_path / "dtype.h5", dtype="float32")
    shutil.copytree(folder, tmp_path / "moved")
    embed(tmp_path / "moved", backbone, tmp_path / "root.h5")
    for name, message in (("model", "another model"), ("dtype", "another dtype"), ("root", "not of")):
        with pytest.raises(StoreError, match=message):
            merge([tmp_path / "a.h5", tmp_path / f"{name}.h5"], tmp_path / "merged.h5")
        assert not (tmp_path / "merged.h5").exists()


def test_what_is_no_store_is_neither_read_nor_replaced(folder, backbone, tmp_path):
    embed(folder, backbone, tmp_path / "a.h5")
    (tmp_path / "mine.h5").write_bytes(b"my thesis")
    with pytest.raises(StoreError, match=r"mine\.h5: expected an embedding store"):
        merge([tmp_path / "a.h5"], tmp_path / "mine.h5")
    with pytest.raises(StoreError, match=r"mine\.h5: expected an embedding store"):
        merge([tmp_path / "a.h5", tmp_path / "mine.h5"], tmp_path / "merged.h5")
    with pytest.raises(OutputError, match="ends in"):
        merge([tmp_path / "a.h5"], tmp_path / "merged.emb")
    (tmp_path / "empty.emb").mkdir()
    with pytest.raises(StoreError, match=r"empty\.emb: expected an embedding store"):
        merge([tmp_path / "a.h5", tmp_path / "empty.emb"], tmp_path / "merged.h5")
    with pytest.raises(OptionError, match="found none"):
        merge([], tmp_path / "merged.h5")
    assert (tmp_path / "mine.h5").read_bytes() == b"my thesis"


def test_a_killed_merge_leaves_nothing_for_the_next(tiny_store, tmp_path):
    left = tmp_path / ".tmp-999999-merged.h5"
    left.write_bytes(b"half")
    merge([tiny_store], tmp_path / "merged.h5")
    assert not left.exists()


@pytest.mark.parametrize("name", ["all.h5", "all.emb"])
def test_a_shard_of_moved_photos_leaves_the_root_of_other_rows_alone(photos, backbone, tmp_path, name):
    output, share = tmp_path / name, Share(1, 2)
    before, _ = embed(photos, backbone, output)
    moved = photos.rename(tmp_path / "moved")
    if output.suffix == ".h5":
        with pytest.raises(StoreError, match="run once without --shard"):
            embed(moved, backbone, output, share=share)
    else:
        embed(moved, backbone, output, share=share)
    store = open_store(output)
    others = [row for row, path in enumerate(store.rows.path.tolist()) if not share.holds(path)]
    assert len(store) == len(before)
    assert {store.root_of(row) for row in others} == {str(photos)}
    embed(moved, backbone, output)
    store, _ = embed(moved, backbone, output, share=share)
    assert {store.root_of(row) for row in range(len(store))} == {str(moved)}
    embed(moved, backbone, tmp_path / "own.h5", share=share)
    again = moved.rename(tmp_path / "again")
    store, _ = embed(again, backbone, tmp_path / "own.h5", share=share)
    assert store.header.root == str(again)
