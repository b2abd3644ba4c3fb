import numpy as np
import pytest

from headstart.classify.report import map as map_module
from headstart.classify.report.map import lay_out


@pytest.mark.parametrize(("n", "method"), [(2, "PCA"), (29, "PCA"), (30, "t-SNE"), (80, "t-SNE")])
def test_the_map_lies_within_its_frame(n, method):
    found, positions = lay_out(np.random.default_rng(1).normal(0, 1, (n, 16)).astype(np.float32))
    assert found == method
    assert positions.shape == (n, 2)
    assert np.isfinite(positions).all()
    assert positions.min() >= 0
    assert positions.max() <= 1


def test_identical_photos_have_a_map_too():
    _, positions = lay_out(np.ones((40, 16), np.float32))
    assert np.isfinite(positions).all()


def test_different_classes_lie_apart(clusters):
    vectors, codes = clusters(90, 3, spread=0.2)
    _, positions = lay_out(vectors)
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert (codes[distances.argmin(axis=1)] == codes).mean() > 0.95


def test_a_sample_for_the_map_includes_the_misclassified(hostile, rewritten, monkeypatch):
    monkeypatch.setattr(map_module, "MOST", 30)
    data = rewritten(hostile).data
    assert (len(data["map"]["points"]), data["map"]["total"]) == (30, len(hostile.store) - 1)
    assert sum(point[3] for point in data["map"]["points"]) == min(data["mistakes"]["total"], 10)
