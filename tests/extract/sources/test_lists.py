"""Lists and tables as people have them: found and labelled right, or refused in words that help.

Parameter ids name the public report that has such an input.
"""

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from unicodedata import normalize

import pyarrow
import pyarrow.parquet
import pytest

from headstart.extract import find_images
from headstart.extract.errors import DecodeError, SourceError
from headstart.extract.options import SourceOptions

Case = pytest.param


@pytest.fixture
def files(tmp_path) -> Path:
    (tmp_path / "a").mkdir()
    for name in ("a/0.png", "a/1.png", "a/2.png", "001.png", normalize("NFD", "röse.png")):
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def found(path: Path, lists: SourceOptions | None = None) -> dict[str, str | None]:
    """Give the labels by path; every file is found."""
    items = find_images(path, lists).items
    assert [item.reason for item in items] == [""] * len(items)
    return {os.fsdecode(item.path): item.label for item in items}


def refusal(path: Path, lists: SourceOptions | None = None) -> str:
    with pytest.raises(SourceError) as caught:
        find_images(path, lists)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def table(file: Path, **columns) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file


@pytest.mark.parametrize(
    "names", ["Path,Label", "filename,class", "file_name,category", "filepath,species", "id,label"]
)
@pytest.mark.parametrize("delimiter", [",", "\t", ";", ", "])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_usual_columns_separators_and_encodings_are_read(files, names, delimiter, encoding):
    lines = [names, "a/0.png,röt", "", ",", "a/1.png,NaN", "a/2.png, röt "]
    (files / "x.csv").write_text("\n".join(lines).replace(",", delimiter), encoding=encoding)
    assert found(files / "x.csv") == {"a/0.png": "röt", "a/1.png": None, "a/2.png": "röt"}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        Case("a\\0.png", "a/0.png", id="Windows"),
        Case(" a/0.png ", "a/0.png", id="space"),
        Case("a/0", "a/0.png", id="keras-team/keras-preprocessing#88"),
        Case(normalize("NFC", "röse.png"), normalize("NFD", "röse.png"), id="llmsresearch/paperbanana#240"),
        Case("001", "001.png", id="fastai/fastai#1008"),
    ],
)
def test_a_file_is_found_however_its_name_is_written(files, name, path):
    (files / "x.csv").write_text(f"path,label\n{name},01\n", encoding="utf-8")
    assert found(files / "x.csv") == {path: "01"}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        Case("x.jsonl", '{"path": "a/0.png", "label": ["x", "y"]}', "one text", id="lightning-flash#728"),
        Case("x.jsonl", '{"path": "a/0.png", "label": {"x": 1}}', "column 'label': expected one", id="dict"),
        Case("x.jsonl", '{"path": "a/0.png", "label": 0.5}', "whole number, found 0.5", id="fraction"),
        Case("x.csv", "path,label\nx,y.png,a\n", "3 cells, the header 2", id="rom1504/img2dataset#208"),
        Case("x.csv", 'path,label\n"a/0.png,a\nb,b\n', "line 2 cannot be read: a quote", id="NASA-PDS/validate#355"),
        Case("x.csv", b"path,label\na/0.png,r\xf6se\n", "save the file as UTF-8", id="OpenNeuroOrg/openneuro#2515"),
        Case("x.csv", "path,label,label\na/0.png,x,y\n", "--label-column", id="two label columns"),
        Case("x.csv", "path,class,species\na/0.png,x,y\n", "columns path, class, species; name the", id="ambiguous"),
        Case("x.csv", "file_name,image\na/0.png,y\n", "rename the column", id="two columns of paths"),
        Case("x.csv", "path,label\n", "found no rows", id="empty list"),
        Case("x.jsonl", '{\n"path": 1}', "one whole JSON object a line", id="OpenNeuroOrg/openneuro#3344"),
    ],
)
def test_what_cannot_be_meant_is_refused(files, name, text, words):
    (files / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert words in refusal(files / name)


@pytest.mark.parametrize("url", ["https://example.com/a.png", "s3://b/x.png"])  # pixeltable/pixeltable#1186
def test_a_url_in_a_list_is_a_failure_that_says_so(files, url):
    (files / "x.csv").write_text(f"path\n{url}\n")
    (item,) = find_images(files / "x.csv").items
    assert (item.path, item.reason[:15]) == (url.encode(), "a URL in a list")


def test_a_json_array_and_numbers_as_names_are_read(files):  # fastai/fastai#253
    (files / "7.png").write_bytes(b"x")
    (files / "x.jsonl").write_text(json.dumps([{"path": 7, "label": 1.0}, {"path": "a/0.png", "label": "1"}]))
    assert found(files / "x.jsonl") == {"7.png": "1", "a/0.png": "1"}


def test_the_column_of_labels_and_the_root_can_be_named(files):
    (files / "elsewhere").mkdir()
    path = files / "elsewhere/x.csv"
    path.write_text(f"path,class,species\n{files}/a/0.png,x,y\na/1.png,x,z\n")
    assert found(path, SourceOptions("species", files)) == {"a/0.png": "y", "a/1.png": "z"}
    assert "found the columns path, class, species" in refusal(path, SourceOptions("genus"))
    assert "--root" in find_images(path, SourceOptions("class")).items[0].reason


@pytest.mark.parametrize(
    "labels",
    [
        Case([0, None], id="int"),
        Case(["0", "NA"], id="text"),
        Case([b"0", b""], id="scverse/spatialdata-io#25"),
        Case([0.0, float("nan")], id="keras-team/keras-preprocessing#57"),
        Case(pyarrow.array(["0", None]).dictionary_encode(), id="dictionary"),
    ],
)
def test_a_label_means_the_same_whatever_its_type(files, labels):
    expected = ["0", None]
    assert [*found(table(files / "images.parquet", image=[b"\0x", b"\0y"], label=labels)).values()] == expected
    assert [*found(table(files / "list.parquet", path=["a/0.png", "a/1.png"], label=labels)).values()] == expected


@pytest.mark.parametrize(
    "labels", [[[0], [0, 1]], [{"a": 1}, None]], ids=["Lightning-Universe/lightning-flash#728", "struct"]
)
def test_labels_of_several_values_are_refused(files, labels):
    message = refusal(table(files / "x.parquet", image=[b"x", b"y"], label=labels))
    assert "x.parquet: expected one text or whole number a row in the column 'label', found " in message


@pytest.mark.parametrize(  # apache/arrow#43584, apache/arrow-rs#7243
    "kind", [pyarrow.binary(3), pyarrow.binary_view(), pyarrow.dictionary(pyarrow.int32(), pyarrow.binary())], ids=str
)
def test_bytes_of_every_type_are_images(files, kind):
    from headstart.extract.sources.open import open_reader

    path = table(files / "x.parquet", image=pyarrow.array([b"abc", b"def"], pyarrow.binary()).cast(kind))
    reader = open_reader(files)
    assert [reader.read(item)[0] for item in find_images(path).items] == [b"abc", b"def"]
    reader.close()


def test_a_table_of_paths_without_bytes_is_refused(files):  # huggingface/datasets#4987
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    path = table(files / "x.parquet", image=pyarrow.array([{"bytes": None, "path": "a/0.png"}], kind))
    assert "holds paths, not images" in refusal(path)


def test_a_name_in_another_letter_case_is_found_if_it_can_mean_only_one_file(files):
    (files / "list.csv").write_text("path,label\na/0.PNG,x\na/1.Png,y\n")
    assert found(files / "list.csv") == {"a/0.png": "x", "a/1.png": "y"}
    (files / "a/0.Png").write_bytes(b"x")
    reasons = [item.reason for item in find_images(files / "list.csv").items]
    assert reasons == ["no such file", ""] or (files / "a/0.PNG").exists()  # some disks take both for one file


def test_images_as_base64_in_a_table_are_named_so(files):
    from headstart.extract.decoding.formats import explain
    from headstart.extract.sources.open import open_reader

    path = table(files / "x.parquet", image=[base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(99))])
    reader = open_reader(files)
    assert explain(reader.read(find_images(path).items[0])[0]) == "base64 is an image as text; decode it to bytes"
    reader.close()


