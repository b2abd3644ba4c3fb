import json
from dataclasses import replace

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from headstart.classify.errors import LabelError
from headstart.classify.labels.join import join_labels
from headstart.classify.labels.options import LabelOptions
from headstart.extract.errors import SourceError
from headstart.files.errors import HeadstartError, OptionError

PATHS = [f"{number:03}.jpg" for number in range(12)]


@pytest.fixture
def store(make_store):
    """Give twelve photos in two classes; the last could not be read."""
    return make_store(["ash", "birch"] * 6, paths=PATHS, failed=[11])


@pytest.fixture
def join(store, tmp_path):
    """Join a CSV file to the store: the labels by path, the splits and groups, and the match."""

    def run(text: str | None, **options):
        if text is not None:
            (tmp_path / "labels.csv").write_text(text, encoding="utf-8")
            options["labels"] = tmp_path / "labels.csv"
        joined, match = join_labels(store, LabelOptions(**options))
        names = [*joined.classes, None]
        return joined, {path: names[code] for path, code in zip(joined.paths, joined.labels, strict=True)}, match

    return run


def counts(match):
    return {one.kind: one.count for one in match.mismatches}


def csv(header: str, *rows: str) -> str:
    return "\n".join([header, *rows]) + "\n"


def test_nothing_asked_for_is_nothing_done(store):
    assert join_labels(store, LabelOptions()) == (store, None)


def test_a_competitions_list_beside_a_part_of_its_photos(join):
    rows = [f"{number:03},{('pug', 'boxer', 'collie')[number % 3]}" for number in range(11)]
    joined, labels, match = join(csv("id,breed", *rows, *(f"x{number},pug" for number in range(100))))
    assert joined.classes == ["boxer", "collie", "pug"]
    assert labels == {path: ("pug", "boxer", "collie")[row % 3] for row, path in enumerate(PATHS[:11])} | {
        PATHS[11]: None
    }
    assert (match.rows, match.photos, match.label_column) == (111, 11, "breed")
    assert match.joined_by == {"name without suffix": 11}
    assert counts(match) == {"rows_without_photo": 100}
    assert match.warnings() == ["100 rows of labels.csv name no photo of made.h5 ('x0', 'x1', 'x2', ...)"]
    assert json.loads(json.dumps(match.to_json()))["mismatches"]["rows_without_photo"]["count"] == 100


def test_every_mismatch_is_counted_and_named(join):
    rows = [
        "000.jpg,pug",
        "000.jpg,pug",
        "001.jpg,pug",
        "001,boxer",
        "002.jpg,pug",
        "002.jpg,boxer",
        "003.jpg,",
        "y.jpg,pug",
    ]
    _, labels, match = join(csv("path,label", *rows))
    assert {path for path, label in labels.items() if label} == {"000.jpg", "001.jpg"}
    assert labels["001.jpg"] == "pug"  # the row with its exact path is surer than that without suffix
    assert {one.kind: (one.count, one.examples) for one in match.mismatches} == {
        "rows_without_photo": (2, ["001", "y.jpg"]),
        "repeated_rows": (1, ["000.jpg"]),
        "conflicting_rows": (1, ["002.jpg"]),
        "photos_without_row": (7, ["004.jpg", "005.jpg", "006.jpg"]),
        "photos_without_label": (1, ["003.jpg"]),
    }
    assert all("{" not in warning for warning in match.warnings())


def test_a_name_of_two_photos_is_ignored(make_store, tmp_path):
    store = make_store([None] * 3, paths=["a/1.jpg", "b/1.jpg", "b/2.jpg"])
    (tmp_path / "labels.tsv").write_text("image_id\tkind\n1\tx\n2\ty\n")
    joined, match = join_labels(store, LabelOptions(labels=tmp_path / "labels.tsv"))
    assert joined.labels.tolist() == [-1, -1, 0]
    assert counts(match) == {"ambiguous_names": 1, "photos_without_row": 2}


