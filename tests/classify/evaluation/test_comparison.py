import numpy as np
import pytest

from headstart.classify.errors import LabelError
from headstart.classify.evaluation.comparison import compare, mcnemar


def predictions(right, labels, confidence=0.8):
    """Two classes: this probability for the right one, or for the wrong one."""
    guesses = np.where(right, labels, 1 - labels)
    return np.where(np.arange(2) == guesses[:, None], confidence, 1 - confidence)


def pair(wins, losses, n, confidence_new=0.8):
    labels = np.arange(n) % 2
    new, old = np.ones(n, bool), np.ones(n, bool)
    old[:wins], new[wins : wins + losses] = False, False
    return predictions(new, labels, confidence_new), predictions(old, labels), labels


def test_wins_and_losses_make_the_difference():
    found = compare(*pair(7, 5, 500))
    assert (found.images, found.wins, found.losses) == (500, 7, 5)
    assert (found.accuracy_new, found.accuracy_old) == (0.990, 0.986)
    assert found.accuracy_difference == pytest.approx(0.004)
    assert found.accuracy_interval[0] < 0 < found.accuracy_interval[1]
    assert found.verdict == (
        "no clear difference on these 500 images: only the new one is correct on 7, only the old one on 5 (p = 0.77)"
    )


def test_a_clear_difference_is_called_clear_in_both_directions():
    better, worse = compare(*pair(30, 5, 500)), compare(*pair(5, 30, 500))
    assert better.accuracy_interval[0] > 0 > worse.accuracy_interval[1]
    assert better.p_value == worse.p_value < 0.001
    assert better.verdict.startswith("the new one is clearly better on these 500 images")
    assert worse.verdict.startswith("the new one is clearly worse on these 500 images")
    assert better.verdict.endswith("(p < 0.001)")


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (6, 0, 0.03125), (3, 3, 1.0), (9, 1, 0.021484375)],
)
def test_the_p_value_is_the_binomial_one(wins, losses, p):
    assert mcnemar(wins, losses) == pytest.approx(p)


def test_paired_intervals_are_far_narrower_than_separate_ones():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 2000)
    old = rng.random(2000) < 0.7
    new = old.copy()
    new[np.flatnonzero(~old)[:20]] = True
    low, high = compare(predictions(new, labels), predictions(old, labels), labels).accuracy_interval
    assert 0 < low < 0.01 < high < 0.02  # unpaired: 0.01 +- 0.028


def test_the_log_loss_rewards_confidence():
    found = compare(*pair(0, 0, 100, confidence_new=0.9))
    expected = -np.log(0.9) + np.log(0.8)
    assert found.log_loss_difference == pytest.approx(expected)
    low, high = found.log_loss_interval  # not empty: mistakes, which 100 images did not show, are expected
    assert expected - 0.02 < low < expected < high < expected + 0.02
    mixed = compare(*pair(30, 5, 500))
    assert mixed.log_loss_interval[0] < mixed.log_loss_difference < mixed.log_loss_interval[1] < 0


def test_the_same_predictions_on_few_images_prove_little():
    found = compare(*pair(0, 0, 20))
    assert found.accuracy_interval == pytest.approx((-0.1611, 0.1611), abs=1e-4)
    assert found.p_value == 1
    assert found.verdict == "no difference on these 20 images: both misclassify the same ones"


def test_one_that_is_certain_and_wrong_stays_finite():
    labels = np.array([0, 1, 0])
    new, old = np.eye(2)[1 - labels], np.eye(2)[labels]
    found = compare(new, old, labels)
    assert np.isfinite(found.log_loss_difference)
    assert found.log_loss_difference > 700
    assert (found.accuracy_difference, found.losses) == (-1, 3)


def test_arrays_of_different_images_are_rejected():
    new, old, labels = pair(1, 1, 10)
    with pytest.raises(LabelError, match="same images"):
        compare(new[:9], old, labels)
    with pytest.raises(LabelError, match="same images"):
        compare(new, old, labels[:9])
    with pytest.raises(LabelError, match="no labelled images"):
        compare(new[:0], old[:0], labels[:0])


@pytest.mark.parametrize(("images", "shown"), [(9, "too few different images for an interval"), (10, " to ")])
def test_a_comparison_on_few_images_says_that_the_log_loss_has_no_interval(capsys, images, shown):
    from headstart.commands.evaluate import show_comparison

    sure = np.tile([0.9, 0.1], (images, 1))
    show_comparison(compare(sure, 1 - sure, np.zeros(images, int)), "old.onnx")
    assert shown in " ".join(capsys.readouterr().out.split()).split("log loss")[1]
