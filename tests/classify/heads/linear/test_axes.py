import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from headstart.classify.heads.fitting import fit_rows
from headstart.classify.heads.linear.axes import Axes
from headstart.classify.heads.loss import log_loss, softmax
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import logits_of
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.split.folds import draw_folds


def draw(n: int, d: int) -> np.ndarray:
    """Give features of very different scales, one of them constant and two of them equal."""
    rng = np.random.default_rng(0)
    points = rng.normal(0, 3, (n, d)) * np.exp(rng.normal(0, 1, d))
    points[:, 1], points[:, 3] = 5.3, points[:, 2]
    return points.astype(np.float32)


@pytest.mark.parametrize(("n", "d"), [(200, 16), (120, 160)])
def test_the_axes_turn_the_standardised_rows_and_lose_nothing(n, d):
    points = draw(n, d)
    axes, expected = Axes.of(points), StandardScaler().fit_transform(points.astype(np.float64))
    rows = axes.project(points)
    assert rows.shape[1] == len(axes.covariance) <= min(n, d)
    assert (axes.rotation is None) == (n >= d)
    rotation = np.eye(d) if axes.rotation is None else axes.rotation
    assert rotation.T @ rotation == pytest.approx(np.eye(rows.shape[1]), abs=1e-4)
    assert rows @ rotation.T == pytest.approx(expected, abs=1e-3)
    covariance = axes.covariance if axes.covariance.ndim == 2 else np.diag(axes.covariance)
    assert np.cov(rows.T, bias=True) == pytest.approx(covariance, abs=1e-3)
    weights = np.random.default_rng(1).normal(0, 1, (rows.shape[1], 3)).astype(np.float32)
    assert expected @ axes.unproject(weights) == pytest.approx(rows @ weights, abs=1e-2)


def test_a_constant_column_is_constant_however_many_rows_there_are():
    points = np.random.default_rng(0).random((20_000, 3)).astype(np.float32)
    points[:, 1] = 3.3
    axes = Axes.of(points)
    assert (axes.mean[1], axes.scale[1]) == (np.float32(3.3), 1)
    assert axes.scale == pytest.approx(StandardScaler().fit(points.astype(np.float64)).scale_, rel=1e-3)


@pytest.mark.parametrize(("shift", "spread"), [(0, 1e-7), (0, 1e-12), (1000, 1e-3), (1e-3, 1e-8), (0, 1e6)])
def test_a_feature_of_any_scale_is_standardised(shift, spread):
    drawn = np.random.default_rng(0).normal(0, 1, (500, 4)) * spread + shift
    points = drawn.astype(np.float32)
    axes, scaler = Axes.of(points), StandardScaler().fit(points.astype(np.float64))
    assert axes.scale == pytest.approx(np.sqrt(scaler.var_), rel=1e-2)


@pytest.mark.parametrize("per_class", [1, 2, 3, 5])
@pytest.mark.parametrize("k", [2, 5])
def test_few_photos_give_no_sure_answers_that_are_wrong(per_class, k):
    """Sparse features, as those of networks that end in a ReLU, on which few photos often agree by chance."""
    rng = np.random.default_rng(0)
    codes = np.arange(per_class * k + 600) % k
    points = np.exp(rng.normal(0, 1, (k, 300))[codes] + rng.normal(0, 2.5, (len(codes), 300)) - 2).astype(np.float32)
    points, n = np.minimum(points, 6), per_class * k
    draws = rng.random(n)
    rows = TrainingRows(points[:n], codes[:n].astype(np.int32), draw_folds(codes[:n].astype(np.int32), draws), k)
    probabilities = softmax(logits_of(fit_rows(rows, "logreg", HeadOptions())[1], points[n:]))
    right, sure = probabilities.argmax(axis=1) == codes[n:], probabilities.max(axis=1) > 0.99
    assert log_loss(probabilities, codes[n:]) < 1.1 * np.log(k)
    assert sure.sum() < 10 or right[sure].mean() > 0.9
