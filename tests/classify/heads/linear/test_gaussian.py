"""The heads `lda` and `prototype`, compared with scikit-learn."""

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestCentroid
from sklearn.preprocessing import StandardScaler

from headstart.classify.errors import HeadError
from headstart.classify.heads.candidate import Search
from headstart.classify.heads.layers import FittedHead
from headstart.classify.heads.linear.discriminant import SEPARATION
from headstart.classify.heads.linear.gaussian import GRID, stronger
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import HEADS, to_layers
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.heads.search import search_head
from headstart.classify.split.folds import draw_folds


@pytest.fixture
def draw(clusters):
    """Draw unequal classes in d dimensions that cannot quite be told apart."""

    def of(n: int, d: int, k: int) -> TrainingRows:
        points, codes = clusters(2 * n, k, spread=4.0)
        kept = np.flatnonzero((codes > 0) | (np.arange(2 * n) % 3 == 0))[:n]
        turned = np.random.default_rng(0).normal(0, 1, (16, d))
        noise = np.random.default_rng(1).normal(3, 1, (n, d))
        embeddings = (points[kept] @ turned * np.exp(np.linspace(-1, 1, d)) + noise).astype(np.float32)
        folds = draw_folds(codes[kept], np.random.default_rng(2).random(n))
        return TrainingRows(embeddings, codes[kept], folds, k)

    return of


def fitted(name: str, rows: TrainingRows, **options) -> tuple[Search, FittedHead, HeadOptions]:
    chosen = HeadOptions(**options)
    search = search_head(name, rows, chosen)
    chosen = HeadOptions(**options | dict(search.chosen.settings))
    return search, HEADS[name].fit(HEADS[name], search, rows, chosen), chosen


def relative(scores: np.ndarray) -> np.ndarray:
    """Give scores relative to those of the first class, divided by their spread."""
    differences = scores - scores[:, :1]
    return differences / differences.std()


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
@pytest.mark.parametrize("scaling", ["raw", "standardised"])
@pytest.mark.parametrize("shrinkage", [0.03, 0.7, 1.0])
@pytest.mark.parametrize(("n", "d", "k"), [(200, 20, 2), (200, 20, 3), (60, 90, 3)])
def test_lda_has_the_scores_of_scikit_learn_times_a_factor(draw, n, d, k, shrinkage, scaling, class_weight):
    rows = draw(n, d, k)
    search, head, _ = fitted("lda", rows, shrinkage=shrinkage, scaling=scaling, class_weight=class_weight)
    [layer] = [layer.uncentred() for layer in head.layers]
    scaled = StandardScaler(with_std=scaling == "standardised").fit(rows.embeddings.astype(np.float64))
    if scaling == "standardised" and n < 100:
        scaled.scale_ = head.pipeline[0].scale_  # shrunk, as there are few rows
    counts = np.bincount(rows.labels) / n
    priors = counts if class_weight == "none" else np.full(k, 1 / k)
    expected = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage, priors=priors)
    expected.fit(scaled.transform(rows.embeddings.astype(np.float64)), rows.labels)
    scores = scaled.transform(rows.embeddings.astype(np.float64)) @ expected.coef_.T + expected.intercept_
    if k == 2:
        scores = np.column_stack([np.zeros(n), scores])
        scores -= np.log(priors[1] / priors[0]) * np.array([0, 1])
    else:
        scores -= np.log(priors)
    found = head.logits(rows.embeddings) - np.log(priors)
    assert relative(found) == pytest.approx(relative(scores), abs=2e-4)
    assert search.solution > 0
    assert layer.weights.shape == (d, k)


@pytest.mark.parametrize("k", [2, 4])
def test_out_of_fold_scores_are_those_of_fits_to_the_other_folds(draw, k):
    rows = draw(150, 12, k)
    search, _, _ = fitted("lda", rows, shrinkage=0.3, scaling="raw")
    for fold in range(5):
        held_out = rows.folds == fold
        share = np.bincount(rows.labels[~held_out], minlength=k) / (~held_out).sum()
        one = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.3)
        one.fit(rows.embeddings[~held_out].astype(np.float64), rows.labels[~held_out])
        scores = rows.embeddings[held_out] @ np.atleast_2d(one.coef_).T + one.intercept_
        scores = np.column_stack([np.zeros(len(scores)), scores]) if k == 2 else scores
        offsets = np.log(share / share[0]) if k == 2 else np.log(share)
        expected, found = relative(scores - offsets), relative(search.logits[held_out] - np.log(share))
        assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("scaling", ["raw", "standardised"])
