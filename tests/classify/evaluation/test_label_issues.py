import sys

import numpy as np
import pytest

from headstart.classify.errors import ClassifyError, LabelError
from headstart.classify.evaluation.label_issues import find_label_issues

NAMES = ["ash", "birch", "cedar"]


@pytest.fixture
def cleanlab():
    return pytest.importorskip("cleanlab")


def believing(codes, k=3, sure=0.9):
    return np.where(np.arange(k) == np.asarray(codes)[:, None], sure, (1 - sure) / (k - 1))


@pytest.fixture
def flipped(make_store, clusters):
    """90 rows of three classes, four of them with a wrong label, and the probabilities of a head that is right."""
    vectors, codes = clusters(90, 3)
    labels = codes.copy()
    labels[[5, 16, 40, 77]] = (codes[[5, 16, 40, 77]] + 1) % 3
    return make_store([NAMES[code] for code in labels], vectors), labels, codes


def test_flipped_labels_are_found_with_what_they_should_be(cleanlab, flipped):
    store, labels, codes = flipped
    found = find_label_issues(store, np.arange(90), labels, believing(codes))
    assert sorted(suspect.row for suspect in found) == [5, 16, 40, 77]
    for suspect in found:
        assert suspect.path == store.paths[suspect.row]
        assert (suspect.label, suspect.likely) == (NAMES[labels[suspect.row]], NAMES[codes[suspect.row]])
    assert [suspect.quality for suspect in found] == sorted(suspect.quality for suspect in found)
    assert all(0 <= suspect.quality < 0.5 for suspect in found)


def test_the_likeliest_mistakes_come_first(cleanlab, flipped):
    store, labels, codes = flipped
    probabilities = believing(codes)
    probabilities[16], probabilities[5] = believing(codes[[16]], sure=0.99), believing(codes[[5]], sure=0.88)
    assert [suspect.row for suspect in find_label_issues(store, np.arange(90), labels, probabilities)] == [
        16,
        40,
        77,
        5,
    ]


def test_a_class_without_rows_shifts_no_other(cleanlab, flipped):
    store, labels, codes = flipped
    rows = np.flatnonzero((labels != 0) & (codes != 0))
    found = find_label_issues(store, rows, labels[rows], believing(codes[rows]))
    wrong = rows[labels[rows] != codes[rows]].tolist()
    assert len(wrong) > 0
    assert [(suspect.row, suspect.likely) for suspect in found] == [(row, NAMES[codes[row]]) for row in wrong]


def test_rows_are_the_stores_own(cleanlab, flipped):
    store, labels, codes = flipped
    rows = np.arange(89, 9, -1)
    found = find_label_issues(store, rows, labels[rows], believing(codes[rows]))
    assert sorted(suspect.row for suspect in found) == [16, 40, 77]


def test_neighbours_have_a_say(cleanlab, flipped):
    """A head that is mistaken about a row is not enough to suspect it."""
    store, labels, codes = flipped
    says = codes.copy()
    says[20] = (codes[20] + 1) % 3
    found = find_label_issues(store, np.arange(90), labels, believing(says, sure=0.8))
    quality = {suspect.row: suspect.quality for suspect in found}
    assert {5, 16, 40, 77} <= set(quality)
    assert quality.get(20, 1) > 0.4
    assert max(quality[row] for row in (5, 16, 40, 77)) < 0.3


def test_right_labels_are_not_suspected(cleanlab, flipped):
    store, _, codes = flipped
    rows = np.setdiff1d(np.arange(90), [5, 16, 40, 77])
    assert find_label_issues(store, rows, codes[rows], believing(codes[rows])) == []


def test_it_prints_nothing_and_takes_small_and_missing_classes(cleanlab, make_store, clusters, capfd):
    vectors, codes = clusters(41, 2)
    codes[40] = 2
    store = make_store([NAMES[code] for code in codes], vectors)
    find_label_issues(store, np.arange(41), codes, believing(codes))
    find_label_issues(store, np.arange(40), codes[:40], believing(codes[:40]))
    assert find_label_issues(store, np.arange(0, 40, 2), codes[:40:2], believing(codes[:40:2])) == []
    assert find_label_issues(store, np.arange(0), codes[:0], believing(codes[:0])) == []
    assert capfd.readouterr() == ("", "")


def test_without_cleanlab_it_says_what_to_install(flipped, monkeypatch):
    store, labels, codes = flipped
    monkeypatch.setitem(sys.modules, "cleanlab", None)
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    with pytest.raises(ClassifyError, match=r'pip install "headstart\[report\]"'):
        find_label_issues(store, np.arange(90), labels, believing(codes))


def test_what_does_not_belong_together_is_refused(flipped):
    store, labels, codes = flipped
    with pytest.raises(LabelError, match="same rows"):
        find_label_issues(store, np.arange(90), labels, believing(codes)[:80])
    with pytest.raises(LabelError, match="3 classes"):
        find_label_issues(store, np.arange(90), labels, believing(codes, k=4))