def test_content_joins_photos_wherever_they_are(store, make_store, tmp_path):
    moved = make_store([None] * 12, paths=[f"moved/{n}.png" for n in range(100, 112)], contents=PATHS, name="moved.h5")
    digests = [digest.tobytes().hex() for digest in store.rows.sha256]
    rows = [f"{number},{digest.upper()},{number % 2}" for number, digest in enumerate(digests)]
    (tmp_path / "x.csv").write_text(csv("id,sha256,species", *rows))
    joined, match = join_labels(moved, LabelOptions(labels=tmp_path / "x.csv"))
    assert joined.labels.tolist() == [0, 1] * 6
    assert match.joined_by == {"sha256": 12}


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_all_formats_of_lists_are_read(store, tmp_path, suffix):
    rows = [{"path": path, "kind": "xy"[row % 2], "shot": f"2024-05-{row + 1:02}"} for row, path in enumerate(PATHS)]
    path = tmp_path / f"labels.{suffix}"
    if suffix == "parquet":
        table = pyarrow.Table.from_pylist(rows)
        times = pyarrow.array(np.array([row["shot"] for row in rows], "datetime64[us]"))
        pyarrow.parquet.write_table(table.set_column(2, "shot", times), path)
    elif suffix == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        separator = {"csv": ",", "tsv": "\t"}[suffix]
        path.write_text("\n".join(separator.join(row) for row in [rows[0], *(row.values() for row in rows)]))
    joined, match = join_labels(store, LabelOptions(labels=path, time="shot", split_by_time=True))
    assert joined.classes == ["x", "y"]
    assert (joined.splits[:11] == ["train"] * 9 + ["val"] * 2).all()
    assert match.evaluated_from == "2024-05-10T00:00:00"
    assert joined.split_origin == "the latest 18% of the images, from 2024-05-10T00:00:00 on ('shot')"


@pytest.mark.parametrize(
    ("header", "options", "column"),
    [
        ("path,label,species", {}, "label"),
        ("path,label,species", {"label_column": "species"}, "species"),
        ("path,species,patient", {"group": "patient"}, "species"),
        ("path,breed,patient", {"group": "patient"}, "breed"),
        ("path,breed,shot", {"time": "shot", "split_by_time": True}, "breed"),
        ("path,patient", {"group": "patient"}, ""),
        ("path,breed", {"where": "breed != 'x'", "label_column": "breed"}, "breed"),
        ("path,label,patient", {"group": "patient", "label_column": ""}, ""),
        ("path,label", {"where": "label == label"}, "label"),
        ("path,split", {}, ""),
    ],
)
def test_which_column_holds_the_labels(join, header, options, column):
    values = {"shot": "2024-05-{:02}", "split": "train", "patient": "p{}"}
    cells = [values.get(name, name + "{}") for name in header.split(",")[1:]]
    rows = [",".join([path, *(cell.format(row % 3 + 1) for cell in cells)]) for row, path in enumerate(PATHS)]
    joined, _, match = join(csv(header, *rows), **options)
    assert match.label_column == column
    assert joined.classes == ([f"{column}{number}" for number in (1, 2, 3)] if column else ["ash", "birch"])
    assert bool(match.group) == (joined.groups is not None)


@pytest.mark.parametrize(
    ("header", "options"),
    [
        ("id,breed,age", {}),
        ("id,breed,age", {"group": "age", "where": "breed != 3"}),
        ("id,site", {"where": "site != 3"}),
    ],
)
def test_labels_that_might_be_in_several_columns_are_not_guessed(join, header, options):
    with pytest.raises(LabelError, match="--label-column"):
        join(csv(header, "000" + ",1" * header.count(",")), **options)


def test_a_column_of_splits_counts(join):
    rows = [f"{path},x{row % 2},{'test' if row < 4 else 'training'}" for row, path in enumerate(PATHS)]
    assert join(csv("path,label,split", *rows))[0].splits.tolist() == ["test"] * 4 + ["train"] * 8


def test_groups_are_numbered_by_their_first_photo_and_missing_ones_are_alone(join):
    groups = ["a", "b", "a", "", "b", "None", "1", "1.0", "01", "", "a"]
    joined, _, match = join(csv("path,who", *map(",".join, zip(PATHS, groups, strict=False))), group="who")
    assert joined.groups.tolist() == [0, 1, 0, 3, 1, 5, 6, 6, 8, 9, 0, 11]
    assert counts(match) == {"photos_without_group": 3}
    assert match.groups == 7


def test_a_condition_leaves_out_rows_before_they_can_conflict(join):
    rows = [f"{path},{who},{'pug' if who == 'ann' else 'boxer'}" for path in PATHS for who in ("ann", "bob")]
    _, labels, match = join(csv("path,by,label", *rows, "000.jpg,,cat"), where="by == 'ann'")
    assert set(labels.values()) == {"pug", None}
    assert match.left_out == 0
    assert counts(match) == {}


def test_a_condition_tells_photos_left_out_from_those_that_it_cannot_tell(join):
    rows = [f"{path},{('3', '3.0', '4', '')[row % 4]}" for row, path in enumerate(PATHS)]
    _, labels, match = join(csv("path,site", *rows), where="site != 3", label_column="")
    assert [path for path, label in labels.items() if label] == ["002.jpg", "006.jpg", "010.jpg"]
    assert match.left_out == 6
    assert counts(match) == {"photos_without_condition": 2}