def test_folders_of_a_partitioned_table_give_labels(files):
    for name in ("rose", "daisy"):
        (files / f"t/label={name}").mkdir(parents=True)
        table(files / f"t/label={name}/0.parquet", image=[b"x"])
    assert {item.label for item in find_images(files / "t").items} == {"rose", "daisy"}


HOSTILE = """
import re, sys
from headstart.extract import find_images
from headstart.extract.sources.open import open_reader
try:
    items = find_images(sys.argv[1]).items
    reader = open_reader(find_images(sys.argv[1]).root)
    for item in items[:40]:
        reader.read(item)
    reader.close()
    print("read")
except Exception as error:
    print(type(error).__name__)
peak = re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())  # maxrss is also of who started the process
print(int(peak[1]) >> 10)
"""


def outcome_of(path: Path) -> tuple[str, int]:
    """Give the outcome of reading a table in a process of its own, and the megabytes that this took."""
    assert path.stat().st_size < 1 << 20
    run = subprocess.run([sys.executable, "-c", HOSTILE, path], capture_output=True, text=True, check=True)
    outcome, megabytes = run.stdout.split()
    return outcome, int(megabytes)


@pytest.mark.parametrize("kind", [pyarrow.binary(), pyarrow.large_binary()], ids=str)
@pytest.mark.parametrize(("column", "expected"), [("label", "SourceError"), ("image", "read")])
def test_a_tiny_table_cannot_exhaust_the_memory(tmp_path, column, expected, kind):
    rows, large = 1500, pyarrow.array([b"x" * (1 << 20)], kind)
    repeated = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * rows, pyarrow.int32()), large)
    path, columns = tmp_path / "x.parquet", {"image": [b"x"] * rows} | {column: repeated}
    # Without Arrow's own schema, the reader takes the column for plain bytes, and repeats the entry in every row.
    pyarrow.parquet.write_table(pyarrow.table(columns), path, store_schema=False)
    outcome, megabytes = outcome_of(path)
    assert outcome == expected
    assert megabytes < 1000


