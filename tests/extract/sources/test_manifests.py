import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from headstart.extract.errors import SourceError
from headstart.extract.options import SourceOptions
from headstart.extract.sources.find import find_images
from headstart.extract.sources.items import Item
from headstart.extract.sources.manifests import names_files
from headstart.extract.sources.readers import LocalReader

ROWS = [
    {"path": "b/2.jpg", "label": "dog", "split": "val"},
    {"path": "1.jpg", "label": "cat", "split": "training"},
    {"path": "naïve.jpg", "label": None, "split": None},
]
EXPECTED = [("1.jpg", "cat", "train"), ("b/2.jpg", "dog", "val"), ("naïve.jpg", None, "")]


def write_csv(path: Path, rows: list[dict], encoding: str = "utf-8") -> None:
    lines = [",".join(rows[0]), *(",".join(str(value or "") for value in row.values()) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding=encoding)


def write_csv_of_a_spreadsheet(path: Path, rows: list[dict]) -> None:
    write_csv(path, rows, encoding="utf-8-sig")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def write_jsonl(path: Path, rows: list[dict]) -> None:
    path.write_text("\n\n".join(json.dumps(row) for row in rows), encoding="utf-8")


def write_parquet(path: Path, rows: list[dict]) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


WRITERS = {
    "csv": ("photos.csv", write_csv),
    "csv of a spreadsheet": ("photos.CSV", write_csv_of_a_spreadsheet),
    "jsonl": ("photos.jsonl", write_jsonl),
    "parquet": ("photos.parquet", write_parquet),
}


@pytest.fixture(params=WRITERS)
def manifest(request, tmp_path):
    """Give a function that writes rows as a manifest, in each of its forms."""
    name, write = WRITERS[request.param]

    def manifest(rows: list[dict]) -> Path:
        write(tmp_path / name, rows)
        return tmp_path / name

    return manifest


@pytest.fixture
def files(tmp_path) -> Path:
    (tmp_path / "b").mkdir()
    for name in ("1.jpg", "b/2.jpg", "naïve.jpg"):
        (tmp_path / name).write_bytes(b"abc")
    return tmp_path


def only_item(path: Path) -> Item:
    (item,) = find_images(path).items
    return item


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        find_images(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_every_form_gives_the_same_items(manifest, files):
    source = find_images(manifest(ROWS))
    assert source.root == files
    assert [(os.fsdecode(item.path), item.label, item.split) for item in source.items] == EXPECTED
    assert {(item.size, item.reason) for item in source.items} == {(3, "")}


def test_label_and_split_may_be_left_out(manifest, files):
    item = only_item(manifest([{"path": "1.jpg"}]))
    assert (item.label, item.split) == (None, "")


def test_other_columns_are_passed_over(manifest, files):
    item = only_item(manifest([{"width": 640, "path": "1.jpg", "label": "cat"}]))
    assert item.label == "cat"


def test_a_number_is_a_label(manifest, files):
    assert only_item(manifest([{"path": "1.jpg", "label": 3}])).label == "3"


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_the_number_zero_is_a_label_too(files, suffix):
    {".jsonl": write_jsonl, ".parquet": write_parquet}[suffix](files / f"a{suffix}", [{"path": "1.jpg", "label": 0}])
    assert only_item(files / f"a{suffix}").label == "0"


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_not_a_number_is_no_label(files, suffix):
    rows = [{"path": "1.jpg", "label": float("nan")}]
    {".jsonl": write_jsonl, ".parquet": write_parquet}[suffix](files / f"a{suffix}", rows)
    assert only_item(files / f"a{suffix}").label is None


def test_a_missing_column_is_refused_with_those_that_are_there(manifest):
    assert "'path', found the columns " in refusal(manifest([{"photo": "1.jpg"}]))


def test_a_path_that_stands_twice_is_refused(manifest, files):
    rows = [{"path": "1.jpg", "label": "cat"}, {"path": "b/../1.jpg", "label": "dog"}]
    assert "row 2 names '1.jpg' again" in refusal(manifest(rows))


def test_an_unknown_split_is_refused_with_the_known_ones(manifest, files):
    message = refusal(manifest([{"path": "1.jpg", "split": "fold"}]))
    assert "row 1: unknown split 'fold'; expected one of train, " in message


def test_a_missing_file_is_a_failed_item(manifest, files):
    item = only_item(manifest([{"path": "gone.jpg", "label": "cat"}]))
    assert (item.path, item.reason, item.label, item.size) == (b"gone.jpg", "no such file", "cat", -1)


def test_an_absolute_path_below_the_folder_is_taken(manifest, files):
    item = only_item(manifest([{"path": str(files / "b" / "2.jpg")}]))
    assert (item.path, item.reason) == (b"b/2.jpg", "")


@pytest.mark.parametrize("path", ["../secret.jpg", "b/../../secret.jpg", "/dev/null", "..", "link/secret.jpg", "link"])
def test_a_path_that_leads_out_is_a_failed_item(tmp_path, path):
    (tmp_path / "secret.jpg").write_bytes(b"abc")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/link").symlink_to(tmp_path)
    write_csv(tmp_path / "photos/a.csv", [{"path": path}])
    item = only_item(tmp_path / "photos/a.csv")
    assert "outside the manifest's folder" in item.reason
    assert item.size == -1


def test_a_name_that_merely_begins_with_two_dots_is_taken(files):
    (files / "..1.jpg").write_bytes(b"abc")
    write_csv(files / "a.csv", [{"path": "..1.jpg"}])
    assert only_item(files / "a.csv").reason == ""


def test_a_folder_is_a_failed_item(manifest, files):
    assert only_item(manifest([{"path": "b"}])).reason == "not a regular file but a folder"


def test_a_path_with_a_zero_byte_is_a_failed_item(files):
    write_jsonl(files / "a.jsonl", [{"path": "1.jpg\0.png"}])
    item = only_item(files / "a.jsonl")
    assert item.path == b"1.jpg?.png"
    assert item.reason


def test_a_path_longer_than_the_system_takes_is_a_failed_item(manifest):
    assert "file name too long" in only_item(manifest([{"path": "x" * 300}])).reason


def test_bytes_that_are_no_utf8_still_name_their_file(files):
    name = b"caf\xe9.jpg"
    (files / os.fsdecode(name)).write_bytes(b"abc")
    (files / "a.csv").write_bytes(b"path,label\n" + name + b",a\n")
    item = only_item(files / "a.csv")
    assert (item.path, item.reason, item.label) == (name, "", "a")


def test_a_quoted_path_may_hold_commas_and_newlines(files):
    (files / "a,b\nc.jpg").write_bytes(b"abc")
    (files / "a.csv").write_text('path\n"a,b\nc.jpg"\n')
    assert only_item(files / "a.csv").reason == ""


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", b"{not json}"),
        ("a.jsonl", b"[1, 2]"),
        ("a.jsonl", b'{"path": true}'),
        ("a.jsonl", b'{"path": ""}'),
        ("a.jsonl", b'{"path": "\\ud800"}'),
        ("a.jsonl", b'{"path": "1.jpg", "label": "\\ud800"}'),
        ("a.jsonl", b'{"path": "1.jpg", "label": "a\\u0000"}'),
        ("a.parquet", b"PAR1 but not really"),
        ("a.parquet", b""),
        ("a.csv", b"p\0a\0t\0h\0\n\0a\0"),
        ("a.csv", b"path\n" + b"x" * 200_000),
        ("a.csv", b""),
        ("a.csv", b"path,label\n"),
        ("a.jsonl", b"\n\n"),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    refusal(tmp_path / name)


def test_the_row_is_named_where_a_label_cannot_be_stored(files):
    write_jsonl(files / "a.jsonl", [{"path": "1.jpg"}, {"path": "b/2.jpg", "label": "a\0"}])
    assert "row 2" in refusal(files / "a.jsonl")


@pytest.mark.parametrize(("label", "option"), [("label", None), ("Species", None), ("sort", "sort")])
def test_text_that_is_stored_as_plain_bytes_is_text(files, label, option):
    columns = {"path": [b"1.jpg", b"b/2.jpg"], label: ["rosé".encode(), b"dog"], "split": [b"train", b"val"]}
    path = files / "photos.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    source = find_images(path, SourceOptions(label_column=option))
    assert [(item.path, item.label, item.split, item.reason) for item in source.items] == [
        (b"1.jpg", "rosé", "train", ""),
        (b"b/2.jpg", "dog", "val", ""),
    ]


PNG, JPEG, DIGEST = b"\x89PNG\r\n\x1a\n" + bytes(9), b"\xff\xd8\xff\xe0" + bytes(9), bytes(range(200, 232))
TEXT = b"seen near the river"


@pytest.mark.parametrize(
    ("columns", "is_table"),
    [
        ({"path": TEXT, "note": TEXT}, False),
        ({"path": "1.jpg", "note": TEXT, "digest": DIGEST}, False),
        ({"image": b"1.jpg", "note": TEXT}, False),
        ({"path": "1.jpg", "note": None}, False),
        ({"path": "1.jpg", "photo": JPEG, "note": TEXT}, True),
        ({"name": b"1.jpg", "picture": PNG, "digest": DIGEST, "label": TEXT}, True),
        ({"path": "1.jpg", "image": b"\0 damaged"}, True),
        ({"path": "1.jpg", "image": None}, True),
        ({"image": None, "mask": PNG, "id": 1}, True),
        ({"picture": b"\0 damaged", "label": TEXT}, True),
        ({"path": "1.jpg", "photo": {"bytes": None, "path": "1.jpg"}}, True),
        ({"photo": {"bytes": JPEG, "path": "1.jpg"}, "note": TEXT}, True),
    ],
)
def test_bytes_are_images_if_they_begin_like_images(files, columns, is_table):
    path = files / "photos.parquet"
    types = {name: pyarrow.binary() for name, value in columns.items() if value is None}
    if "photo" in columns and isinstance(columns["photo"], dict):
        types["photo"] = pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()})
    arrays = {name: pyarrow.array([value], types.get(name)) for name, value in columns.items()}
    pyarrow.parquet.write_table(pyarrow.table(arrays), path)
    assert names_files(path) is not is_table
    if is_table and columns.get("photo", {"bytes": 1}) != {"bytes": None, "path": "1.jpg"}:
        assert [item.container for item in find_images(path).items] == [b"photos.parquet"]


