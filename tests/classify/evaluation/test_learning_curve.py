from itertools import pairwise

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import headstart.classify.heads.search
from headstart.classify.evaluation.learning_curve import (
    CurvePoint,
    LearningCurve,
    _forecast,
    learning_curve,
    mean_curve,
)
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.heads.search import search_head
from headstart.classify.split.folds import draw_folds


@pytest.fixture
def curve_of(clusters):
    """Give the curve of a head on n images, and 900 images that it is evaluated on."""

    def draw(n: int, head: str = "logreg", spread: float = 6, **options):
        points, codes = clusters(n + 900, 3, spread=spread)
        folds = draw_folds(codes[:n], np.random.default_rng(0).random(n))
        chosen = HeadOptions(**({"c": 0.1} | options))
        search = search_head(head, TrainingRows(points[:n], codes[:n], folds, 3), chosen)
        return learning_curve(search, chosen, points[n:], codes[n:]), points, codes

    return draw


def test_more_images_give_better_metrics(curve_of):
    found, _, _ = curve_of(600)
    assert [point.images for point in found.points] == [60, 120, 240, 420, 600]
    assert all(before.log_loss > after.log_loss for before, after in pairwise(found.points))
    assert found.points[0].accuracy < found.points[-1].accuracy


def test_the_last_point_is_the_head_itself(curve_of):
    found, points, codes = curve_of(300)
    scaler = StandardScaler().fit(points[:300])
    model = LogisticRegression(C=0.1, max_iter=1000).fit(scaler.transform(points[:300]), codes[:300])
    accuracy = model.score(scaler.transform(points[300:]), codes[300:])
    assert found.points[-1].images == 300
    assert found.points[-1].accuracy == pytest.approx(accuracy, abs=5e-3)


@pytest.mark.parametrize(("n", "images"), [(6, [6]), (15, [6, 12, 15]), (24, [6, 9, 18, 24])])
def test_small_shares_have_two_images_per_class_and_no_size_repeats(curve_of, n, images):
    found, _, _ = curve_of(n)
    assert [point.images for point in found.points] == images


def test_any_head_has_a_curve(curve_of):
    found, _, _ = curve_of(300, "mlp", hidden=(8,))
    assert [point.images for point in found.points] == [30, 60, 120, 210, 300]
    assert found.points[0].log_loss > found.points[-1].log_loss


def test_balanced_weights_reach_the_curve(curve_of):
    plain, balanced = (curve_of(301, class_weight=weight)[0] for weight in ("none", "balanced"))
    assert plain.points[-1].log_loss != balanced.points[-1].log_loss
    assert plain.points[-1].log_loss == pytest.approx(balanced.points[-1].log_loss, abs=0.01)


def test_the_curve_ends_at_the_images_of_the_search(curve_of, monkeypatch):
    monkeypatch.setattr(headstart.classify.heads.search, "SEARCHED_ROWS", 100)
    assert curve_of(300)[0].points[-1].images == 100


def test_the_forecast_is_for_twice_the_images_and_no_worse(curve_of):
    found, _, _ = curve_of(600)
    last, forecast = found.points[-1], found.forecast
    assert forecast.images == 1200
    assert last.accuracy < forecast.accuracy < 1
    assert 0 < forecast.log_loss < last.log_loss


SIZES = (50, 100, 200, 400)


def points_of(errors, losses) -> list[CurvePoint]:
    return [CurvePoint(n, 1 - error, loss) for n, error, loss in zip(SIZES, errors, losses, strict=True)]


def test_a_power_law_is_extrapolated_with_two_thirds_of_its_slope():
    found = _forecast(points_of(*[[scale * n**power for n in SIZES] for scale, power in ((0.9, -0.6), (3, -0.3))]), 400)
    assert found.images == 800
    assert found.accuracy == pytest.approx(1 - 0.9 * 400**-0.6 * 2**-0.4)
    assert found.log_loss == pytest.approx(3 * 400**-0.3 * 2**-0.2)


def test_a_forecast_is_never_worse_than_the_last_point():
    assert _forecast(points_of([0.1, 0.1, 0.2, 0.2], [0.5, 0.6, 0.7, 0.8]), 400) == CurvePoint(800, 0.8, 0.8)


@pytest.mark.parametrize(("points", "errors"), [(2, [0.3, 0.2, 0.1, 0.1]), (4, [0.2, 0.1, 0.1, 0.0])])
def test_too_few_points_or_no_errors_give_no_forecast(points, errors):
    assert _forecast(points_of(errors, [1.0] * 4)[:points], 400) is None


def test_the_forecast_is_for_twice_what_was_trained_on_not_what_was_searched(clusters):
    points, codes = clusters(900, 3, spread=6)
    rows = TrainingRows(points[:300], codes[:300], draw_folds(codes[:300], np.random.default_rng(0).random(300)), 3)
    options = HeadOptions(c=0.1)
    found = learning_curve(search_head("logreg", rows, options), options, points[300:], codes[300:], trained=5000)
    assert (found.points[-1].images, found.forecast.images) == (300, 10_000)


def test_the_mean_of_curves_ends_with_all_images_of_each():
    points = [CurvePoint(images, 1 - 1 / images, 1 / images) for images in (4, 5, 10, 17, 25)]
    short = [CurvePoint(24, 0.46, 0.54)]
    found = mean_curve([LearningCurve([]), LearningCurve(points), LearningCurve(points[1:])])
    assert found.points == points[1:]
    (mean,) = mean_curve([LearningCurve(points), LearningCurve(short)]).points
    assert vars(mean) == pytest.approx({"images": 24, "accuracy": 0.71, "log_loss": 0.29})
    assert mean_curve([LearningCurve(points), LearningCurve([])]).points == points
    assert mean_curve([LearningCurve([])] * 2).points == []
