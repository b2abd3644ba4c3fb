import pytest

from headstart.tune.cuts import Trial, best_cut


def trial(block, log_loss, held_out):
    return Trial(block, log_loss, 0.8, (1.0, 0.7), 1.0, 1000, (600, held_out))


@pytest.mark.parametrize(
    ("gain", "held_out", "chosen"),
    [(0.02, 64, "late"), (0.2, 64, "early"), (0.02, 6400, "early"), (0.005, 1_000_000, "late")],
)
def test_an_earlier_cut_must_gain_more_than_chance(gain, held_out, chosen):
    trials = [trial("early", 0.8, held_out), trial("late", 0.8 + gain, held_out)]
    assert best_cut(trials).block == chosen
