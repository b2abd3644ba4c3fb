"""Heads trained by passes over a store, as where the embeddings do not fit in memory."""

import numpy as np
import pytest

from headstart.classify import HeadOptions, train
from headstart.classify.errors import HeadError
from headstart.classify.heads.fitting import FitPlan, bytes_needed, fit
from headstart.classify.split.holdout import split_rows

pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture
def small(monkeypatch):
    """Make samples and blocks so small that 600 images are many."""
    monkeypatch.setattr("headstart.classify.heads.search.SEARCHED_ROWS", 200)
    monkeypatch.setattr("headstart.classify.heads.fitting.BLOCK_BYTES", 4 * 16 * 50)
    monkeypatch.setattr("headstart.classify.heads.fitting.MOST_JUDGED", 70)


@pytest.fixture
def store(make_store):
    """600 images of three classes that overlap, one of them rare."""
    rng = np.random.default_rng(0)
    codes = np.minimum(rng.integers(0, 5, 600), 2)
    codes = np.where(codes == 1, 0, codes)
    codes[:60] = 1
    points = rng.normal(0, 1, (3, 16))[codes] + rng.normal(0, 1.2, (600, 16))
    return make_store([("ash", "fir", "oak")[code] for code in codes], (points * 3 + 5).astype(np.float32))


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_the_fit_is_that_of_memory(store, class_weight):
    split = split_rows(store)
    options = HeadOptions(c=0.01, class_weight=class_weight)
    streamed, expected = (fit(store, split, FitPlan("logreg", options, memory)).head.pipeline for memory in (1, 1e9))
    test = store.embeddings(split.test)
    assert streamed.predict_proba(test) == pytest.approx(expected.predict_proba(test), abs=0.05)
    right = store.labels[split.test]
    losses = [-np.log(head.predict_proba(test)[np.arange(len(test)), right]).mean() for head in (streamed, expected)]
    assert losses[0] == pytest.approx(losses[1], rel=0.03)  # 200 images tell the scale of a feature to a few percent


def test_too_little_memory_is_told_and_the_classifier_is_whole(store, tmp_path):
    needed = bytes_needed(store, split_rows(store))
    streamed = train(store, tmp_path / "streamed.onnx", memory=needed - 1)
    whole = train(store, tmp_path / "whole.onnx", memory=needed)
    assert any("by passes over the store" in warning for warning in streamed.warnings)
    assert any("a random sample of 70 of " in warning for warning in streamed.warnings)
    assert not any("passes" in warning for warning in whole.warnings)
    assert streamed.trained_images == whole.trained_images
    assert streamed.evaluation.images == 70 < whole.evaluation.images
    assert streamed.calibration is not None
    assert streamed.unknown is not None
    points = store.embeddings()
    answers = [result.classifier.predictions(points)[:, :3].argmax(axis=1) for result in (streamed, whole)]
    assert (answers[0] == answers[1]).mean() > 0.97
    assert streamed.search.chosen.c is not None


def test_near_copies_want_memory(store, tmp_path):
    result = train(store, tmp_path / "a.onnx", memory=1)
    assert np.isnan(result.duplicates.threshold)
    assert any("near-duplicates were not searched for" in warning for warning in result.warnings)


def test_a_network_is_not_streamed(store, tmp_path):
    with pytest.raises(HeadError, match=r"head 'mlp' needs all embeddings in memory"):
        train(store, tmp_path / "a.onnx", head="mlp", memory=1)
    assert not (tmp_path / "a.onnx").exists()


def test_the_sample_that_is_evaluated_has_every_class(store):
    fitted = fit(store, split_rows(store), FitPlan("logreg", HeadOptions(), 1))
    assert len(fitted.split.test) == 70
    assert set(store.labels[fitted.split.test]) == {0, 1, 2}


def test_the_sample_to_evaluate_on_has_the_classes_shares(store):
    split = split_rows(store)
    found = [fit(store, split, FitPlan("logreg", HeadOptions(c=0.01, seed=seed), 1)).split.test for seed in range(5)]
    rare = [float((store.labels[test] == 1).mean()) for test in found]
    assert np.mean(rare) == pytest.approx((store.labels[split.test] == 1).mean(), abs=0.03)
    assert len({tuple(test) for test in found}) == 5