def test_a_few_first_values_tell_what_a_column_holds(files, monkeypatch):
    path = files / "photos.parquet"
    columns = {"path": [f"{n}.jpg" for n in range(300)], "note": [bytes(90_000) for n in range(300)]}
    pyarrow.parquet.write_table(
        pyarrow.table(columns), path, use_dictionary=False, compression=None, write_batch_size=8
    )
    read = []
    part = LocalReader.part
    monkeypatch.setattr(LocalReader, "part", lambda *at: read.append(at[3] - at[2]) or part(*at))
    assert names_files(path)
    assert sum(read) < path.stat().st_size / 2


def test_a_row_that_spells_the_file_of_another_row_fails_alone(manifest, files):
    rows = [{"path": path, "label": "cat"} for path in ("1.JPG", "1.jpg", "b/2.jpg")]
    found = {item.path: item.reason for item in find_images(manifest(rows)).items}
    assert found.keys() == {b"1.JPG", b"1.jpg", b"b/2.jpg"}
    assert found[b"1.JPG"].startswith("no such file; another row names '1.jpg'")
    assert found[b"1.jpg"] == found[b"b/2.jpg"] == ""


def test_a_name_with_the_zero_character_is_no_file(files):
    write_jsonl(files / "photos.jsonl", [{"path": "a\0b.jpg"}])
    assert "the zero character" in only_item(files / "photos.jsonl").reason


