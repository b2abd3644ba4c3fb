import csv
import json
from pathlib import Path

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.classify.errors import PredictionError
from headstart.classify.scoring.predictions import SINKS, Prediction, check_format, write_predictions
from headstart.files.errors import OutputError

ODD_NAMES = ["plain.jpg", "a\nb.jpg", 'c,"d".jpg', "e\r\nf.jpg", "Ünïcödé.jpg", " spaces .jpg", "'=1+1.jpg"]


def read(path: Path) -> list[dict]:
    """Read a table with what others would read it with; absent values as None, probabilities as numbers."""
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    if path.suffix == ".parquet":
        return pyarrow.parquet.read_table(path).to_pylist()
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for name in row:
            row[name] = row[name].removeprefix("'")
            if name.startswith("label"):
                row[name] = row[name] or None
            elif name.startswith("probability"):
                row[name] = float(row[name]) if row[name] else None
    return rows


def write(place: Path, *predictions: Prediction, places: int = 2) -> list[dict]:
    write_predictions(place, predictions, places)
    return read(place)


@pytest.fixture(params=SINKS)
def place(request, tmp_path) -> Path:
    return tmp_path / f"table{request.param}"


def test_a_row_has_its_columns_in_order(place):
    found = write(place, Prediction("a/b.jpg", [("ash", 0.75), ("birch", 0.25)]))
    assert found == [
        {
            "path": "a/b.jpg",
            "status": "ok",
            "label": "ash",
            "probability": 0.75,
            "label_2": "birch",
            "probability_2": 0.25,
            "reason": "",
        }
    ]
    assert list(found[0]) == ["path", "status", "label", "probability", "label_2", "probability_2", "reason"]


def test_a_failure_is_a_row_with_its_reason(place):
    good, bad = write(place, Prediction("a", [("ash", 1.0)]), Prediction("b", [], "empty file"), places=1)
    assert good["status"] == "ok"
    assert bad == {"path": "b", "status": "failed", "label": None, "probability": None, "reason": "empty file"}


def test_what_is_unknown_has_columns_before_the_reason(place):
    rows = [
        Prediction("a", [("ash", 0.9)], unknown=False, distance=0.123456),
        Prediction("b", [("ash", 0.4)], unknown=True, distance=1.5),
        Prediction("c", [], "empty file"),
    ]
    write_predictions(place, rows, 1, with_unknown=True)
    found = read(place)
    assert list(found[0]) == ["path", "status", "label", "probability", "unknown", "distance", "reason"]
    assert [row["unknown"] or None for row in found] == ["no", "yes", None]
    assert [float(row["distance"]) for row in found[:2]] == [0.12346, 1.5]
    assert found[2]["distance"] in (None, "")
    assert isinstance(found[1]["distance"], str if place.suffix == ".csv" else float)


def test_any_name_survives(place):
    found = write(place, *(Prediction(name, [(name, 0.5)], "") for name in ODD_NAMES), places=1)
    assert [(row["path"], row["label"]) for row in found] == [(name, name) for name in ODD_NAMES]


def test_bytes_that_are_no_utf8_are_spelt_out(place):
    found = write(place, Prediction("caf\udce9.jpg", [("\udcff", 0.5)]), places=1)
    assert [(row["path"], row["label"]) for row in found] == [("caf\\xe9.jpg", "\\xff")]


def test_a_table_without_rows_can_be_read(place):
    assert write(place) == []


def test_the_sinks_agree(tmp_path):
    predictions = [Prediction(name, [("ash", 1 / 3), ("b,c", 1e-9)]) for name in ODD_NAMES]
    predictions.append(Prediction("bad", [], 'broken: "x", y\nz'))
    tables = [write(tmp_path / f"table{suffix}", *predictions) for suffix in SINKS]
    assert tables[0] == tables[1] == tables[2]


def test_many_rows_go_through_in_pieces(place):
    found = write(place, *(Prediction(str(n), [("ash", 0.5)]) for n in range(25_000)), places=1)
    assert [row["path"] for row in found] == [str(n) for n in range(25_000)]


@pytest.mark.parametrize("suffix", [".CSV", ".Parquet", ".JSONL"])
def test_the_suffix_may_be_in_capitals(tmp_path, suffix):
    write_predictions(tmp_path / f"table{suffix}", [Prediction("a", [("b", 1.0)])], 1)
    assert (tmp_path / f"table{suffix}").stat().st_size


@pytest.mark.parametrize("name", ["table", "table.txt", "table.csv.gz", ".csv"])
def test_another_suffix_lists_the_formats(tmp_path, name):
    for refuse in (check_format, lambda place: write_predictions(place, [], 1)):
        with pytest.raises(PredictionError, match=r"expected a name that ends in one of \.csv, \.jsonl, \.parquet$"):
            refuse(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rows", [0, 1, 20_000])
def test_a_table_that_fails_half_way_leaves_what_was_there(place, rows):
    def predictions():
        for number in range(rows):
            yield Prediction(str(number), [("ash", 0.5)])
        raise RuntimeError("power cut")

    place.write_bytes(b"before")
    with pytest.raises(RuntimeError, match="power cut"):
        write_predictions(place, predictions(), 1)
    assert place.read_bytes() == b"before"
    assert list(place.parent.iterdir()) == [place]


def test_a_folder_that_vanished_is_an_output_error(place):
    with pytest.raises(OutputError, match="cannot be written"):
        write_predictions(place.parent / "gone" / place.name, [], 1)


@given(probability=st.floats(0, 1), places=st.integers(1, 5), known=st.integers(1, 5))
def test_columns_depend_on_the_number_of_places_alone(probability, places, known):
    row = Prediction("a", [("ash", probability)] * min(places, known)).to_row(places)
    assert list(row) == list(Prediction("b", [], "bad").to_row(places))
    assert row["probability"] == pytest.approx(probability, abs=1e-7)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\n=1", "=cmd|' /C calc'!A1"])
def test_no_cell_of_a_csv_is_a_formula(tmp_path, text):
    row = Prediction(text, [(text, 0.5)], "")
    for suffix in (".csv", ".jsonl"):
        write_predictions(tmp_path / f"p{suffix}", [row, Prediction(text, [], text)], 1)
    with open(tmp_path / "p.csv", newline="") as file:
        ok, failed = csv.DictReader(file)
    assert [ok["path"], ok["label"], failed["reason"]] == [f"'{text}"] * 3
    assert ok["probability"] == "0.5"
    first = json.loads((tmp_path / "p.jsonl").read_text().splitlines()[0])
    assert (first["path"], first["label"]) == (text, text)