def test_prototype_labels_are_those_of_scikit_learn(draw, scaling):
    rows = draw(200, 20, 3)
    _, head, _ = fitted("prototype", rows, scaling=scaling, class_weight="balanced")
    scaled = StandardScaler(with_std=scaling == "standardised").fit_transform(rows.embeddings)
    nearest = NearestCentroid().fit(scaled, rows.labels).predict(scaled)
    assert head.logits(rows.embeddings).argmax(axis=1).tolist() == nearest.tolist()


@pytest.mark.parametrize("name", ["lda", "prototype", "svm"])
@pytest.mark.parametrize("k", [2, 3])
def test_the_pipeline_is_made_of_what_was_fitted(draw, name, k):
    rows = draw(120, 20, k)
    _, head, _ = fitted(name, rows)
    layers = FittedHead(to_layers(head.pipeline), lambda: None)
    differences = [one.logits(rows.embeddings) for one in (head, layers)]
    first, second = (logits - logits[:, :1] for logits in differences)
    assert first == pytest.approx(second, abs=1e-4)
    assert head.pipeline.predict(rows.embeddings).tolist() == first.argmax(axis=1).tolist()


@pytest.mark.parametrize("name", ["lda", "prototype"])
def test_one_photo_per_class_is_enough(name):
    embeddings = np.random.default_rng(0).normal(0, 1, (3, 30)).astype(np.float32)
    rows = TrainingRows(embeddings, np.arange(3, dtype=np.int32), np.full(3, -1), 3)
    _, head, _ = fitted(name, rows)
    logits = head.logits(embeddings)
    assert logits.argmax(axis=1).tolist() == [0, 1, 2]
    # Twice the distance from a mean to another, halved: what the factor makes of it, on average over pairs.
    gaps = np.diag(logits)[:, None] - logits
    assert gaps.sum() / 6 == pytest.approx(SEPARATION / 2, rel=1e-3)


@pytest.mark.parametrize("name", ["lda", "prototype"])
def test_blocks_give_the_head_that_rows_in_memory_do(draw, name):
    rows = draw(150, 20, 3)
    search, head, options = fitted(name, rows)

    def blocks():
        for start in range(0, 150, 40):
            yield slice(start, min(start + 40, 150)), rows.embeddings[start : start + 40]

    streamed = HEADS[name].fit_blocks(search, blocks, rows.labels, options)
    assert streamed.logits(rows.embeddings) == pytest.approx(head.logits(rows.embeddings), abs=1e-4)


def test_the_search_goes_on_until_the_loss_rises(draw):
    candidates = search_head("lda", draw(200, 20, 3), HeadOptions()).candidates
    best = min(candidates, key=lambda one: one.log_loss).settings
    tried = {GRID.index(one.settings["shrinkage"]) for one in candidates if one.settings["scaling"] == best["scaling"]}
    number = GRID.index(best["shrinkage"])
    assert {number - 1, number + 1} & set(range(len(GRID))) <= tried
    assert {one.settings["scaling"] for one in candidates} == {"raw", "standardised"}


@pytest.mark.parametrize(("n", "d"), [(60, 90), (200, 20)])
def test_a_covariance_that_cannot_be_inverted_is_an_error_that_says_what_to_do(draw, n, d):
    rows = draw(n, d, 3)
    rows.embeddings[:, 1] = rows.embeddings[:, 0]
    with pytest.raises(HeadError, match=r"cannot be inverted with a shrinkage of 0, .*; use more"):
        search_head("lda", rows, HeadOptions(shrinkage=0.0))


@pytest.mark.parametrize("shrinkage", [0.0, 0.2, 1.0])
def test_a_sample_is_shrunk_by_odds_as_many_times_as_high_as_there_are_more_rows(shrinkage):
    assert stronger(shrinkage, 1) == shrinkage
    assert stronger(shrinkage, 4) == pytest.approx(4 * shrinkage / (1 + 3 * shrinkage))
