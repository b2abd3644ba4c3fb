from dataclasses import replace

import numpy as np
import pytest

from bench.statistics.precision import drawn, measured_promises, search_of
from headstart.classify import train
from headstart.classify.confidence.precision import (
    check_precision,
    doubtful_precision,
    fit_thresholds,
    lower_bound,
    targets_of,
)
from headstart.classify.errors import LabelError

NAMES = list("abcde")


def predictions_of_a(*shown: tuple[float, bool, int]):
    """Make the search of images predicted as the first class: (probability, is it right, how many)."""
    rows = [(share, right) for share, right, count in shown for _ in range(count)]
    probabilities = np.array([[share, 1 - share - 2e-3, *[1e-3 - 1e-3 / 3] * 3] for share, _ in rows])
    return search_of(probabilities, np.array([0 if right else 1 for _, right in rows], np.int32))


def threshold(search, target: float, draws=None):
    draws = np.random.default_rng(0).random(len(search.rows)) if draws is None else draws
    return fit_thresholds(search, draws, 1.0, {"a": target}, NAMES)["a"]


def test_the_threshold_is_the_least_that_promises_the_target():
    found = threshold(predictions_of_a((0.9, True, 60), (0.8, False, 1), (0.7, True, 100), (0.6, False, 50)), 0.95)
    assert found.probability == pytest.approx(0.7, abs=2e-5)
    assert (found.answers, found.right) == (161, 160)
    assert 0.95 <= found.promised < 160 / 161
    above = threshold(predictions_of_a((0.9, True, 60), (0.8, False, 1), (0.7, True, 30), (0.6, False, 50)), 0.95)
    assert above.probability == pytest.approx(0.9, abs=2e-5), "91 with a mistake promise less than 60 without"


def test_the_bound_is_clopper_and_pearsons():
    assert lower_bound(np.array([59.0, 0.0]), np.array([59.0, 5.0])) == pytest.approx([0.05 ** (1 / 59), 0], abs=1e-6)


def test_equal_probabilities_are_answered_together():
    found = threshold(predictions_of_a((0.8, True, 90), (0.8, False, 30)), 0.9)
    assert (found.answers, found.right) == (120, 90)
    assert found.promised < 0.75


def test_probabilities_of_one_have_a_threshold_that_rounding_cannot_miss():
    found = threshold(search_of(np.tile([1.0, 0, 0, 0, 0], (100, 1)), np.zeros(100, np.int32)), 0.9)
    assert found.probability == 0.99999
    assert found.answers == 100


def test_duplicates_count_as_one():
    search = predictions_of_a((0.9, True, 60))
    assert threshold(search, 0.95).promised >= 0.95
    twice = threshold(search, 0.95, np.repeat(np.random.default_rng(0).random(30), 2))
    assert twice.answers == pytest.approx(30)
    assert twice.promised == pytest.approx(0.05 ** (1 / 30))


def test_what_cannot_be_promised_is_said_with_the_best_there_is():
    few = threshold(predictions_of_a((0.9, True, 40), (0.6, False, 10)), 0.98)
    assert few.probability == pytest.approx(0.9, abs=2e-5)
    never = fit_thresholds(predictions_of_a((0.9, True, 9)), np.arange(9.0), 1.0, {"b": 0.9}, NAMES)["b"]
    assert (never.answers, never.promised) == (0, 0)
    assert np.float32(never.probability) > 1
    sure = replace(few, promised=0.99)
    [said] = doubtful_precision({"a": few, "b": never, "c": sure})
    assert "for 2 of 3 classes: 'b' (0.9: never predicted out of fold, so always unknown), 'a' (0.98: at best" in said
    assert "40 of 40 right" in said
    assert "to promise 0.98 takes 149 training images" in said
    assert doubtful_precision({"c": sure}) == doubtful_precision({}) == []


def test_a_warning_about_many_classes_names_the_worst():
    few = threshold(predictions_of_a((0.9, True, 40)), 0.98)
    [said] = doubtful_precision({f"class {n}": replace(few, promised=n / 200) for n in range(120)[::-1]})
    assert "for 120 of 120 classes: 'class 0' (" in said
    assert " and 115 more; " in said
    assert len(said) < 600


@pytest.mark.parametrize(("n", "target"), [(500, 0.9), (1000, 0.95)])
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_promises_are_kept(n, target, noise):
    promising, broken, precision, share = measured_promises(n, target, noise, 100)
    assert promising > 0.5
    assert broken <= 0.08
    assert precision > target
    assert share > 0.3


def test_the_temperature_is_that_of_the_file():
    probabilities, labels = drawn(np.random.default_rng(0), 800, 0.0)
    search, draws = search_of(probabilities, labels), np.arange(800.0)
    plain, cooled = (fit_thresholds(search, draws, heat, {"all": 0.9}, NAMES) for heat in (1.0, 2.0))
    assert {name: one.answers for name, one in cooled.items()} != {}
    assert all(cooled[name].probability < plain[name].probability for name in NAMES)


def test_all_stands_for_the_classes_that_are_not_named():
    assert targets_of({"all": 0.9, "b": 0.5}, ["a", "b"]) == {"a": 0.9, "b": 0.5}
    assert targets_of({"all": 0.9}, ["a", "all"]) == {"all": 0.9}
    assert targets_of({"b": 0.9, "a": 0.8}, ["a", "b", "c"]) == {"a": 0.8, "b": 0.9}
    assert targets_of({}, ["a"]) == {}


def test_a_class_that_is_none_is_refused_before_the_search(clustered, tmp_path):
    with pytest.raises(LabelError, match=r"no class 'brich' to train on; did you mean 'birch'.*all or one of ash, "):
        train(clustered(), tmp_path / "c.onnx", precision={"brich": 0.9})
    with pytest.raises(LabelError, match=r"class 019 and 80 more$"):
        targets_of({"x": 0.9}, [f"class {number:03}" for number in range(100)])


@pytest.mark.parametrize("target", [0, 1, -0.5, 98, float("nan")])
def test_a_target_out_of_range_is_refused(target):
    with pytest.raises(LabelError, match="precision of 'ash' must be above 0 and below 1, found"):
        check_precision({"ash": target})


def test_without_images_to_hold_out_there_is_nothing_to_choose_on():
    search = predictions_of_a((0.9, True, 3))
    search = replace(search, rows=replace(search.rows, folds=np.full(3, -1)))
    with pytest.raises(LabelError, match="no training image could be held out"):
        threshold(search, 0.9)
    assert fit_thresholds(search, np.arange(3.0), 1.0, {}, NAMES) == {}