LIST_HOSTILE = """
import resource, sys
from headstart.extract.errors import SourceError
from headstart.extract.sources.find import find_images
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    find_images(sys.argv[1])
except SourceError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_wide_labels_of_fixed_width_do_not_fill_the_memory(files):
    wide, rows = 1 << 20, 400
    label = pyarrow.array([b"x" * wide] * rows, pyarrow.binary(wide))
    path = files / "photos.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"path": [f"{n}.jpg" for n in range(rows)], "label": label}), path)
    assert path.stat().st_size < 200_000
    run = subprocess.run([sys.executable, "-c", LIST_HOSTILE, path], capture_output=True, text=True, check=True)
    message, grown = run.stdout.splitlines()
    assert "at most 4,096 bytes per value in the column 'label', found 1,048,576" in message
    assert int(grown) < 100_000  # KiB: 7,400 were measured, and 834,000 without the limit


def test_a_long_name_in_many_rows_does_not_fill_the_memory(files):
    names = pyarrow.DictionaryArray.from_arrays([0] * 600, ["x" * 1_000_000])
    pyarrow.parquet.write_table(pyarrow.table({"path": names}), files / "photos.parquet")
    run = subprocess.run(
        [sys.executable, "-c", LIST_HOSTILE, files / "photos.parquet"], capture_output=True, text=True, check=True
    )
    message, grown = run.stdout.splitlines()
    assert "again" in message
    assert int(grown) < 300_000  # KiB; the names have 600 MB


def test_long_names_that_are_stored_as_differences_are_refused(files, monkeypatch):
    monkeypatch.setattr("headstart.extract.sources.lists.parquet.LONGEST_TEXTS", 100_000)
    names = [f"{'x' * 2000}{number}" for number in range(100)]
    how = {"use_dictionary": False, "column_encoding": {"path": "DELTA_BYTE_ARRAY"}}
    pyarrow.parquet.write_table(pyarrow.table({"path": names}), files / "photos.parquet", **how)
    assert "a row group has more than 100,000 bytes of text" in refusal(files / "photos.parquet")


@pytest.mark.parametrize("kind", [str, str.encode], ids=["text", "bytes"])
def test_texts_that_mean_no_label_are_counted(files, kind):
    labels = ["cat", "None", "NA", "None", ""]
    columns = {"path": [*"abcde"], "label": [kind(label) for label in labels]}
    pyarrow.parquet.write_table(pyarrow.table(columns), files / "photos.parquet")
    (note,) = find_images(files / "photos.parquet").notes
    assert note.startswith("took labels for missing in 3 rows, such as row 2: 2 'None', 1 'NA'; ")
