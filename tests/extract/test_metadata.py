"""`embed --metadata`: the columns are whole whatever the store held before, and nothing of them is there without it."""

import json
import math
import os
import tarfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from headstart.extract import EngineOptions, Share, embed, inspect, merge, open_store, read_model
from headstart.extract.decoding.exif import UNREADABLE
from headstart.extract.engines.embedder import Embedder
from headstart.extract.errors import StoreError
from headstart.extract.inference.subgraph import uncut
from headstart.extract.store.schema import METADATA_DTYPES

QUICK = EngineOptions(isolate=False, batch_size=1)
NOTHING = (b"", b"")
COLUMNS = list(METADATA_DTYPES)


def exif(number: int) -> bytes:
    made = Image.Exif()
    made[0x10F], made[0x110] = "Canon", f"EOS {number}"
    made.get_ifd(0x8769)[0x9003] = f"2024:05:{1 + number:02} 12:30:00"
    made.get_ifd(0x8825).update({1: "S", 2: (float(number), 30.0, 0.0), 3: "W", 4: (number / 2, 0.0, 0.0)})
    return made.tobytes()


@pytest.fixture
def photos(tmp_path, picture) -> Path:
    """Give 6 photos with all metadata, one without and one that fails."""
    folder = tmp_path / "photos"
    for number in range(6):
        add(folder, number, picture)
    (folder / "fir" / "plain.png").write_bytes(picture(9))
    (folder / "oak" / "broken.jpg").write_bytes(picture(9, "JPEG", exif=exif(9))[:300])
    return folder


def add(folder: Path, number: int, picture) -> Path:
    path = folder / ("fir", "oak")[number % 2] / f"{number}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(number, "JPEG", exif=exif(number)))
    return path


def assert_whole(store) -> None:
    """Compare each row with what its photo states."""
    assert list(store.metadata) == COLUMNS
    assert not store.lacks_metadata.any()
    taken, camera, latitude, longitude = store.metadata.values()
    assert (taken.dtype, latitude.dtype, longitude.dtype) == ("S19", "f8", "f8")
    for row, path in enumerate(store.paths):
        stem, place = Path(path).stem, (latitude[row], longitude[row])
        if not stem.isdecimal():
            assert (taken[row], camera[row]) == NOTHING
            assert np.isnan(place).all()
            continue
        number = int(stem)
        assert (taken[row], camera[row]) == (b"2024-05-%02dT12:30:00" % (1 + number), b"Canon EOS %d" % number)
        assert place == (-number - 0.5, -number / 2)


def test_nothing_is_kept_without_the_option(photos, backbone, tmp_path):
    store, _ = embed(photos, backbone, tmp_path / "a.h5", options=QUICK)
    assert store.metadata == {}
    with h5py.File(tmp_path / "a.h5") as file:
        assert not {*COLUMNS} & {*file}
        assert "has_metadata" not in file.attrs
    data = (tmp_path / "a.h5").read_bytes()
    assert b"Canon" not in data
    assert b"2024" not in data


@pytest.mark.parametrize("suffix", [".h5", ".emb"])
@pytest.mark.parametrize("isolate", [False, os.name == "posix"])
def test_columns_hold_what_the_photos_state(photos, backbone, tmp_path, suffix, isolate):
    options = EngineOptions(isolate=isolate)
    store, summary = embed(photos, backbone, tmp_path / f"a{suffix}", options=options, metadata=True)
    assert (summary.embedded, summary.failed) == (7, 1)
    assert_whole(store)
    assert_whole(open_store(tmp_path / f"a{suffix}"))
    _, again = embed(photos, backbone, tmp_path / f"a{suffix}", options=options, metadata=True)
    assert (again.computed, again.reused) == (0, 8)


def test_archives_hold_photos_with_metadata(photos, backbone, tmp_path):
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        archive.add(photos, "")
    assert_whole(embed(tmp_path / "photos.tar", backbone, tmp_path / "a.h5", options=QUICK, metadata=True)[0])


@pytest.mark.parametrize("suffix", [".h5", ".emb"])
def test_a_store_without_the_columns_gets_them_without_computing_anything(photos, backbone, tmp_path, suffix):
    before, _ = embed(photos, backbone, tmp_path / f"a{suffix}", options=QUICK)
    vectors = before.embeddings()
    store, summary = embed(photos, backbone, tmp_path / f"a{suffix}", options=QUICK, metadata=True)
    assert (summary.computed, summary.reused) == (0, 8)
    assert_whole(store)
    np.testing.assert_array_equal(store.embeddings(), vectors)


@pytest.mark.parametrize("suffix", [".h5", ".emb"])
@pytest.mark.parametrize("metadata", [False, True])
def test_a_store_with_the_columns_keeps_them_whole(photos, backbone, tmp_path, picture, suffix, metadata, monkeypatch):
    embed(photos, backbone, tmp_path / f"a{suffix}", options=QUICK, metadata=True)
    add(photos, 6, picture)
    (photos / "fir" / "7.jpg").write_bytes(picture(7, "JPEG", exif=exif(7)))
    (photos / "fir" / "4.jpg").rename(photos / "oak" / "4.jpg")  # of stored content
    (photos / "fir" / "0.jpg").unlink()
    described: list[object] = []
    original = Embedder._described

    def counted(self, outcome, *others):
        found = original(self, outcome, *others)
        described.append(found is not outcome)
        return found

    monkeypatch.setattr(Embedder, "_described", counted)
    store, summary = embed(photos, backbone, tmp_path / f"a{suffix}", options=QUICK, metadata=metadata)
    assert (summary.computed, summary.removed, len(store)) == (2, 2, 9)
    assert_whole(store)
    assert sum(described) == 2  # only what is new was read


