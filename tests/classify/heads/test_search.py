from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

import headstart.classify.heads.search
from headstart.classify.confidence.calibration import fit_temperature, reliability
from headstart.classify.heads.candidate import Candidate, Search
from headstart.classify.heads.fitting import fit_rows
from headstart.classify.heads.linear import penalties
from headstart.classify.heads.linear.estimators import CommonScaler
from headstart.classify.heads.linear.logreg import DEFAULT_C
from headstart.classify.heads.linear.penalties import GRID
from headstart.classify.heads.loss import softmax
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import HEADS
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.heads.search import search_head
from headstart.classify.split.folds import draw_folds

SCALERS = {"standardised": StandardScaler, "raw": CommonScaler}


def rows_of(points: np.ndarray, codes: np.ndarray, k: int | None = None) -> TrainingRows:
    folds = draw_folds(codes, np.random.default_rng(0).random(len(codes)))
    return TrainingRows(points.astype(np.float32), codes, folds, k or int(codes.max()) + 1)


def model_of(c: float, points: np.ndarray, codes: np.ndarray, **options) -> LogisticRegression:
    return LogisticRegression(C=c, tol=1e-7, max_iter=10_000, **options).fit(points, codes)


@pytest.fixture
def overlapping(clusters):
    """Give 300 images of k classes that cannot quite be told apart."""
    return lambda k: rows_of(*clusters(300, k, spread=6))


def out_of_fold(candidate: Candidate, rows: TrainingRows) -> np.ndarray:
    """Give logits of scikit-learn, one fit per fold, on embeddings scaled together."""
    scaler = SCALERS[candidate.settings["scaling"]]().fit(rows.embeddings)
    logits = np.empty((len(rows), rows.classes))
    for fold in range(5):
        held_out = rows.folds == fold
        model = model_of(candidate.c, scaler.transform(rows.embeddings[~held_out]), rows.labels[~held_out])
        logits[held_out] = model.predict_log_proba(scaler.transform(rows.embeddings[held_out]))
    return logits


@pytest.mark.parametrize("k", [2, 3])
def test_the_setting_with_the_least_loss_out_of_fold_is_the_one_scikit_learn_finds(overlapping, k):
    rows = overlapping(k)
    found = search_head("logreg", rows, HeadOptions())
    losses = [rows.judge(out_of_fold(candidate, rows))[0] for candidate in found.candidates]
    assert [candidate.log_loss for candidate in found.candidates] == pytest.approx(losses, abs=3e-3)
    assert found.chosen.log_loss == min(candidate.log_loss for candidate in found.candidates)
    assert losses[found.candidates.index(found.chosen)] == pytest.approx(min(losses), abs=1e-3)
    assert softmax(found.logits) == pytest.approx(softmax(out_of_fold(found.chosen, rows)), abs=0.03)
    assert (found.chosen.log_loss, found.chosen.accuracy) == rows.judge(found.logits)
    assert (found.folds, found.rows) == (5, rows)
    scaling = found.chosen.settings["scaling"]
    reason = f"logreg with C = {found.chosen.c:g} on {scaling} embeddings has the least log loss of "
    assert found.reason.startswith(reason)


@pytest.mark.parametrize("spread", [2.5, 6, 20])
def test_the_walk_goes_on_while_the_loss_clearly_falls(clusters, spread):
    found = search_head("logreg", rows_of(*clusters(300, 3, spread=spread)), HeadOptions())
    for scaling in SCALERS:
        losses = {one.c: one.log_loss for one in found.candidates if one.settings["scaling"] == scaling}
        tried = [GRID.index(c) for c in sorted(losses)]
        assert tried == list(range(tried[0], tried[-1] + 1)), "no penalty between two others is left out"
        for end, inner in ((0, 1), (-1, -2)):
            assert losses[GRID[tried[end]]] > 0.96 * losses[GRID[tried[inner]]], "no end is clearly better"
        assert len(tried) <= 3 + abs(GRID.index(min(losses, key=losses.__getitem__)) - GRID.index(DEFAULT_C))


