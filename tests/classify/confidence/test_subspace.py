import numpy as np
import pytest

import headstart.classify.heads.rows
from headstart.classify.confidence.subspace import MOST_AXES, PRIOR_ROWS, Subspace, rooted_units


@pytest.fixture
def images(clusters):
    """Give n images of four classes at length 1, and their labels."""

    def make(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        points, labels = clusters(n, 4, seed=seed)
        return rooted_units(points), labels

    return make


def mahalanobis(points: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    return np.einsum("ni,ij,nj->n", points, np.linalg.inv(covariance), points)


def test_roots_have_length_one_and_keep_their_signs():
    found = rooted_units(np.array([[4, -9, 0], [0, 0, 0]], np.float32))
    assert found == pytest.approx(np.array([[2, -3, 0], [0, 0, 0]]) / 13**0.5, abs=1e-6)


def test_brightness_is_no_difference(images, clusters):
    subspace, fresh = Subspace.of(*images(400)), clusters(50, 4, seed=3)[0]
    one, other = (subspace.distances(rooted_units(points)) for points in (fresh, 7 * fresh))
    assert one == pytest.approx(other, abs=1e-3)


def test_the_distances_are_those_of_the_definitions(images):
    """A plain computation, with each covariance drawn to its prior."""
    known, labels = images(400)
    fresh = images(60, seed=8)[0]
    subspace = Subspace.of(known, labels)
    axes, centre = subspace.axes.astype(float), known.mean(axis=0)
    assert axes.shape == (16, 8)
    assert axes.T @ axes == pytest.approx(np.eye(8), abs=1e-5)
    largest = np.linalg.eigvalsh(np.cov(known.T))[-8:]
    assert np.sort(((known - centre) @ axes).var(axis=0)) == pytest.approx(largest, rel=0.01)

    points, others = (known - centre) @ axes, (fresh - centre) @ axes
    rest = np.linalg.norm(fresh - centre - others @ axes.T, axis=1)
    variances = points.var(axis=0)
    background = np.diag((400 * variances + PRIOR_ROWS * variances.mean()) / (400 + PRIOR_ROWS))
    means = [points[labels == code].mean(axis=0) for code in range(4)]
    scatter = sum(np.cov(points[labels == code].T, bias=True) * 100 for code in range(4))
    within = (scatter + PRIOR_ROWS * background) / (396 + PRIOR_ROWS)
    nearest = np.min([mahalanobis(others - mean, within) for mean in means], axis=0)
    expected = np.column_stack([rest, nearest - mahalanobis(others, background)])
    assert subspace.distances(fresh) == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_the_axes_are_few_for_few_images_and_never_more_than_the_most():
    rng = np.random.default_rng(0)
    for n, expected in ((20, 5), (100, 25), (1000, MOST_AXES)):
        images = rooted_units(rng.normal(0, 1, (n, 300)).astype(np.float32))
        assert Subspace.of(images, np.arange(n, dtype=np.int32) % 5).axes.shape == (300, expected)


def test_one_image_per_class_is_enough(images):
    known = images(40)[0]
    found = Subspace.of(known, np.arange(40, dtype=np.int32)).distances(images(50, seed=4)[0])
    assert np.isfinite(found).all()


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_equal_images_are_no_fault(value):
    subspace = Subspace.of(rooted_units(np.full((30, 8), value, np.float32)), np.arange(30, dtype=np.int32) % 2)
    other = rooted_units(np.eye(8, dtype=np.float32))
    assert np.isfinite(subspace.distances(other)).all()
    assert subspace.distances(other)[:, 0].min() > 0.5


def test_blocks_leave_no_trace(images, monkeypatch):
    subspace, fresh = Subspace.of(*images(400)), images(50, seed=2)[0]
    whole = subspace.distances(fresh)
    monkeypatch.setattr(headstart.classify.heads.rows, "ROWS_PER_BLOCK", 7)
    assert subspace.distances(fresh) == pytest.approx(whole, abs=1e-4)
