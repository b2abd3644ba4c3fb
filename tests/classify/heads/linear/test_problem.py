import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from headstart.classify.heads.linear import problem as module
from headstart.classify.heads.linear.objective import SQUARED_HINGE
from headstart.classify.heads.linear.problem import Problem


@pytest.mark.parametrize("part_rows", [7, 1024])
@pytest.mark.parametrize("block_rows", [None, 60])
@pytest.mark.parametrize("k", [2, 4])
def test_loss_gradient_and_curvature_are_those_of_their_formulas_however_rows_are_divided(
    monkeypatch, part_rows, block_rows, k
):
    monkeypatch.setattr(module, "PART_ROWS", part_rows)
    n, r, m, rng = 150, 5, 3, np.random.default_rng(0)
    rows, labels = rng.normal(size=(n, r)).astype(np.float32), rng.integers(0, k, n)
    sets, point = rng.uniform(0, 2, (m, n)).astype(np.float32), rng.normal(size=(r + 1, m, k))

    def blocks():
        for start in range(0, n, block_rows):
            yield slice(start, min(start + block_rows, n)), rows[start : start + block_rows]

    covariance, which = rows.T @ rows / n, np.array([0, 2])
    problem = Problem(blocks if block_rows else rows, labels, sets, covariance, k)
    penalty = np.full((r + 1, 2, 1), 0.3)
    penalty[-1] = 0
    loss, gradient = problem.loss(point[:, which], penalty, which)
    variances = []
    for number, one in enumerate(which):
        weights, shares = point[:, one], sets[one] / sets[one].sum()
        logits = rows @ weights[:-1] + weights[-1]
        own = -(shares * log_softmax(logits, axis=1)[np.arange(n), labels]).sum() + 0.15 * (weights[:-1] ** 2).sum()
        residuals = shares[:, None] * (softmax(logits, axis=1) - np.eye(k)[labels])
        assert loss[number] == pytest.approx(own, rel=1e-5)
        assert gradient[:-1, number] == pytest.approx(rows.T @ residuals + 0.3 * weights[:-1], abs=1e-5)
        assert gradient[-1, number] == pytest.approx(residuals.sum(axis=0), abs=1e-5)
        p = softmax(logits, axis=1)
        variances.append(shares * (p * (1 - p)).mean(axis=1) * k / (k - 1))
    variance = np.mean(variances, axis=0)
    fine, bias = problem.curvature(point[:, which], which, roughly=False)
    rough, same = problem.curvature(point[:, which], which, roughly=True)
    assert fine == pytest.approx((rows.T * variance) @ rows, abs=1e-5)
    assert rough == pytest.approx(variance.sum() * covariance, abs=1e-5)
    assert (bias, same) == pytest.approx((variance.sum(), variance.sum()), rel=1e-5)


@pytest.mark.parametrize("k", [2, 4])
def test_squared_hinge_and_its_derivatives_are_those_of_their_formulas(k):
    n, r, rng = 150, 5, np.random.default_rng(0)
    rows, labels, point = rng.normal(size=(n, r)), rng.integers(0, k, n), rng.normal(size=(r + 1, 1, k))
    problem = Problem(rows.astype(np.float32), labels, np.ones((1, n), np.float32), np.eye(r), k, SQUARED_HINGE)
    signs = 2 * np.eye(k)[labels] - 1
    margins = np.maximum(1 - signs * (rows @ point[:-1, 0] + point[-1, 0]), 0)
    loss, gradient = problem.loss(point, np.zeros((r + 1, 1, 1)), np.array([0]))
    assert loss[0] == pytest.approx((margins**2).sum() / n, rel=1e-5)
    assert gradient[:-1, 0] == pytest.approx(-2 * rows.T @ (signs * margins) / n, abs=1e-5)
    assert gradient[-1, 0] == pytest.approx(-2 * (signs * margins).sum(axis=0) / n, abs=1e-5)
    hessian, bias = problem.curvature(point, np.array([0]), roughly=False)
    second = 2 * (margins > 0).mean(axis=1) / n
    assert hessian == pytest.approx((rows.T * second) @ rows, abs=1e-5)
    assert bias == pytest.approx(second.sum(), rel=1e-5)