def test_an_interrupted_run_without_goes_on_with_the_columns(photos, backbone, tmp_path):
    def stop(progress) -> None:
        if progress.done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(photos, backbone, tmp_path / "a.h5", options=QUICK, progress=stop)
    store, summary = embed(photos, backbone, tmp_path / "a.h5", options=QUICK, metadata=True)
    assert 0 < summary.computed < 8
    assert_whole(store)


@pytest.mark.parametrize("suffix", [".h5", ".emb"])
@pytest.mark.parametrize("first", [1, 2])
def test_a_merge_keeps_them_and_a_later_run_fills_the_rest(photos, backbone, tmp_path, suffix, first):
    shares = [tmp_path / f"{number}{suffix}" for number in (1, 2)]
    for number, path in enumerate(shares, 1):
        embed(photos, backbone, path, options=QUICK, share=Share(number, 2), metadata=number == first)
    merged = merge(shares, tmp_path / "all.h5")
    lacking = [Share(3 - first, 2).holds(path) for path in merged.rows.path.tolist()]
    assert 0 < sum(lacking) < 8
    assert [bool(taken) for taken in merged.metadata["taken"]] == [
        not lacks and Path(path).stem.isdecimal() for lacks, path in zip(lacking, merged.paths, strict=True)
    ]
    store, summary = embed(photos, backbone, tmp_path / "all.h5", options=QUICK)
    assert summary.computed == 0
    assert_whole(store)
    for number, path in enumerate(shares, 1):
        _, summary = embed(photos, backbone, path, options=QUICK, share=Share(number, 2), metadata=True)
        assert summary.computed == 0
    assert_whole(merge(shares, tmp_path / "again.h5"))
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "all.h5").read_bytes()


def test_a_new_label_keeps_the_metadata(photos, backbone, tmp_path):
    rows = [{"path": f"photos/{path.relative_to(photos)}", "label": "a"} for path in sorted(photos.rglob("*.jpg"))]
    listing = tmp_path / "list.jsonl"
    for label in "ab":
        listing.write_text("\n".join(json.dumps(row | {"label": label}) for row in rows))
        store, summary = embed(listing, backbone, tmp_path / "a.h5", options=QUICK, metadata=label == "a")
    assert (store.classes, summary.computed) == (["b"], 0)
    assert_whole(store)


def test_tensors_pass_them_on(photos, cut_backbone, tmp_path):
    embed(photos, cut_backbone, tmp_path / "cut.h5", options=QUICK, metadata=True)
    assert_whole(embed(tmp_path / "cut.h5", cut_backbone, tmp_path / "a.h5")[0])
    embed(photos, cut_backbone, tmp_path / "without.h5", options=QUICK)
    with pytest.raises(StoreError, match="again with --metadata"):
        embed(tmp_path / "without.h5", cut_backbone, tmp_path / "b.h5", metadata=True)


def test_tensors_without_them_leave_new_rows_of_a_store_to_be_filled(photos, cut_backbone, tmp_path, picture):
    tuned = uncut(read_model(cut_backbone))
    embed(photos, tuned, tmp_path / "a.h5", options=QUICK, metadata=True)
    added = add(photos, 6, picture)
    embed(photos, cut_backbone, tmp_path / "cut.h5", options=QUICK)
    store, _ = embed(tmp_path / "cut.h5", cut_backbone, tmp_path / "a.h5")
    assert store.lacks_metadata[store.paths.index(f"fir/{added.name}")]
    store, summary = embed(photos, tuned, tmp_path / "a.h5", options=QUICK)
    assert summary.computed == 0
    assert_whole(store)


def test_a_damaged_block_costs_no_photo_and_is_noted(photos, backbone, tmp_path, picture):
    (photos / "fir" / "x.webp").write_bytes(picture(3, "WEBP", exif=b"II*\0\xff"))
    store, summary = embed(photos, backbone, tmp_path / "a.h5", options=QUICK, metadata=True)
    assert_whole(store)
    assert [(note.text, note.count, note.example) for note in summary.notes] == [(UNREADABLE, 1, "fir/x.webp")]
    _, again = embed(photos, backbone, tmp_path / "a.h5", options=QUICK, metadata=True)
    assert (again.computed, again.notes) == (0, [])


def test_inspect_and_tables_show_what_is_there(photos, backbone, tmp_path):
    pytest.importorskip("pandas")
    without, _ = embed(photos, backbone, tmp_path / "b.h5", options=QUICK)
    assert inspect(tmp_path / "b.h5")["metadata"] == {}
    assert "taken" not in without.to_pandas()
    store, _ = embed(photos, backbone, tmp_path / "a.h5", options=QUICK, metadata=True)
    assert inspect(tmp_path / "a.h5")["metadata"] == {"taken": 6, "camera": 6, "position": 6}
    assert "position 6" in store._repr_html_()
    table = store.to_pandas().set_index("path")
    assert table.loc["oak/3.jpg", ["camera", "latitude", "longitude"]].tolist() == ["Canon EOS 3", -3.5, -1.5]
    assert table.loc["oak/3.jpg", "taken"].isoformat() == "2024-05-04T12:30:00"
    assert table.loc["fir/plain.png", "taken"] is not None
    assert math.isnan(table.loc["oak/broken.jpg", "latitude"])
