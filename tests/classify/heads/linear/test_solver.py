import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from headstart.classify.errors import HeadError
from headstart.classify.heads.linear.axes import Axes
from headstart.classify.heads.linear.logreg import LOGREG
from headstart.classify.heads.linear.objective import SOFTMAX, SQUARED_HINGE
from headstart.classify.heads.linear.problem import Fits, Problem
from headstart.classify.heads.linear.solver import TOLERANCE, solve_path

TIGHT = 1e-4


def draw(n: int, d: int, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give overlapping classes on features of very different scales, one of them constant and two of them equal."""
    rng, codes = np.random.default_rng(0), (np.arange(n) % k).astype(np.int32)
    points = rng.normal(0, 1, (k, d))[codes] + rng.normal(0, 3, (n, d))
    points *= np.exp(rng.normal(0, 1, d))
    points[:, 1], points[:, 3] = 5.3, points[:, 2]
    return points.astype(np.float32), codes, rng.uniform(0.2, 5, n).astype(np.float32)


def solve(axes: Axes, points, codes, sets, grid, **more) -> list[Fits]:
    k = int(codes.max()) + 1
    given = np.atleast_2d(sets).astype(np.float32)
    problem = Problem(axes.project(points), codes, given, axes.covariance, k)
    return list(solve_path(problem, LOGREG.penalties(grid, 1, k), **({"tolerance": TIGHT} | more)))


def mean_loss(log_probabilities, codes, weights) -> float:
    return float(-(weights * log_probabilities[np.arange(len(codes)), codes]).sum() / weights.sum())


@pytest.mark.parametrize(("n", "d"), [(300, 20), (40, 100)])
@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("c", [1e-3, 1.0])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_solutions_are_those_of_scikit_learn(n, d, k, c, is_weighted):
    points, codes, drawn = draw(n, d, k)
    weights = drawn if is_weighted else np.ones(n, np.float32)
    axes = Axes.of(points)
    rows = (points.astype(np.float64) - axes.mean) / axes.scale
    model = LogisticRegression(C=c, tol=1e-8, max_iter=100_000).fit(rows, codes, weights)
    (found,) = solve(axes, points, codes, weights, (c,))
    log_probabilities = log_softmax(found.logits(axes.project(points))[:, 0].astype(np.float64), axis=1)
    assert np.abs(np.exp(log_probabilities) - model.predict_proba(rows)).max() < 1e-3
    expected = mean_loss(model.predict_log_proba(rows), codes, weights)
    expected += float((model.coef_**2).sum() / (2 * c * weights.sum()))
    penalty = float((found.weights**2).sum() / (2 * LOGREG.penalties((c,), 1, k)[0] * weights.sum()))
    assert mean_loss(log_probabilities, codes, weights) + penalty == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("k", [2, 4])
def test_many_sets_at_once_are_each_of_them_alone(k):
    points, codes, weights = draw(120, 16, k)
    axes, rng = Axes.of(points), np.random.default_rng(1)
    sets = np.stack([np.ones(120), weights, rng.random(120) < 0.7, rng.random(120) < 0.3]).astype(np.float32)
    grid, rows = (1e-3, 1e-1), axes.project(points)
    for number, together in enumerate(solve(axes, points, codes, sets, grid)):
        alone = [solve(axes, points, codes, one, grid)[number].logits(rows) for one in sets]
        assert together.logits(rows) == pytest.approx(np.concatenate(alone, axis=1), abs=2e-3)
        assert together.repeated(2).logits(rows) == pytest.approx(together.logits(rows)[:, [2]], abs=1e-5)


def test_rows_of_no_weight_count_for_nothing():
    points, codes, _ = draw(120, 16, 3)
    axes, kept = Axes.of(points), np.arange(120) < 60
    (masked,) = solve(axes, points, codes, kept, (0.1,))
    (fewer,) = solve(axes, points[kept], codes[kept], np.ones(60), (0.1,))
    assert masked.weights == pytest.approx(fewer.weights, abs=1e-3)


def test_the_start_changes_the_way_but_not_the_end():
    points, codes, _ = draw(200, 16, 3)
    axes, grid = Axes.of(points), (1e-4, 1e-3, 1e-2, 1e-1)
    *_, before, last = solve(axes, points, codes, np.ones(200), grid)
    (fresh,) = solve(axes, points, codes, np.ones(200), grid[-1:])
    (resumed,) = solve(axes, points, codes, np.ones(200), grid[-1:], start=before)
    for other in (fresh, resumed):
        assert last.weights == pytest.approx(other.weights, abs=1e-3)
        assert last.bias == pytest.approx(other.bias, abs=1e-3)


def test_a_solution_is_left_as_it_is_while_others_go_on():
    points, codes, _ = draw(200, 16, 3)
    axes, sets, passes = Axes.of(points), np.ones((2, 200), np.float32), []
    (done,) = solve(axes, points, codes, sets[:1], (0.1,))
    start = Fits(np.concatenate([done.weights, 0 * done.weights], axis=1), np.concatenate([done.bias, 0 * done.bias]))
    rows = axes.project(points)

    def blocks():
        passes.append(1)
        yield slice(0, 120), rows[:120]
        yield slice(120, 200), rows[120:]

    (found,) = solve_path(Problem(blocks, codes, sets, axes.covariance, 3), [0.1], start, tolerance=1e-3)
    assert 1 < len(passes) < 40
    assert np.array_equal(found.weights[:, 0], done.weights[:, 0])
    assert found.logits(rows)[:, 1] == pytest.approx(done.logits(rows)[:, 0], abs=0.05)


SIZES = [(50, 2), (60, 12), (300, 5)]


@pytest.mark.parametrize(
    ("n", "k", "c"),
    [(n, k, c) for n, k in SIZES for c in (0.01, 1.0, 100.0, 1000.0)] + [(2500, 120, 0.01), (2500, 120, 1.0)],
)
def test_separable_rows_are_solved_to_a_share_of_the_optimum(n, k, c):
    rng = np.random.default_rng(0)
    centres, codes = rng.normal(0, 1, (k, 100)), np.arange(n + 600) % k
    points = (centres[codes] + rng.normal(0, 2.5, (n + 600, 100))).astype(np.float32)
    axes = Axes.of(points[:n])
    (found,) = solve(axes, points[:n], codes[:n], np.ones(n), (c,), tolerance=TOLERANCE)
    rows = (points.astype(np.float64) - axes.mean) / axes.scale
    model = LogisticRegression(C=c, tol=1e-9, max_iter=100_000).fit(rows[:n], codes[:n])
    expected, logits = model.decision_function(rows[n:]), found.logits(axes.project(points[n:]))[:, 0]
    expected = log_softmax(np.stack([-expected, expected], 1) / 2 if k == 2 else expected, axis=1)
    losses = [
        mean_loss(log_softmax(logits, axis=1), codes[n:], np.ones(600)),
        mean_loss(expected, codes[n:], np.ones(600)),
    ]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    assert (logits.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.99


@pytest.mark.parametrize("rank", [1, 3])
def test_columns_that_all_say_the_same_are_solved(rank):
    rng, codes = np.random.default_rng(0), (np.arange(600) % 3).astype(np.int32)
    points = (rng.normal(0, 1, (600, rank)) @ rng.normal(0, 1, (rank, 400))).astype(np.float32)
    axes = Axes.of(points)
    (found,) = solve(axes, points, codes, np.ones(600), (100.0,))
    assert np.isfinite(found.weights).all()


def test_sets_that_take_more_rounds_than_others_are_solved_too():
    points, codes, _ = draw(200, 16, 3)
    axes, rng = Axes.of(points), np.random.default_rng(1)
    sets = np.stack([np.ones(200), rng.random(200) < 0.15, rng.random(200) < 0.1])
    (together,) = solve(axes, points, codes, sets, (1000.0,), tolerance=TOLERANCE)
    rows = axes.project(points)
    for number, one in enumerate(sets):
        (alone,) = solve(axes, points, codes, one, (1000.0,), tolerance=TOLERANCE)
        assert together.logits(rows)[:, number] == pytest.approx(alone.logits(rows)[:, 0], rel=0.05, abs=1)


@pytest.mark.parametrize("c", [0.01, 100.0])
def test_sets_that_are_never_finished_are_refused(monkeypatch, c):
    monkeypatch.setattr("headstart.classify.heads.linear.solver.MOST_PASSES", {np.float32: 1, np.float64: 2})
    points, codes, _ = draw(200, 16, 3)
    with pytest.raises(
        HeadError, match=rf"with C = {c:g} did not converge in 2 passes over 200 images; use a stronger"
    ):
        solve(Axes.of(points), points, codes, np.ones(200), (c,))


@pytest.mark.parametrize("loss", [SOFTMAX, SQUARED_HINGE])
@pytest.mark.parametrize(("n", "d"), [(31, 8), (31, 40)])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_rows_that_are_all_the_same_give_the_shares_of_the_classes(loss, n, d, value):
    points, codes = np.full((n, d), value, np.float32), (np.arange(n) % 3 > 0).astype(np.int32)
    axes = Axes.of(points)
    problem = Problem(axes.project(points), codes, np.ones((1, n), np.float32), axes.covariance, 2, loss)
    (found,) = solve_path(problem, (0.01,))
    assert not found.weights.any()
    if loss is SOFTMAX:
        assert np.exp(found.bias[0, 1] - found.bias[0, 0]) == pytest.approx(codes.mean() / (1 - codes.mean()), rel=1e-4)
