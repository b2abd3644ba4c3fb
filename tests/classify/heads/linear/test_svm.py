"""The head `svm`, compared with scikit-learn."""

from contextlib import suppress
from unittest import SkipTest

import numpy as np
import pytest
from sklearn.svm import LinearSVC
from sklearn.utils.estimator_checks import parametrize_with_checks

from headstart.classify.heads.linear.estimators import INTERCEPT_SCALING, SoftmaxSVC
from headstart.classify.heads.loss import likeliest_factor, softmax
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import HEADS
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.heads.search import search_head
from headstart.classify.split.folds import draw_folds


@pytest.fixture
def draw(clusters):
    """Draw classes that cannot quite be told apart."""

    def of(n: int, k: int) -> TrainingRows:
        points, codes = clusters(n, k, spread=4.0)
        return TrainingRows(points, codes, draw_folds(codes, np.random.default_rng(2).random(n)), k)

    return of


def margins_of(rows: TrainingRows, options: HeadOptions) -> np.ndarray:
    scaled = (rows.embeddings - rows.embeddings.mean(axis=0)) / rows.embeddings.std(axis=0)
    svc = LinearSVC(C=options.c, intercept_scaling=INTERCEPT_SCALING, tol=1e-8, max_iter=100_000)
    svc.fit(scaled, rows.labels, sample_weight=options.row_weights(rows.labels, rows.classes))
    margins = svc.decision_function(scaled)
    margins = np.column_stack([-margins, margins]) if margins.ndim == 1 else margins
    return margins - margins.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
@pytest.mark.parametrize(("n", "k"), [(200, 2), (200, 4), (90, 3)])
@pytest.mark.parametrize("c", [1e-3, 0.1])
def test_its_margins_are_those_of_scikit_learn(draw, n, k, c, class_weight):
    rows = draw(n, k)
    rows = rows.take(np.flatnonzero((rows.labels > 0) | (np.arange(n) % 3 == 0)))
    options = HeadOptions(c=c, class_weight=class_weight, scaling="standardised")
    search = search_head("svm", rows, options)
    head = HEADS["svm"].fit(HEADS["svm"], search, rows, options)
    expected = margins_of(rows, options)
    if len(rows) >= 100:  # of fewer, the deviations are shrunk
        assert head.logits(rows.embeddings) / search.solution.factor == pytest.approx(expected, abs=0.02)
    assert head.pipeline.predict_proba(rows.embeddings) == pytest.approx(
        softmax(head.logits(rows.embeddings)), abs=1e-5
    )


def test_its_factor_makes_the_labels_out_of_fold_likeliest(draw):
    rows = draw(200, 3)
    search = search_head("svm", rows, HeadOptions())
    again = likeliest_factor(search.logits, rows.labels, 0.0, spread=100.0)
    assert again == pytest.approx(1, abs=0.05)
    assert search.chosen.log_loss == min(candidate.log_loss for candidate in search.candidates)


def test_sets_and_blocks_give_the_same_head_as_rows_in_memory(draw):
    rows, kind = draw(200, 3), HEADS["svm"]
    search = search_head("svm", rows, HeadOptions())
    options = HeadOptions(**search.chosen.settings)
    head = kind.fit(kind, search, rows, options).logits(rows.embeddings)

    def blocks():
        for start in (0, 128):
            yield slice(start, min(start + 128, 200)), rows.embeddings[start : start + 128]

    streamed = kind.fit_blocks(search, blocks, rows.labels, options)
    few, every = kind.fit_sets(kind, search, [np.arange(200) < 60, np.ones(200, bool)], options)
    assert streamed.logits(rows.embeddings) == pytest.approx(head, abs=0.05)
    assert every.logits(rows.embeddings) == pytest.approx(head, abs=0.05)
    assert np.abs(few.logits(rows.embeddings) - head).max() > 0.1


SOLVER = {"check_sample_weight_equivalence_on_dense_data": "liblinear stops at its tolerance, as for LinearSVC itself"}


@parametrize_with_checks([SoftmaxSVC()], expected_failed_checks=lambda _: SOLVER)
def test_its_classifier_is_one_of_scikit_learn(estimator, check):
    with suppress(SkipTest):  # one is about SCIPY_ARRAY_API
        check(estimator)