def varint(number: int, length: int = 0) -> bytes:
    """Write a number as Thrift does, in more bytes than it needs if so asked."""
    left, data = number * 2, []
    while left > 127 or len(data) + 1 < length:
        data.append(left & 127 | 128)
        left >>= 7
    return bytes([*data, left])


@pytest.mark.parametrize("column", ["label", "image"])
def test_pages_are_not_unpacked_whatever_the_footer_says_about_them(tmp_path, column):
    path, columns = tmp_path / "x.parquet", {"image": [b"x"] * 3} | {column: [bytes(90 << 20)] * 3}
    one_page = {"use_dictionary": False, "data_page_size": 1 << 31, "write_statistics": False}
    pyarrow.parquet.write_table(pyarrow.table(columns), path, compression="zstd", **one_page)
    chunk = pyarrow.parquet.read_metadata(path).row_group(0).column(len(columns) - 1)
    size, data = varint(chunk.total_uncompressed_size), path.read_bytes()
    assert data.count(size) >= 1
    path.write_bytes(data.replace(size, varint(100, len(size))))
    outcome, megabytes = outcome_of(path)
    assert outcome == {"label": "SourceError", "image": "PageError"}[column]
    assert megabytes < 1000


@pytest.mark.parametrize("claimed", [1, (1 << 31) - 1], ids=["less", "more"])
def test_a_page_header_that_lies_fails_the_rows(files, claimed):
    from headstart.extract.sources.open import open_reader

    images = [bytes(70_000) for _ in range(4)]
    path = files / "x.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"image": images}), path, use_dictionary=False, write_statistics=False)
    data, size = path.read_bytes(), varint(4 * 70_004 + 6)
    assert data.count(size) == 1
    path.write_bytes(data.replace(size, varint(claimed, len(size)) if claimed == 1 else varint(claimed)))
    reader = open_reader(files)
    for item in find_images(path).items:
        with pytest.raises(DecodeError):
            reader.read(item)
    reader.close()


def test_the_shared_lists_are_read(shared):
    lists = shared("cases/trees/lists")
    for path in sorted(lists.glob("*.*")):
        labels = found(path)
        expected = {"pool/daisy.jpg": None if path.stem == "missing_values" else "daisy", "pool/rose.jpg": "rose"}
        assert labels == {name: expected[name] for name in labels}
    table = find_images(shared("cases/trees/class_label_column.parquet"))
    assert table.classes == ["healthy", "rust"]


