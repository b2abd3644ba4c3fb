import numpy as np
import pytest
from scipy import special
from sklearn import metrics

from headstart.classify.confidence.calibration import fit_temperature, reliability
from headstart.classify.heads.loss import FACTORS, log_loss, softmax


@pytest.fixture
def honest() -> tuple[np.ndarray, np.ndarray]:
    """20,000 logits, and labels that are drawn just as they say."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 4))
    return logits, (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)


@pytest.mark.parametrize("factor", [0.1, 0.3, 0.7, 1.0, 3.0, 10.0])
def test_the_temperature_is_by_how_much_the_logits_are_too_large(honest, factor):
    logits, labels = honest
    found = fit_temperature(factor * logits, labels)
    assert found.temperature == pytest.approx(factor, rel=0.03)
    assert found.after.error < 0.01
    assert found.before.error == pytest.approx(reliability(softmax(factor * logits), labels).error)
    assert found.before.error > 0.04 or factor == 1


def test_a_temperature_changes_no_answer(honest):
    logits, labels = honest
    found = fit_temperature(3 * logits, labels)
    right = [np.nansum(side.accuracy * side.count) for side in (found.before, found.after)]
    assert right[0] == pytest.approx(right[1])


@pytest.mark.parametrize("gap", [0.5, 1.0, 8.0])
def test_few_rows_that_are_all_right_do_not_make_it_certain(gap):
    labels = np.arange(60) % 3
    logits = gap * np.eye(3)[labels]
    temperature = fit_temperature(logits, labels).temperature
    assert 1.5 * FACTORS[0] < temperature < 1
    assert 1e-5 < 1 - softmax(logits / temperature).max() < 0.02
    one_wrong = np.where(np.arange(60) == 7, (labels + 1) % 3, labels)
    assert log_loss(softmax(logits / temperature), one_wrong) < 0.2


def test_few_rows_that_are_all_wrong_make_it_as_unsure_as_it_can_be():
    labels = np.arange(60) % 3
    found = fit_temperature(8.0 * np.eye(3)[(labels + 1) % 3], labels)
    assert found.temperature == pytest.approx(FACTORS[1], rel=0.01)


@pytest.mark.parametrize("factor", [0.1, 0.2, 0.4])
def test_what_is_too_unsure_becomes_as_sure_as_it_may_be(honest, factor):
    """As after training with smoothed labels, whose best logits are small however sure the picture is."""
    logits, labels = honest
    some, others = slice(0, 300), slice(300, None)
    temperature = fit_temperature(factor * logits[some], labels[some]).temperature
    assert FACTORS[0] < temperature < 0.5
    before, bounded, after, best = (
        log_loss(softmax(factor * logits[others] / divisor), labels[others])
        for divisor in (1, 0.5, temperature, factor)
    )
    assert after < bounded < before
    assert after < best + 0.01


def test_the_error_is_the_mean_gap_between_confidence_and_accuracy():
    probabilities = np.array([[0.95, 0.05], [0.97, 0.03], [0.58, 0.42], [0.42, 0.58], [0.44, 0.56]])
    found = reliability(probabilities, np.array([0, 1, 0, 1, 0]), bins=10)
    assert found.count.tolist() == [0, 0, 0, 0, 0, 3, 0, 0, 0, 2]
    assert found.confidence[[5, 9]] == pytest.approx([1.72 / 3, 0.96])
    assert found.accuracy[[5, 9]] == pytest.approx([2 / 3, 0.5])
    assert np.isnan(found.accuracy[:5]).all()
    assert found.error == pytest.approx((3 * (2 / 3 - 1.72 / 3) + 2 * (0.96 - 0.5)) / 5)


def test_certainty_belongs_to_the_last_bin():
    found = reliability(np.eye(3), np.arange(3))
    assert (found.count[-1], found.error) == (3, 0)


def test_softmax_and_log_loss_are_those_of_scipy_and_scikit_learn(honest):
    logits, labels = honest
    assert softmax(logits) == pytest.approx(special.softmax(logits, axis=1))
    assert log_loss(softmax(logits), labels) == pytest.approx(metrics.log_loss(labels, softmax(logits)))
    assert softmax(np.array([[1e5, 0.0]], np.float32)).tolist() == [[1, 0]]
    assert 700 < log_loss(np.array([[1.0, 0.0]]), np.array([1])) < 800


@pytest.mark.parametrize("n", [100, 500, 5000])
def test_perfect_probabilities_are_off_by_no_more_than_chance(n):
    within = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        probabilities = softmax(rng.normal(0, 2, (n, 5)))
        labels = (probabilities.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
        found = reliability(probabilities, labels)
        within += found.error <= found.chance
    assert 53 <= within <= 60
    overconfident = reliability(softmax(3 * np.log(probabilities)), labels)
    assert overconfident.error > overconfident.chance


def test_the_error_after_calibration_is_not_measured_on_the_images_that_chose_the_temperature():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (60, 5))
    labels = rng.integers(0, 5, 60)
    found = fit_temperature(logits, labels)
    assert found.after.error != reliability(softmax(logits / found.temperature), labels).error
