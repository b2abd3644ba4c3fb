"""Photos in a column of Parquet tables: rows are those of the same photos in a folder, read once and in order."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from headstart.extract import EngineOptions, embed, find_images
from headstart.extract.errors import DecodeError, SourceError
from headstart.extract.sources.readers import LocalReader
from headstart.extract.sources.table_rows import RowReader, _Cursor

QUICK = EngineOptions(isolate=False, batch_size=4)
BYTES = pyarrow.binary()
HUGGING_FACE = pyarrow.struct([("bytes", BYTES), ("path", pyarrow.string())])


def as_given(data: bytes | None, kind: pyarrow.DataType):
    if kind != HUGGING_FACE:
        return data
    return {"bytes": data, "path": "x.jpg"}


def make_table(path: Path, rows: list[tuple], kind: pyarrow.DataType = BYTES, group: int = 4, **metadata) -> Path:
    """Write rows of an image, a label and a split."""
    images, labels, splits = zip(*rows, strict=True)
    columns = {
        "note": ["any"] * len(rows),
        "image": pyarrow.array([as_given(image, kind) for image in images], kind),
        "label": list(labels),
        "split": list(splits),
    }
    table = pyarrow.table(columns).replace_schema_metadata({k: json.dumps(v) for k, v in metadata.items()} or None)
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, path, row_group_size=group)
    return path


@pytest.fixture
def rows(photos) -> list[tuple]:
    files = sorted(path for path in photos.rglob("*") if path.is_file())
    return [(f.read_bytes(), f.parent.name if f.parent != photos else None, "") for f in files]


@pytest.fixture
def opened(monkeypatch) -> list[int]:
    """Give the numbers of the row groups that are opened."""
    numbers, original = [], _Cursor._images_of

    def images_of(self, group):
        numbers.append(group)
        return original(self, group)

    monkeypatch.setattr(_Cursor, "_images_of", images_of)
    return numbers


def content_of(store) -> list[tuple]:
    names = [store.header.classes[code] if code >= 0 else None for code in store.rows.label]
    columns = store.rows.sha256.tolist(), names, store.rows.split.tolist(), store.rows.reason.tolist()
    return list(zip(*columns, strict=True))


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        find_images(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", [BYTES, pyarrow.large_binary(), HUGGING_FACE], ids=["binary", "large", "struct"])
def test_rows_are_those_of_the_folder_and_nothing_is_read_again(photos, rows, backbone, tmp_path, kind, monkeypatch):
    local, _ = embed(photos, backbone, tmp_path / "local.h5", options=QUICK)
    path = make_table(tmp_path / "x.parquet", rows, kind)
    store, summary = embed(path, backbone, tmp_path / "rows.h5", options=QUICK)
    assert (summary.inputs, summary.failed) == (25, 3)
    assert store.paths[3] == "x.parquet/000000003"
    assert content_of(store) == content_of(local)
    assert np.allclose(store.embeddings(), local.embeddings(), rtol=2e-3, equal_nan=True)
    monkeypatch.setattr(RowReader, "_row", None)
    _, again = embed(path, backbone, tmp_path / "rows.h5", options=QUICK)
    assert (again.computed, again.reused) == (0, 25)


def test_a_row_group_is_opened_once_and_one_that_is_known_not_at_all(rows, backbone, tmp_path, opened, monkeypatch):
    monkeypatch.setattr("headstart.extract.sources.table_rows.BYTES_AHEAD", 5000)
    for i in range(2):
        make_table(tmp_path / "tables" / f"{i}.parquet", rows[i::2])
    options = EngineOptions(isolate=False, batch_size=3, workers=4)
    store, _ = embed(tmp_path / "tables", backbone, tmp_path / "a.h5", options=options)
    assert len(store) == 25
    assert opened == [0, 1, 2, 3, 0, 1, 2]
    opened.clear()
    os.utime(tmp_path / "tables" / "1.parquet", ns=(1, 1))
    _, again = embed(tmp_path / "tables", backbone, tmp_path / "a.h5", options=options)
    assert (opened, again.computed) == ([0, 1, 2], 0)


def test_a_row_group_is_never_read_whole(picture, tmp_path, monkeypatch):
    asked = []

    class Counting(LocalReader):
        def part(self, path, start, end):
            asked.append(end - start)
            return super().part(path, start, end)

    monkeypatch.setattr("headstart.extract.sources.tables.REQUEST_BYTES", 10_000)
    photos = [picture(n) for n in range(400)]
    place = tmp_path / "x.parquet"
    paged = {"data_page_size": 5000, "write_batch_size": 2, "use_dictionary": False}
    pyarrow.parquet.write_table(pyarrow.table({"image": photos}), place, **paged)
    items = find_images(place).items
    reader = RowReader(Counting(tmp_path))
    assert [reader.read(item)[0] for item in items] == photos
    reader.close()
    largest_of_footer = 65536
    assert max(asked[2:]) <= 20_000 < largest_of_footer < place.stat().st_size / 5
    assert sum(asked) < 1.05 * place.stat().st_size + 2 * largest_of_footer


def test_a_row_without_an_image_is_a_failure_for_good(picture, backbone, tmp_path):
    rows = [(picture(), "a", "train"), (None, "b", "val"), (picture(1), None, None)]
    for kind in (BYTES, HUGGING_FACE):
        path = make_table(tmp_path / "x.parquet", rows, kind)
        store, _ = embed(path, backbone, tmp_path / "a.h5", options=QUICK)
        assert dict(store.failures) == {"x.parquet/000000001": "no image in this row"}
        assert store.rows.split.tolist() == [1, 2, 0]
        _, again = embed(path, backbone, tmp_path / "a.h5", options=QUICK)
        assert again.computed == 0


def test_labels_that_are_numbers_get_the_names_that_hugging_face_gives(tmp_path):
    features = {"info": {"features": {"label": {"names": ["ant", "bee"], "_type": "ClassLabel"}}}}
    rows = [(b"x", 1, ""), (b"y", 0, "test"), (b"z", -1, "")]
    named = find_images(make_table(tmp_path / "x.parquet", rows, huggingface=features))
    assert [(item.label, item.split) for item in named.items] == [("bee", ""), ("ant", "test"), (None, "")]
    plain = find_images(make_table(tmp_path / "x.parquet", rows, huggingface={"info": None}))
    assert [item.label for item in plain.items] == ["1", "0", "-1"]
    message = refusal(make_table(tmp_path / "x.parquet", [(b"x", 2, "")], huggingface=features))
    assert message.endswith("x.parquet: row 1: the label 2 is none of the 2 classes")


def test_the_column_is_image_or_the_only_one_of_bytes(tmp_path):
    path = tmp_path / "x.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"id": [1], "photo": [b"x"]}), path)
    assert len(find_images(path).items) == 1
    pyarrow.parquet.write_table(pyarrow.table({"image": [b"\0y"], "photo": [b"\0x"]}), path)
    assert RowReader(LocalReader(tmp_path)).read(find_images(path).items[0])[0] == b"\0y"
    pyarrow.parquet.write_table(pyarrow.table({"one": [b"y"], "other": [b"x"]}), path)
    assert refusal(path).endswith("found the columns one (binary), other (binary)")
    pyarrow.parquet.write_table(pyarrow.table({"one": [1]}), path)
    assert refusal(path).startswith(f"{path}: expected the bytes of images in one column")
    pyarrow.parquet.write_table(pyarrow.table({"path": ["1.png"]}), path)
    assert refusal(tmp_path).startswith(f"{path}: names files instead of containing images")


def test_the_report_shows_photos_in_tables(tmp_path, picture):
    from headstart.extract.thumbnails import thumbnail

    photo = picture(2)
    make_table(tmp_path / "x.parquet", [(picture(n), "a", "") for n in range(6)])
    (tmp_path / "alone.png").write_bytes(photo)
    digest = hashlib.sha256(photo).digest()
    assert thumbnail(tmp_path, b"x.parquet/000000002", sha256=digest) == thumbnail(tmp_path, b"alone.png") is not None
    assert thumbnail(tmp_path, b"x.parquet/000000003", sha256=digest) is None


def test_a_table_names_files_only_if_it_holds_no_images(tmp_path, picture):
    (tmp_path / "1.png").write_bytes(picture())
    pyarrow.parquet.write_table(pyarrow.table({"path": ["1.png"]}), tmp_path / "x.parquet")
    assert [item.path for item in find_images(tmp_path / "x.parquet").items] == [b"1.png"]
    pyarrow.parquet.write_table(pyarrow.table({"path": ["1.png"], "image": [picture()]}), tmp_path / "x.parquet")
    assert [item.path for item in find_images(tmp_path / "x.parquet").items] == [b"x.parquet/000000000"]


def test_a_damaged_row_group_fails_its_rows_and_no_others(picture, backbone, tmp_path, opened):
    rows = [(picture(n), "a", "") for n in range(12)]
    path = make_table(tmp_path / "x.parquet", rows)
    found = pyarrow.parquet.ParquetFile(path).metadata.row_group(1).column(1)
    data = bytearray(path.read_bytes())
    begin = found.dictionary_page_offset or found.data_page_offset
    data[begin : begin + found.total_compressed_size] = b"\xff" * found.total_compressed_size
    path.write_bytes(data)
    store, summary = embed(path, backbone, tmp_path / "a.h5", options=QUICK)
    assert (summary.inputs, summary.failed) == (12, 4)
    assert all(reason.startswith("damaged table: ") for reason in store.failures.values())
    assert store.is_embedded.tolist() == [True] * 4 + [False] * 4 + [True] * 4
    assert opened == [0, 1, 2]


def test_whatever_bytes_are_flipped_there_are_rows_or_one_clear_error(picture, tmp_path):
    path = make_table(tmp_path / "x.parquet", [(picture(n), "a", "") for n in range(6)])
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(3):
            data[int(rng.integers(len(data) - 1500 if rng.integers(2) else 0, len(data)))] = int(rng.integers(256))
        path.write_bytes(data)
        try:
            source = find_images(path)
        except SourceError as error:
            assert "\n" not in str(error)  # noqa: PT017
            continue
        reader = RowReader(LocalReader(tmp_path))
        for item in source.items:
            try:
                assert isinstance(reader.read(item)[0], bytes)
            except DecodeError as error:
                assert "\n" not in str(error)  # noqa: PT017
        reader.close()
