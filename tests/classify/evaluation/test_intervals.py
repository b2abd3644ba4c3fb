import math
import tracemalloc

import numpy as np
import pytest

from headstart.classify.evaluation.intervals import mean_interval, share_interval


@pytest.mark.parametrize(
    ("right", "n", "expected"),
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_the_interval_of_a_share_has_the_published_figures(right, n, expected):
    assert share_interval(right, n) == pytest.approx(expected, abs=1e-4)


def test_a_perfect_share_is_not_certain():
    assert share_interval(100, 100) == pytest.approx((0.96300, 1), abs=1e-4)


@pytest.mark.parametrize(("share", "n"), [(0.9, 50), (0.9, 200), (0.98, 500)])
def test_the_interval_holds_the_true_share_about_19_times_in_20(share, n):
    drawn = np.random.default_rng(0).binomial(n, share, 400)
    hits = [low <= share <= high for low, high in (share_interval(int(right), n) for right in drawn)]
    assert 0.92 <= np.mean(hits) <= 0.98


@pytest.mark.parametrize("n", [300, 20_000])
def test_the_interval_of_a_mean_is_near_the_normal_one(n):
    values = np.random.default_rng(1).exponential(0.3, n)
    half = 1.96 * values.std() / math.sqrt(n)
    assert mean_interval(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)


def test_the_seed_decides_and_a_single_value_is_its_own_interval():
    values = np.random.default_rng(1).normal(0, 1, 400)
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3) != mean_interval(values, seed=4)
    assert mean_interval(values[:1]) == (values[0], values[0])


def test_many_values_take_little_memory():
    values = np.random.default_rng(0).exponential(1, 50_000)
    tracemalloc.start()
    mean_interval(values)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6