def test_photos_without_a_time_are_left_out_of_a_split_by_time(join):
    rows = [f"{path},{'' if row < 2 else f'2024:05:{row + 1:02} 10:00:00'}" for row, path in enumerate(PATHS)]
    joined, labels, match = join(csv("path,shot", *rows), time="shot", split_by_time=True)
    assert [labels["000.jpg"], labels["001.jpg"]] == [None, None]
    assert joined.splits.tolist() == ["", ""] + ["train"] * 7 + ["val"] * 2 + [""]
    assert counts(match) == {"photos_without_time": 2}


def test_a_split_by_time_keeps_groups_together_and_replaces_splits(join):
    rows = [f"{path},2024-05-{row + 1:02},{row % 3},val" for row, path in enumerate(PATHS)]
    joined, _, match = join(csv("path,taken,who,split", *rows), group="who", split_by_time=True)
    assert joined.splits[:11].tolist() == ["train", "val", "train"] * 3 + ["train", "val"]
    assert "the split by time replaces the splits train, val and test" in match.notes


def test_metadata_of_the_store_serve_where_the_file_has_no_such_column(store, tmp_path):
    columns = {
        "taken": np.array([b"2024-05-%02dT10:00:00" % (row + 1) for row in range(12)]),
        "camera": np.array([b"A", b"B", b""] * 4),
        "latitude": np.array([1.5, np.nan] * 6),
    }
    store = replace(store, rows=replace(store.rows, metadata=columns))
    joined, match = join_labels(store, LabelOptions(group="camera", split_by_time=True, where="latitude > 1"))
    assert joined.groups[[0, 6, 4, 10]].tolist() == [0, 0, 4, 4]
    assert (match.photos, match.label_column) == (6, "")
    assert counts(match) == {"photos_without_condition": 5, "photos_without_group": 2}
    (tmp_path / "l.csv").write_text(
        csv("path,camera,kind", *(f"{path},X,k{row % 2}" for row, path in enumerate(PATHS)))
    )
    joined, _ = join_labels(
        store, LabelOptions(labels=tmp_path / "l.csv", group="camera", where="taken < '2024-05-05'")
    )
    assert set(joined.groups[:4].tolist()) == {0}
    assert joined.labels.tolist() == [0, 1, 0, 1] + [-1] * 8


@pytest.mark.parametrize(
    ("text", "options", "error", "said"),
    [
        ("path,label\nz.jpg,x\n", {}, LabelError, "none of 1 does: rows name 'z.jpg', photos are '000.jpg', "),
        ("label,age\nx,3\n", {}, LabelError, "expected a column that names photos"),
        ("path,label\n000.jpg,x\n", {"group": "camera"}, LabelError, "one column 'camera', found path, label; "),
        ("path,label\n000.jpg,x\n", {"label_column": "kind"}, SourceError, "expected one column 'kind'"),
        ("path,shot\n000.jpg,May\n", {"time": "shot", "split_by_time": True}, LabelError, "row 1: expected a time"),
        ("path,shot\n000.jpg,2024-05-01\n", {"time": "shot", "split_by_time": True}, LabelError, "of one time"),
        ("path,site\n000.jpg,A\n", {"where": "site < 3", "label_column": ""}, LabelError, "row 1, column 'site'"),
        ("path,label\n000.jpg,\n", {}, LabelError, "no photo is left: "),
        ("path,label\n000.jpg,x\n", {"where": "label == 'y'"}, LabelError, "\"label == 'y'\" leaves out 1 photo"),
        ("path,label\n", {}, LabelError, "expected a row per photo, found no rows below"),
        (None, {"group": "camera"}, LabelError, "has no columns of metadata (see `headstart embed --metadata`)"),
        (None, {"time": "taken"}, OptionError, "--split-by-time"),
        (None, {"label_column": "x"}, OptionError, "--labels"),
        (None, {"group": "patient"}, LabelError, "columns taken, camera, latitude, longitude, but not 'patient'"),
        (None, {"where": "site ="}, LabelError, "expected a condition"),
        (None, {"labels": "gone.csv"}, LabelError, "gone.csv: expected a list of labels, found no such file"),
        (None, {"labels": "labels.xlsx"}, LabelError, "(.csv, .tsv, .jsonl, .parquet)"),
    ],
)  # fmt: skip
def test_faults_are_named_in_one_line(join, text, options, error, said):
    with pytest.raises(error) as caught:
        join(text, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, HeadstartError)


def test_a_damaged_table_is_one_line(store, tmp_path):
    (tmp_path / "l.parquet").write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    with pytest.raises(HeadstartError, match=r"l\.parquet"):
        join_labels(store, LabelOptions(labels=tmp_path / "l.parquet"))
