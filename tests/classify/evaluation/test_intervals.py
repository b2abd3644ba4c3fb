import math
import time
import tracemalloc

import numpy as np
import pytest

from headstart.classify.evaluation.intervals import bootstrap_interval, wilson_interval


def right(count, n):
    return np.arange(n) < count


@pytest.mark.parametrize(("count", "n"), [(90, 100), (450, 500), (49_000, 50_000), (250, 500)])
def test_of_shares_it_is_near_the_normal_interval(count, n):
    share = count / n
    half = 1.96 * math.sqrt(share * (1 - share) / n)
    assert bootstrap_interval(right(count, n)) == pytest.approx((share - half, share + half), abs=0.15 * half)


@pytest.mark.parametrize("n", [300, 5000, 50_000])
def test_of_other_values_too(n):
    values = np.random.default_rng(1).exponential(0.3, n)
    half = 1.96 * values.std() / math.sqrt(n)
    assert bootstrap_interval(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)


def test_one_value_far_out_keeps_its_weight():
    values = np.linspace(0, 1, 20_000)
    values[7] = 700.0
    half = 1.96 * values.std() / math.sqrt(len(values))
    low, high = bootstrap_interval(values)
    assert high - low == pytest.approx(2 * half, rel=0.25)


def test_all_right_is_not_certain():
    assert bootstrap_interval(np.ones(100)) == pytest.approx((0.96300, 1), abs=1e-4)
    assert bootstrap_interval(np.zeros(100)) == pytest.approx((0, 0.03700), abs=1e-4)
    assert bootstrap_interval(right(499, 500))[1] < 1


def test_wilson_gives_the_published_figures():
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)


def test_it_holds_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = [low <= 0.9 <= high for low, high in (bootstrap_interval(rng.random(200) < 0.9) for _ in range(300))]
    assert 0.90 <= np.mean(hits) <= 0.99


def test_a_higher_level_is_wider_and_the_seed_decides():
    values = np.random.default_rng(1).normal(0, 1, 400)
    narrow, wide = bootstrap_interval(values, 0.5), bootstrap_interval(values, 0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert (
        bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)
    )


def test_of_nothing_it_is_undefined():
    assert all(math.isnan(end) for end in bootstrap_interval(np.array([])))


def test_many_values_take_neither_long_nor_much_memory():
    values = np.random.default_rng(0).exponential(1, 50_000)
    started = time.process_time()
    tracemalloc.start()
    bootstrap_interval(values)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6
    assert time.process_time() - started < 10
