import numpy as np
import pytest

from headstart.classify.errors import LabelError
from headstart.classify.labels.times import latest, seconds_of, text_of


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-05-01", "2024-05-01T00:00:00"),
        ("20240501", "2024-05-01T00:00:00"),
        ("2024-05-01 12:30", "2024-05-01T12:30:00"),
        ("2024-05-01T12:30:00", "2024-05-01T12:30:00"),
        ("2024-05-01T12:30:00.250Z", "2024-05-01T12:30:00"),
        ("2024-05-01T12:30:00+02:00", "2024-05-01T10:30:00"),
        ("2024:05:01 12:30:00", "2024-05-01T12:30:00"),
        ("2024:05:01", "2024-05-01T00:00:00"),
        ("1714566600", "2024-05-01T12:30:00"),
        ("1714566600.5", "2024-05-01T12:30:00"),
    ],
)
def test_the_usual_spellings(text, time):
    assert text_of(seconds_of(text, "row 1")) == time


@pytest.mark.parametrize("text", [None, "", "0000:00:00 00:00:00", "    :  :     :  :  "])
def test_a_time_that_was_never_set_is_missing(text):
    assert seconds_of(text, "row 1") is None


@pytest.mark.parametrize(
    "text", ["2024", "1714566600000", "05/01/2024", "1 May", "2024-13-01", "12:30", "2024-05", "1e9"]
)
def test_anything_else_names_its_row(text):
    with pytest.raises(LabelError, match=r"^row 4: expected a time such as 2024-05-01.*found"):
        seconds_of(text, "row 4")


def alone(times):
    return np.arange(len(times))


def test_the_latest_share_is_chosen():
    times = np.random.default_rng(0).permutation(100).astype(float)
    chosen, start = latest(times, alone(times), 0.2)
    assert times[chosen].min() == start == 80
    assert chosen.sum() == 20


@pytest.mark.parametrize(("share", "count"), [(0.01, 10), (0.2, 10), (0.6, 60), (0.99, 60)])
def test_equal_times_stay_together(share, count):
    times = np.repeat([1.0, 2.0, 3.0], [40, 50, 10])
    assert latest(times, alone(times), share)[0].sum() == count


def test_whole_groups_are_chosen_by_their_latest_photo():
    rng = np.random.default_rng(0)
    times, groups = rng.random(300), rng.permutation(300) % 30
    chosen, start = latest(times, groups, 0.2)
    assert not set(groups[chosen]) & set(groups[~chosen])
    assert times[~chosen].max() < start == min(times[groups == group].max() for group in set(groups[chosen]))
    assert chosen.sum() == 60


def test_one_time_cannot_be_divided():
    assert not latest(np.ones(5), alone(range(5)), 0.5)[0].any()
    assert not latest(np.arange(5.0), np.zeros(5, int), 0.5)[0].any()