def test_the_walk_ends_where_so_few_images_cannot_show_a_smaller_loss(clusters):
    rows = rows_of(*clusters(60, 3, spread=0.1))
    found = search_head("logreg", rows, HeadOptions())
    *before, chosen = sorted(one.log_loss for one in found.candidates if one.settings["scaling"] == "standardised")[
        ::-1
    ]
    assert chosen < 3 / 60 < min(before, default=np.inf)
    assert found.chosen.c < 10


def rows_better(scaling: str) -> TrainingRows:
    """Give 300 images whose classes are told by large features, as raw embeddings are better for; or by small ones."""
    rng, codes = np.random.default_rng(0), np.arange(300, dtype=np.int32) % 3
    scale = np.geomspace(1, 30, 64)
    signal = scale if scaling == "raw" else scale[::-1]
    points = scale * (rng.normal(0, 1, (300, 64)) + 0.5 * signal**2 / 900 * rng.normal(0, 1, (3, 64))[codes])
    return rows_of(points, codes)


@pytest.mark.parametrize("better", list(SCALERS))
def test_of_many_images_a_scaling_that_is_clearly_worse_is_tried_once(better, monkeypatch):
    monkeypatch.setattr(penalties, "MANY_ROWS", 300)
    found = search_head("logreg", rows_better(better), HeadOptions())
    assert found.chosen.settings["scaling"] == better
    assert [one.c for one in found.candidates if one.settings["scaling"] != better] == [DEFAULT_C]
    assert len(found.candidates) >= 3


@pytest.mark.parametrize("better", list(SCALERS))
def test_embeddings_are_scaled_as_their_loss_is_less(better):
    rows = rows_better(better)
    found = search_head("logreg", rows, HeadOptions())
    assert found.chosen.settings["scaling"] == better
    for scaling in SCALERS:
        alone = search_head("logreg", rows, HeadOptions(scaling=scaling))
        assert {candidate.settings["scaling"] for candidate in alone.candidates} == {scaling}
        assert alone.chosen.log_loss >= found.chosen.log_loss - 1e-3


def test_a_given_c_is_the_only_candidate(overlapping):
    found = search_head("logreg", overlapping(3), HeadOptions(c=0.5))
    assert [candidate.c for candidate in found.candidates] == [found.chosen.c] == [0.5]
    reason = "logreg with C = 0.5 on standardised embeddings has the log loss in 5-fold cross-validation: "
    assert found.reason.startswith(reason)
    assert not np.isnan(found.logits).any()


@pytest.mark.parametrize("is_linear", [True, False])
def test_auto_takes_the_head_with_the_lowest_loss(is_linear, overlapping):
    rows = overlapping(2)
    if not is_linear:  # a class in two opposite corners, which no straight line cuts off
        points = np.random.default_rng(0).normal(0, 1, (400, 16)) * [3, 3, *[1] * 14]
        rows = rows_of(points, ((points[:, 0] > 0) ^ (points[:, 1] > 0)).astype(np.int32))
    options = HeadOptions()
    found = search_head("auto", rows, options)
    assert {candidate.head for candidate in found.candidates} == set(HEADS)
    assert {one.chosen.head for one in found.contenders} == set(HEADS)
    assert found.calibrated_loss == min(one.calibrated_loss for one in found.contenders)
    assert (found.chosen.head == "mlp") == (not is_linear)
    again = search_head("auto", rows, options)
    assert (again.chosen, again.candidates, again.reason) == (found.chosen, found.candidates, found.reason)


def test_heads_are_compared_after_calibration(overlapping, monkeypatch):
    def alike(name, factor, noise):
        def search(kind, rows, options, ratio):
            logits = HEADS["logreg"].search(HEADS["logreg"], rows, options, ratio).logits
            logits = factor * (logits + np.random.default_rng(0).normal(0, noise, logits.shape))
            return Search.of_one(Candidate(kind.name, {}, *rows.judge(logits)), rows, logits)

        return replace(HEADS["logreg"], name=name, search=search)

    kinds = {kind.name: kind for kind in (alike("noisy", 1.0, 1.0), alike("unsure", 0.1, 0.0))}
    monkeypatch.setattr(headstart.classify.heads.search, "HEADS", kinds)
    found = search_head("auto", overlapping(3), HeadOptions())
    noisy = next(one for one in found.candidates if one.head == "noisy")
    assert found.chosen.head == "unsure"
    assert found.calibrated_loss < noisy.log_loss < found.chosen.log_loss


