import numpy as np
import pytest

import headstart.classify.confidence.novelty
from bench.statistics.false_alarms import measured_alarms
from headstart.classify.confidence.novelty import NEIGHBOURS, fit_novelty
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.split.folds import ALWAYS_TRAINED, draw_folds


@pytest.fixture
def draw(clusters):
    """Give n training images of three classes, their draws, and probabilities for them."""

    def make(n: int, copies: int = 1) -> tuple[TrainingRows, np.ndarray, np.ndarray]:
        points, codes = clusters(n, 3)
        points, codes = np.repeat(points, copies, axis=0), np.repeat(codes, copies)
        draws = np.repeat(np.random.default_rng(0).random(n), copies)
        rows = TrainingRows(points, codes, draw_folds(codes, draws), 3)
        return rows, draws, np.random.default_rng(1).dirichlet([8, 1, 1], n * copies)

    return make


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    unit = [side.astype(np.float64) / np.linalg.norm(side, axis=1, keepdims=True) for side in (one, other)]
    return unit[0] @ unit[1].T


def nearest(found: np.ndarray) -> np.ndarray:
    """Give one minus the mean of the largest cosines of each row."""
    return 1 - np.sort(found, axis=1)[:, -NEIGHBOURS:].mean(axis=1)


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
def test_the_asked_share_of_the_training_images_would_be_marked(draw, rate):
    rows, draws, probabilities = draw(120)
    found = fit_novelty(rows, draws, probabilities, rate)
    others = cosines(rows.embeddings, rows.embeddings)
    np.fill_diagonal(others, -1)
    far, unsure = nearest(others) > found.distance, probabilities.max(axis=1) < found.probability
    assert (far | unsure).mean() == pytest.approx(rate, abs=0.02)
    assert far.mean() == pytest.approx(unsure.mean(), abs=0.02)
    assert found.false_alarm_rate == rate


def test_new_images_of_the_classes_are_marked_about_as_often(draw, clusters):
    found = fit_novelty(*draw(300), 0.1)
    fresh = np.random.default_rng(5).permutation(clusters(3000, 3)[0][300:])
    sure = np.random.default_rng(6).dirichlet([8, 1, 1], len(fresh))
    assert found.marks(fresh, sure).mean() == pytest.approx(0.1, abs=0.04)


@pytest.mark.parametrize(
    ("n", "times", "decay"),
    # Few images (two thresholds), more than there are axes (axes chosen by the images judged), and many.
    [(100, 80, 0.0), (100, 80, 0.5), (300, 30, 0.0), (500, 15, 0.0), (1200, 8, 0.0)],
)
def test_new_images_are_marked_at_the_asked_rate(n, times, decay):
    rate, error = measured_alarms(n, times, decay)
    assert error < 0.005
    assert rate == pytest.approx(0.05, abs=0.012)


def test_the_distance_is_to_the_nearest_references(draw, clusters):
    rows, draws, probabilities = draw(300)
    found, fresh = fit_novelty(rows, draws, probabilities, 0.1), clusters(50, 4, seed=9)[0]
    assert found.references.shape == (300, 16)
    expected = nearest(cosines(fresh, rows.embeddings))
    assert found.distances(fresh) == pytest.approx(expected, abs=1e-5)
    assert found.distances(fresh * 7) == pytest.approx(expected, abs=1e-5)


def test_a_copy_is_no_neighbour_of_its_own(draw):
    rows, draws, probabilities = draw(20, copies=6)
    known = fit_novelty(rows, draws, probabilities, 0.1)
    unknown = fit_novelty(rows, np.random.default_rng(2).random(120), probabilities, 0.1)
    assert unknown.distance == pytest.approx(0, abs=1e-5)
    assert known.distance > 0.02


def test_a_copy_is_no_neighbour_of_its_own_where_axes_are_chosen_by_fold(draw):
    rows, draws, probabilities = draw(60, copies=6)
    assert fit_novelty(rows, draws, probabilities, 0.1).distance > 0.02