def test_a_declared_class_called_none_is_a_class(tmp_path):
    features = {"label": {"names": ["None", "NA", "mild"], "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    columns = {"path": ["a.png", "b.png", "c.png", "d.png"], "label": [0, 1, 2, -1]}
    pyarrow.parquet.write_table(pyarrow.table(columns).replace_schema_metadata(metadata), tmp_path / "list.parquet")
    assert [item.label for item in find_images(tmp_path / "list.parquet").items] == ["None", "NA", "mild", None]


def test_a_changed_header_of_a_page_is_never_a_traceback(tmp_path):
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a.png"], "label": ["x"]}), tmp_path / "good.parquet")
    column = pyarrow.parquet.read_metadata(tmp_path / "good.parquet").row_group(0).column(0)
    data = (tmp_path / "good.parquet").read_bytes()
    for at in (column.dictionary_page_offset, column.dictionary_page_offset + 2, column.data_page_offset):
        for value in (0x1C, 0x00, 0xFF):
            (tmp_path / "bad.parquet").write_bytes(data[:at] + bytes([value]) + data[at + 1 :])
            with pytest.raises(SourceError, match=r"bad\.parquet"):
                find_images(tmp_path / "bad.parquet")


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY", "RLE_DICTIONARY"])
@pytest.mark.parametrize("page", ["1.0", "2.0"])
@pytest.mark.parametrize(
    "kind", [pyarrow.string(), pyarrow.large_string(), pyarrow.binary(), pyarrow.binary(4)], ids=str
)
def test_texts_are_read_whatever_their_encoding(files, encoding, page, kind):
    if pyarrow.types.is_fixed_size_binary(kind) and encoding == "DELTA_LENGTH_BYTE_ARRAY":
        encoding = "DELTA_BYTE_ARRAY"  # Parquet has no other for these
    labels = ["rose", None, "oaks"] * 20
    (files / "b").mkdir()
    for number in range(len(labels)):
        (files / "b" / f"{number:02}.png").touch()
    label = pyarrow.array([text and text.encode() for text in labels], pyarrow.binary()).cast(kind)
    columns = pyarrow.table({"path": [f"b/{number:02}.png" for number in range(len(labels))], "label": label})
    encodings = None if encoding == "RLE_DICTIONARY" else dict.fromkeys(columns.column_names, encoding)
    how = {"use_dictionary": encodings is None, "column_encoding": encodings, "data_page_version": page}
    pyarrow.parquet.write_table(columns, files / "x.parquet", row_group_size=40, **how)
    assert [*found(files / "x.parquet").values()] == labels


READ_EACH = """
import sys
from pathlib import Path
from headstart.extract import find_images
from headstart.extract.errors import DecodeError, SourceError
from headstart.extract.sources.open import open_reader
path, begin, seen = Path(sys.argv[1]), int(sys.argv[2]), 0
whole = path.read_bytes()
for at in range(begin, len(whole)):
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 7]) + whole[at + 1 :])
    try:
        source = find_images(path)
    except SourceError as error:
        assert "\\n" not in str(error)
        continue
    reader = open_reader(source.root)
    for item in source.items:
        try:
            reader.read(item)
        except DecodeError as error:
            seen += 1
    reader.close()
print("all", seen)
"""


@pytest.mark.parametrize(
    "images", [{"path": ["a/0.png", "a/1.png"]}, {"image": [b"\xff\xd8\xff", None]}], ids=["list", "table"]
)
def test_a_damaged_footer_never_ends_the_process(files, images):  # apache/paimon#8408, apache/datafusion-python#1023
    path = table(files / "x.parquet", **images, label=["rose", None])
    footer = path.stat().st_size - int.from_bytes(path.read_bytes()[-8:-4], "little") - 8
    run = subprocess.run([sys.executable, "-c", READ_EACH, path, f"{footer}"], capture_output=True, text=True)
    assert (run.returncode, run.stdout[:3]) == (0, "all"), run.stderr[-500:]