@pytest.mark.parametrize(("budget", "tried"), [(0.0, 1), (0.05, None), (None, 5)])
def test_heads_beyond_the_budget_are_named(budget, tried, overlapping):
    rows = overlapping(3)
    found = search_head("auto", rows, HeadOptions(budget=budget, hidden=(8,)))
    heads = [one.chosen.head for one in found.contenders]
    costs = [HEADS[name].cost(*rows.embeddings.shape, 3, HeadOptions(hidden=(8,))) for name in [*heads, *found.untried]]
    assert costs == sorted(costs)
    assert tried in (None, len(heads))
    assert sorted([*heads, *found.untried]) == sorted(HEADS)
    assert all(f"{name} (about " in found.reason for name in found.untried)


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("sampled", [90, 300])
@pytest.mark.parametrize(("dim", "scaling"), [(16, "standardised"), (400, "standardised"), (16, "raw"), (400, "raw")])
def test_the_fitted_head_is_that_of_scikit_learn(overlapping, monkeypatch, k, sampled, class_weight, dim, scaling):
    monkeypatch.setattr(headstart.classify.heads.search, "SEARCHED_ROWS", sampled)
    rows = overlapping(k)
    kept = np.flatnonzero((rows.labels != 1) | (np.arange(300) % 4 == 1))
    rows, options = rows.take(kept), HeadOptions(c=0.01, class_weight=class_weight, scaling=scaling)
    turned = np.random.default_rng(0).normal(0, 1, (16, dim)).astype(np.float32)
    noise = np.random.default_rng(1).normal(0, 1, (len(kept), dim)).astype(np.float32)
    rows = replace(rows, embeddings=rows.embeddings @ turned + noise)
    given = {} if class_weight == "none" else {"class_weight": "balanced"}
    points = rows.embeddings.astype(np.float64)
    scaler = SCALERS[scaling]().fit(points)
    expected = model_of(0.01, scaler.transform(points), rows.labels, **given)
    search, fitted, _ = fit_rows(rows, "logreg", options)
    head = fitted.pipeline
    assert len(search.images) == min(sampled, len(rows))
    assert type(head[0]) is type(scaler)
    assert head[0].mean_ == pytest.approx(scaler.mean_, abs=1e-3)
    assert head[0].scale_ == pytest.approx(scaler.scale_, rel=1e-3)
    assert head[-1].coef_.shape == expected.coef_.shape
    found = head.predict_proba(rows.embeddings)
    precision = 5e-3  # a fit to more rows than were searched may end sooner
    if sampled == 300:
        precision = 2e-3 if scaling == "standardised" else 3e-3
    assert found == pytest.approx(expected.predict_proba(scaler.transform(points)), abs=precision)


@pytest.mark.parametrize("head", ["logreg", "mlp"])
def test_of_many_images_a_sample_is_searched_that_holds_some_of_every_class(head, clusters, monkeypatch):
    monkeypatch.setattr(headstart.classify.heads.search, "SEARCHED_ROWS", 60)
    points, codes = clusters(300, 3)
    codes[:6], codes[6] = 3, 4
    rows = rows_of(points, codes)
    found = search_head(head, rows, HeadOptions(hidden=(8,)))
    assert np.array_equal(found.images, np.unique(found.images))
    assert np.array_equal(found.rows.embeddings, rows.embeddings[found.images])
    counts = np.bincount(found.rows.labels)
    assert (counts.sum(), counts.min(), counts[3]) == (60, 1, 6)
    assert found.logits.shape == (60, 5)
    assert np.isnan(found.logits).all(axis=1).tolist() == (found.rows.labels == 4).tolist()
    assert "cross-validation on a sample of 60 images: " in found.reason
    again, other = (search_head("logreg", rows, HeadOptions(seed=seed)).images for seed in (0, 1))
    assert np.array_equal(again, found.images)
    assert not np.array_equal(other, found.images)


