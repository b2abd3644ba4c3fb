import sys

import numpy as np
import pytest

from headstart.classify.evaluation.label_issues import find_label_issues
from headstart.files.errors import MissingExtraError

NAMES = ["ash", "birch", "cedar"]


@pytest.fixture
def cleanlab():
    return pytest.importorskip("cleanlab")


def probabilities_of(codes, k=3, confidence=0.9):
    return np.where(np.arange(k) == np.asarray(codes)[:, None], confidence, (1 - confidence) / (k - 1))


@pytest.fixture
def flipped(make_store, clusters):
    """90 rows of three classes, four of them with a wrong label, and the probabilities of a head that is right."""
    vectors, codes = clusters(90, 3)
    labels = codes.copy()
    labels[[5, 16, 40, 77]] = (codes[[5, 16, 40, 77]] + 1) % 3
    return make_store([NAMES[code] for code in labels], vectors), labels, codes


def test_flipped_labels_are_found_with_what_they_should_be(cleanlab, flipped):
    store, labels, codes = flipped
    found = find_label_issues(store, np.arange(90), labels, probabilities_of(codes))
    assert sorted(issue.row for issue in found) == [5, 16, 40, 77]
    for issue in found:
        assert issue.path == store.paths[issue.row]
        assert (issue.label, issue.likely) == (NAMES[labels[issue.row]], NAMES[codes[issue.row]])
    assert [issue.quality for issue in found] == sorted(issue.quality for issue in found)
    assert all(0 <= issue.quality < 0.5 for issue in found)


def test_the_likeliest_mistakes_come_first(cleanlab, flipped):
    store, labels, codes = flipped
    probabilities = probabilities_of(codes)
    probabilities[16], probabilities[5] = (
        probabilities_of(codes[[16]], confidence=0.99),
        probabilities_of(codes[[5]], confidence=0.88),
    )
    assert [issue.row for issue in find_label_issues(store, np.arange(90), labels, probabilities)] == [
        16,
        40,
        77,
        5,
    ]


def test_a_class_without_rows_shifts_no_other(cleanlab, flipped):
    store, labels, codes = flipped
    rows = np.flatnonzero((labels != 0) & (codes != 0))
    found = find_label_issues(store, rows, labels[rows], probabilities_of(codes[rows]))
    wrong = rows[labels[rows] != codes[rows]].tolist()
    assert len(wrong) > 0
    assert [(issue.row, issue.likely) for issue in found] == [(row, NAMES[codes[row]]) for row in wrong]


def test_rows_are_numbered_as_in_the_store(cleanlab, flipped):
    store, labels, codes = flipped
    rows = np.arange(89, 9, -1)
    found = find_label_issues(store, rows, labels[rows], probabilities_of(codes[rows]))
    assert sorted(issue.row for issue in found) == [16, 40, 77]


def test_neighbours_count_too(cleanlab, flipped):
    """A head that is mistaken about a row does not make it an issue by itself."""
    store, labels, codes = flipped
    says = codes.copy()
    says[20] = (codes[20] + 1) % 3
    found = find_label_issues(store, np.arange(90), labels, probabilities_of(says, confidence=0.8))
    quality = {issue.row: issue.quality for issue in found}
    assert {5, 16, 40, 77} <= set(quality)
    assert quality.get(20, 1) > 0.4
    assert max(quality[row] for row in (5, 16, 40, 77)) < 0.3


def test_correct_labels_are_no_issue(cleanlab, flipped):
    store, _, codes = flipped
    rows = np.setdiff1d(np.arange(90), [5, 16, 40, 77])
    assert find_label_issues(store, rows, codes[rows], probabilities_of(codes[rows])) == []


def test_small_and_missing_classes_work_and_nothing_is_printed(cleanlab, make_store, clusters, capfd):
    vectors, codes = clusters(41, 2)
    codes[40] = 2
    store = make_store([NAMES[code] for code in codes], vectors)
    find_label_issues(store, np.arange(41), codes, probabilities_of(codes))
    find_label_issues(store, np.arange(40), codes[:40], probabilities_of(codes[:40]))
    assert find_label_issues(store, np.arange(0, 40, 2), codes[:40:2], probabilities_of(codes[:40:2])) == []
    assert capfd.readouterr() == ("", "")


def test_a_missing_cleanlab_is_named_with_the_command_that_installs_it(flipped, monkeypatch):
    store, labels, codes = flipped
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    with pytest.raises(MissingExtraError, match=r'pip install "headstart\[report\]"'):
        find_label_issues(store, np.arange(90), labels, probabilities_of(codes))
