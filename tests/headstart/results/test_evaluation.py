import re

import numpy as np
import pytest
from rich.cells import cell_len

from headstart.classify.evaluation.metrics import evaluate_probabilities
from headstart.console import out
from headstart.results.evaluation import column_names, show_evaluation

FLOWERS = ["daisy", "dandelion", "rose", "sunflower", "tulip"]


@pytest.fixture
def printed(capsys, monkeypatch):
    """Print the evaluation of 20 images per class on a terminal of this width; [label, prediction] pairs are wrong."""

    def show(names, width, wrong=()):
        monkeypatch.setattr(out, "width", width)
        labels = np.repeat(np.arange(len(names), dtype=np.int32), 20)
        predicted = labels.copy()
        for label, prediction in wrong:
            predicted[np.flatnonzero((labels == label) & (predicted == label))[0]] = prediction
        probabilities = np.eye(len(names))[predicted] * 0.8 + 0.2 / len(names)
        paths = [f"{row}.jpg" for row in range(len(labels))]
        show_evaluation(evaluate_probabilities(probabilities, labels, names, paths))
        return capsys.readouterr().out.splitlines()

    return show


def matrix_of(lines):
    start = next((number for number, line in enumerate(lines) if "confusion matrix" in line), None)
    return None if start is None else [line.split() for line in lines[start + 1 :]]


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_confusion_matrix_is_headed_by_class_names(printed, width):
    lines = printed(FLOWERS, width, [(2, 4), (2, 4), (0, 1)])
    head, *rows = matrix_of(lines)[:6]
    assert head == FLOWERS
    assert rows[2] == ["rose", "0", "0", "18", "0", "2"]
    assert not re.search(r"=\d", "\n".join(lines))
    ends = [[found.end() for found in re.finditer(r"\S+", line)] for line in lines[-9:-3]]
    assert {tuple(columns[-5:]) for columns in ends} == {tuple(ends[0])}, "counts end where their class name ends"


@pytest.mark.parametrize("width", [42, 50])
def test_names_are_shortened_before_the_matrix_is_given_up(printed, width):
    lines = printed(FLOWERS, width)
    head, *rows = matrix_of(lines)[:6]
    assert [name.rstrip("…") == flower[: len(name.rstrip("…"))] for name, flower in zip(head, FLOWERS, strict=True)]
    assert any(name.endswith("…") for name in head)
    assert [row[0] for row in rows] == FLOWERS
    assert max(map(len, lines[-6:])) <= width


@pytest.mark.parametrize("names", [[f"class {number:02}" for number in range(30)], ["x" * 30 + "a", "x" * 30 + "b"]])
def test_the_most_frequent_confusions_replace_a_matrix_that_does_not_fit(printed, names):
    lines = printed(names, 80, [(0, 1), (1, 0), (1, 0)])
    assert matrix_of(lines) is None
    start = next(number for number, line in enumerate(lines) if "most frequent confusions" in line)
    assert lines[start + 1 : start + 3] == [
        f"    {names[1]} taken for {names[0]}: 2",
        f"    {names[0]} taken for {names[1]}: 1",
    ]
    assert "confusion" not in "\n".join(printed(names, 80))


def test_wide_characters_take_two_columns():
    names = ["猫の写真", "犬の写真"]
    assert column_names(names, [20, 20], 2 + 8 + 2 * (2 + 8)) == names
    shortened = column_names(names, [20, 20], 2 + 8 + 2 * (2 + 6))
    assert max(map(cell_len, shortened)) <= 6 < max(map(cell_len, names))


CLASSES_HEAD = ["class", "images", "precision", "recall", "F1", "ROC", "AUC", "PR", "AUC"]


@pytest.mark.parametrize("width", [80, 120, 200])
def test_every_class_has_its_figures(printed, width):
    lines = printed(FLOWERS, width, [(2, 4), (2, 4), (0, 1)])
    start = next(number for number, line in enumerate(lines) if line.split() == CLASSES_HEAD)
    rows = [line.split() for line in lines[start + 1 : start + 6]]
    assert [row[0] for row in rows] == FLOWERS
    assert rows[2][:5] == ["rose", "20", "1.000", "0.900", "0.947"]
    assert max(map(len, lines[start : start + 6])) <= width
    assert "macro-F1 0.9699, balanced accuracy 0.9700" in lines[1]
    assert "top-5" not in lines[1]


def test_of_many_classes_the_weakest_are_printed(printed):
    names = [f"class {number:03}" for number in range(120)]
    lines = printed(names, 80, [(7, 8), (7, 8), (7, 8), (100, 1)])
    start = next(number for number, line in enumerate(lines) if line.split() == CLASSES_HEAD)
    assert lines[start - 1] == "  the 20 of 120 classes with the lowest F1 (--json prints all):"
    assert lines[start + 1].split()[:3] == ["class", "007", "20"]
    assert "class 100" in "".join(lines[start + 1 : start + 5])
    assert len(lines) < 60
    assert "top-5 accuracy" in lines[1]


@pytest.mark.parametrize(("width", "missing"), [(60, "PR AUC"), (50, "ROC AUC, PR AUC")])
def test_a_narrow_terminal_keeps_names_whole_and_says_which_columns_are_missing(printed, width, missing):
    names = ["soft-coated wheaten terrier", "soft-coated wheaten spaniel"]
    lines = printed(names, width)
    start = next(number for number, line in enumerate(lines) if line.split()[:3] == CLASSES_HEAD[:3])
    end = next(number for number, line in enumerate(lines) if missing in line and "--json" in line)
    assert max(map(len, lines[start:end])) <= width
    words = " ".join(lines[start:end]).split()
    assert {"terrier", "spaniel"} <= set(words)
    assert "AUC" not in " ".join(words).replace("ROC AUC", "") if missing == "PR AUC" else "AUC" not in words
