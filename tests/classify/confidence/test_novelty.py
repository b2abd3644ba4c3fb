import numpy as np
import pytest

import headstart.classify.confidence.novelty
from bench.statistics.false_alarms import measured_alarms
from headstart.classify.confidence.novelty import fit_novelty
from headstart.classify.confidence.subspace import rooted_units
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.split.folds import ALWAYS_TRAINED, draw_folds


@pytest.fixture
def draw(clusters):
    """Give n training images of three classes, and their draws."""

    def make(n: int, copies: int = 1) -> tuple[TrainingRows, np.ndarray]:
        points, codes = clusters(n, 3)
        points, codes = np.repeat(points, copies, axis=0), np.repeat(codes, copies)
        draws = np.repeat(np.random.default_rng(0).random(n), copies)
        return TrainingRows(points, codes, draw_folds(codes, draws), 3), draws

    return make


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.5])
def test_new_images_of_the_classes_are_marked_as_often_as_asked(draw, clusters, rate):
    found = fit_novelty(*draw(300), rate)
    assert found.false_alarm_rate == rate
    assert found.marks(clusters(3000, 3)[0][300:]).mean() == pytest.approx(rate, abs=0.04)


@pytest.mark.parametrize(
    ("n", "times", "decay"),
    # Few images, cross-fitted ones with as many axes as there may be, and many.
    [(50, 80, 0.0), (100, 60, 0.0), (100, 60, 0.5), (300, 30, 0.0), (500, 15, 0.0), (1200, 8, 0.0)],
)
def test_new_images_are_marked_at_the_asked_rate(n, times, decay):
    rate, error = measured_alarms(n, times, decay)
    assert error < 0.006
    assert rate == pytest.approx(0.05, abs=0.012)


def test_images_of_another_kind_are_farther_than_any_known_one(draw, clusters):
    found = fit_novelty(*draw(300), 0.1)
    far = np.random.default_rng(1).normal(0, 3, (200, 16)).astype(np.float32)
    assert found.marks(far).mean() > 0.9
    assert np.median(found.distances(far)) > found.distances(clusters(600, 3)[0]).max()


def test_the_average_training_image_is_at_zero(draw, clusters):
    found = fit_novelty(*draw(300), 0.1)
    assert found.distances(clusters(3000, 3)[0][300:]).mean() == pytest.approx(0, abs=0.2)


def test_a_copy_says_nothing_about_new_images(draw):
    """Copies that count as new images would be near, as their own subspace spans them."""
    rows, draws = draw(25, copies=6)
    apart = np.random.default_rng(2).random(150)
    unaware = TrainingRows(rows.embeddings, rows.labels, draw_folds(rows.labels, apart), 3)
    known, unknown = fit_novelty(rows, draws, 0.1), fit_novelty(unaware, apart, 0.1)
    assert known.mean[0] > 1.2 * unknown.mean[0]


@pytest.mark.parametrize(("n", "rate"), [(10, 0.09), (99, 0.01), (19, 0.05)])
def test_too_few_images_tell_no_such_share(draw, n, rate):
    assert fit_novelty(*draw(n), rate) is None
    assert fit_novelty(*draw(120), 0.05) is not None


@pytest.mark.parametrize("n", [20, 30])
def test_few_images_suffice(n):
    rate, error = measured_alarms(n, 100, 0.5)
    assert 0.02 < rate < 0.05 + 3 * error


def test_images_that_were_never_held_out_are_references_alone(draw):
    rows, draws = draw(300)
    rows.folds[:100] = ALWAYS_TRAINED
    found = fit_novelty(rows, draws, 0.1)
    assert np.isfinite([found.distance, *found.mean, *found.deviation]).all()
    assert found.references == 300 - (rows.folds == rows.folds.max()).sum()
    rows.folds[:] = ALWAYS_TRAINED
    assert fit_novelty(rows, draws, 0.1) is None


def test_every_class_is_known_even_a_rare_one(clusters):
    points, codes = clusters(200, 2)
    rare = clusters(202, 2, seed=5)[0][200:] + 20
    codes = np.append(codes, [2, 3]).astype(np.int32)
    draws = np.random.default_rng(0).random(202)
    rows = TrainingRows(np.vstack([points, rare]), codes, draw_folds(codes, draws), 4)
    found = fit_novelty(rows, draws, 0.05)
    assert len(found.subspace.means) == 4
    assert not found.marks(rare).any()


def test_of_many_images_the_references_are_few_and_of_every_class_alike(clusters, monkeypatch):
    for name, count in (("REFERENCES", 500), ("LEAST_OTHERS", 300)):
        monkeypatch.setattr(headstart.classify.confidence.novelty, name, count)
    points, codes = clusters(900, 3)
    codes[(codes == 2) & (np.arange(900) > 60)] = 0
    rows = TrainingRows(points, codes, np.arange(900) % 5, 3)
    found = fit_novelty(rows, np.random.default_rng(0).random(900), 0.05)
    assert found.references == 500
    images = rooted_units(points)
    means = [images[codes == code].mean(axis=0) for code in range(3)]
    expected = (240 * means[0] + 240 * means[1] + 20 * means[2]) / 500
    assert found.subspace.centre == pytest.approx(expected, abs=0.02)


def test_equal_images_and_a_vector_of_zeros_are_no_fault(draw):
    assert np.isfinite(fit_novelty(*draw(300), 0.1).distances(np.zeros((1, 16), np.float32))).all()
    labels = np.arange(40, dtype=np.int32) % 2
    draws = np.random.default_rng(0).random(40)
    found = fit_novelty(TrainingRows(np.ones((40, 16), np.float32), labels, draw_folds(labels, draws), 2), draws, 0.1)
    assert not found.marks(np.ones((1, 16), np.float32)).any()
    assert found.marks(np.eye(16, dtype=np.float32)).all()