@pytest.mark.parametrize("k", [2, 3])
def test_a_sample_is_penalised_as_all_images_would_be(overlapping, monkeypatch, k):
    monkeypatch.setattr(headstart.classify.heads.search, "SEARCHED_ROWS", 60)
    found = search_head("logreg", overlapping(k), HeadOptions(c=1e-3))
    points, codes = found.rows.embeddings, found.rows.labels
    scaled = StandardScaler().fit_transform(points)
    said = softmax(found.solution.fits.logits(found.solution.axes.project(points))[:, -1])
    assert said == pytest.approx(model_of(1e-3 * 300 / 60, scaled, codes).predict_proba(scaled), abs=0.01)
    assert np.abs(said - model_of(1e-3, scaled, codes).predict_proba(scaled)).max() > 0.05


@pytest.mark.parametrize("head", ["logreg", "svm"])
def test_of_a_large_sample_only_the_scaling_that_begins_best_is_searched_on(clusters, monkeypatch, head):
    monkeypatch.setattr(headstart.classify.heads.search, "SEARCHED_ROWS", 60)
    monkeypatch.setattr(penalties, "MANY_ROWS", 50)
    found = search_head(head, rows_of(*clusters(300, 3, spread=8.0)), HeadOptions())
    tried = Counter(candidate.settings["scaling"] for candidate in found.candidates)
    assert min(tried.values()) == 1
    assert tried[found.chosen.settings["scaling"]] == max(tried.values()) > 1


def test_no_class_is_missing_from_the_sample_however_many_there_are(monkeypatch):
    monkeypatch.setattr(headstart.classify.heads.search, "SEARCHED_ROWS", 100)
    codes = np.repeat(np.arange(40, dtype=np.int32), 12)
    rows = rows_of(np.random.default_rng(0).normal(0, 1, (480, 4)), codes)
    found = search_head("logreg", rows, HeadOptions(c=0.01))
    assert set(np.bincount(found.rows.labels, minlength=40)) == {2, 3}


def test_an_image_alone_in_its_class_is_never_held_out(clusters):
    points, codes = clusters(90, 3)
    codes[0] = 3
    found = search_head("logreg", rows_of(points, codes), HeadOptions())
    assert np.isnan(found.logits[0]).all()
    assert not np.isnan(found.logits[1:]).any()
    assert np.isfinite(found.chosen.log_loss)


def test_one_class_with_one_photo_costs_the_many_small_ones_no_folds_and_no_calibration():
    """Of many small classes, such a class once left 2 folds, and probabilities that were 10 points off."""
    rng, codes = np.random.default_rng(0), np.arange(1600, dtype=np.int32) % 50
    points = rng.normal(0, 1, (50, 64))[codes] + rng.normal(0, 0.9, (1600, 64))
    train = np.arange(1600) < 400
    rows = rows_of(np.concatenate([points[train], rng.normal(0, 1, (1, 64))]), np.append(codes[train], np.int32(50)))
    found, head, _ = fit_rows(rows, "logreg", HeadOptions())
    assert found.folds == 5
    assert [(rows.folds == fold).sum() for fold in range(-1, 5)] == [1, *[80] * 5]
    known = rows.folds >= 0
    temperature = fit_temperature(found.logits[known], rows.labels[known]).temperature
    probabilities = softmax(head.logits(points[~train].astype(np.float32)) / temperature)
    assert reliability(probabilities, codes[~train]).error < 0.05


@pytest.mark.parametrize(
    ("head", "c", "chosen"),
    [
        ("logreg", None, ("logreg", DEFAULT_C)),
        ("logreg", 3.0, ("logreg", 3.0)),
        ("auto", None, ("logreg", DEFAULT_C)),
        ("mlp", None, ("mlp", None)),
    ],
)
def test_where_no_class_has_two_images_nothing_is_searched(clusters, head, c, chosen):
    points, codes = clusters(3, 3)
    rows = rows_of(points, codes)
    found = search_head(head, rows, HeadOptions(c=c))
    assert (found.chosen.head, found.chosen.c) == chosen
    assert (found.candidates, found.folds) == ([], 0)
    assert found.reason == "no class has two different images to compare settings on"
    assert np.isnan(found.logits).all()
