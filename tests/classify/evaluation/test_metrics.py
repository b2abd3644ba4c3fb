import json
import math

import numpy as np
import pytest
from sklearn import metrics

from headstart.classify.evaluation.metrics import evaluate_probabilities


def strict(text: str):
    """Parse JSON strictly, without NaN."""

    def refuse(constant: str):
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def evaluated():
    """40 evaluated rows of 4 classes, about half of them wrong."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 40).astype(np.int32)
    raw = rng.random((40, 4)) + 0.4 * np.eye(4)[labels]
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    return (
        probabilities,
        labels,
        evaluate_probabilities(probabilities, labels, list("abcd"), [f"{row}.jpg" for row in range(40)]),
    )


def test_the_metrics_are_those_of_scikit_learn(evaluated):
    probabilities, labels, found = evaluated
    predicted = probabilities.argmax(axis=1)
    assert 0.3 < found.accuracy < 0.9
    assert found.images == 40
    assert found.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert found.log_loss == pytest.approx(metrics.log_loss(labels, probabilities))
    assert np.array_equal(found.confusion, metrics.confusion_matrix(labels, predicted))
    precision, recall, f1, support = metrics.precision_recall_fscore_support(labels, predicted)
    assert [figures.precision for figures in found.classes] == pytest.approx(precision)
    assert [figures.recall for figures in found.classes] == pytest.approx(recall)
    assert [figures.f1 for figures in found.classes] == pytest.approx(f1)
    assert [(figures.name, figures.images) for figures in found.classes] == list(zip("abcd", support, strict=True))


def test_mistakes_are_sorted_by_confidence(evaluated):
    probabilities, labels, found = evaluated
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    assert {mistake.path for mistake in found.mistakes} == {f"{row}.jpg" for row in wrong}
    confidence = [mistake.probability for mistake in found.mistakes]
    assert confidence == sorted(confidence, reverse=True)
    for mistake in found.mistakes:
        row = int(mistake.path.removesuffix(".jpg"))
        assert mistake.label == "abcd"[labels[row]]
        assert mistake.predicted == "abcd"[probabilities[row].argmax()]


def test_the_interval_the_majority_class_and_the_calibration_are_measured(evaluated):
    probabilities, labels, found = evaluated
    low, high = found.accuracy_interval
    assert 0 < low < found.accuracy < high < 1
    assert 0.2 < high - low < 0.4
    assert found.majority == np.bincount(labels).max() / 40
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    assert found.reliability.count.sum() == 40
    assert np.nansum(found.reliability.confidence * found.reliability.count) == pytest.approx(confidence.sum())
    assert np.nansum(found.reliability.accuracy * found.reliability.count) == right.sum()
    plain = strict(json.dumps(found.to_json()))
    assert plain["calibration_error"] == found.reliability.error > 0
    assert plain["accuracy_interval"] == [low, high]
    assert (plain["majority"], plain["untrained"]) == (found.majority, None)
    assert not {"rows", "probabilities", "reliability"} & set(plain)


def test_all_correct_is_still_not_certain():
    found = evaluate_probabilities(np.eye(2)[[0, 1] * 6], np.array([0, 1] * 6, np.int32), ["a", "b"], [""] * 12)
    assert found.accuracy == 1
    assert found.accuracy_interval == pytest.approx((0.757, 1), abs=1e-3)


def test_a_certain_mistake_has_a_large_but_finite_log_loss():
    found = evaluate_probabilities(np.array([[1.0, 0.0]]), np.array([1], np.int32), ["a", "b"], ["x"])
    assert 700 < found.log_loss < math.inf


def test_a_class_without_images_has_nan_and_json_null():
    found = evaluate_probabilities(np.array([[0.9, 0.1]]), np.array([0], np.int32), ["a", "b"], ["x"])
    assert (found.classes[0].precision, found.classes[0].recall) == (1, 1)
    assert math.isnan(found.classes[1].precision)
    assert math.isnan(found.classes[1].recall)
    plain = strict(json.dumps(found.to_json()))
    assert plain["classes"][1].pop("name") == "b"
    assert plain["classes"][1].pop("images") == 0
    assert set(plain["classes"][1].values()) == {None}
    assert plain["confusion"] == [[1, 0], [0, 0]]