@pytest.mark.parametrize(("n", "rate"), [(10, 0.9), (99, 0.01), (19, 0.05)])
def test_too_few_images_tell_no_such_share(draw, n, rate):
    assert fit_novelty(*draw(n), rate) is None
    assert fit_novelty(*draw(120), 0.05) is not None


@pytest.mark.parametrize("n", [21, 30, 38])
def test_few_images_have_the_threshold_of_the_distance_alone(draw, n):
    found = fit_novelty(*draw(n), 0.05)
    assert (found.probability, found.distance > 0) == (0, True)
    rate, error = measured_alarms(n, 100, 0.5)
    assert 0.02 < rate < 0.05 + 2 * error


def test_images_that_were_never_held_out_are_references_alone(draw):
    rows, draws, probabilities = draw(300)
    rows.folds[:100] = ALWAYS_TRAINED
    probabilities[:100] = np.nan
    found = fit_novelty(rows, draws, probabilities, 0.1)
    assert len(found.references) == 300
    assert np.isfinite([found.distance, found.probability]).all()
    rows.folds[:] = ALWAYS_TRAINED
    assert fit_novelty(rows, draws, probabilities, 0.1) is None


def test_what_is_far_or_unsure_is_marked_and_the_rest_is_not(draw):
    rows, draws, probabilities = draw(300)
    found = fit_novelty(rows, draws, probabilities, 0.1)
    points = np.stack([rows.embeddings[0], rows.embeddings[0], -rows.embeddings.mean(axis=0)])
    given = np.array([[0.99, 0.01, 0], [0.34, 0.33, 0.33], [0.99, 0.01, 0]])
    assert found.marks(points, given).tolist() == [False, True, True]


def test_the_references_are_few_and_of_every_class_alike(clusters):
    points, codes = clusters(900, 3)
    codes[(codes == 2) & (np.arange(900) > 60)] = 0
    rows = TrainingRows(points, codes, np.arange(900) % 5, 3)
    found = fit_novelty(rows, np.random.default_rng(0).random(900), np.full((900, 3), 1 / 3), 0.05)
    chosen = cosines(found.references @ found.axes.T, points).argmax(axis=1)
    assert sorted(np.bincount(codes[chosen])) == [20, 240, 240]


def test_however_many_images_and_features_the_file_stays_small(monkeypatch):
    for name, most in (("LEAST_REFERENCES", 50), ("MOST_REFERENCES", 100), ("LEAST_OTHERS", 300), ("AXES", 32)):
        monkeypatch.setattr(headstart.classify.confidence.novelty, name, most)
    points = np.random.default_rng(0).normal(0, 1, (500, 60)).astype(np.float32)
    rows = TrainingRows(points, np.arange(500) % 20, np.arange(500) % 5, 20)
    found = fit_novelty(rows, np.random.default_rng(0).random(500), np.full((500, 20), 1 / 20), 0.05)
    assert (found.axes.shape, found.references.shape) == ((60, 32), (100, 32))
    outside = points[:1] - points[:1] @ found.axes @ found.axes.T
    assert found.distances(outside) == pytest.approx([1], abs=1e-4)


def test_a_vector_of_zeros_is_far_and_no_fault(draw):
    found = fit_novelty(*draw(300), 0.1)
    assert found.distances(np.zeros((1, 16), np.float32)).tolist() == [1]


def test_blocks_leave_no_trace(draw, clusters, monkeypatch):
    given, fresh = draw(300), clusters(50, 3, seed=2)[0]
    sure = np.random.default_rng(3).dirichlet([8, 1, 1], 50)
    whole = fit_novelty(*given, 0.1)
    marks = whole.marks(fresh, sure)
    monkeypatch.setattr(headstart.classify.confidence.novelty, "BLOCK", 7)
    pieces = fit_novelty(*given, 0.1)
    assert pieces.distance == pytest.approx(whole.distance, abs=1e-6)
    assert np.array_equal(pieces.marks(fresh, sure), marks)
