import json

import numpy as np
import pytest

from headstart.classify import evaluate, read_classifier, train
from headstart.classify.confidence.precision import ClassThreshold
from headstart.classify.evaluation.intervals import share_interval
from headstart.classify.evaluation.metrics import evaluate_probabilities
from headstart.classify.evaluation.thresholds import threshold_figures

THRESHOLD = ClassThreshold(0.9, 0.7, 100.0, 99.0, 0.95)


def evaluated(thresholds):
    shares = np.array([0.9, 0.8, 0.7, 0.6, 0.8, 0.1, 0.2])
    probabilities = np.stack([shares, 1 - shares, 0 * shares], axis=1)
    labels = np.array([0, 0, 1, 0, 0, 0, 1], np.int32)
    return evaluate_probabilities(probabilities, labels, ["a", "b", "c"], [""] * 7, np.arange(7), thresholds)


def test_answers_from_the_threshold_on_are_counted():
    [found] = evaluated({"a": THRESHOLD}).thresholds
    assert (found.name, found.target, found.probability) == ("a", 0.9, 0.7)
    assert (found.predictions, found.answers) == (5, 4)
    assert found.precision == 0.75
    assert found.precision_interval == share_interval(np.array([True, True, False, True]), np.arange(4))
    assert found.coverage == 3 / 5, "of the five images of a, one is predicted as b and one is below the threshold"


def test_a_class_without_images_or_answers_has_null_in_json():
    found = evaluated({"c": THRESHOLD}).to_json()["thresholds"]
    assert json.loads(json.dumps(found)) == [
        {
            "name": "c", "target": 0.9, "probability": 0.7, "predictions": 0, "answers": 0, "precision": None,
            "precision_interval": None, "coverage": None,
        }
    ]  # fmt: skip
    assert evaluated({}).thresholds == []


def test_a_training_and_a_later_evaluation_find_the_same(clustered, tmp_path):
    store = clustered(300, spread=5.0)
    result = train(store, tmp_path / "c.onnx", precision={"ash": 0.6, "all": 0.7})
    assert list(result.thresholds) == ["ash", "birch", "cedar"]
    assert [one.target for one in result.evaluation.thresholds] == [0.6, 0.7, 0.7]
    assert any(one.answers < one.predictions for one in result.evaluation.thresholds)
    assert read_classifier(result.path).class_thresholds == result.thresholds
    for one, other in zip(result.evaluation.thresholds, evaluate(store, result.path).thresholds, strict=True):
        assert (one.name, one.answers, one.precision) == (other.name, other.answers, other.precision)
    broken = train(store, tmp_path / "d.onnx", precision={"ash": 0.99})
    assert any("cannot be promised for 1 of 1 classes: 'ash' (0.99: at best" in text for text in broken.warnings)


def test_classes_without_a_threshold_are_not_listed(clustered, tmp_path):
    result = train(clustered(), tmp_path / "c.onnx", precision={"birch": 0.6})
    assert [one.name for one in result.evaluation.thresholds] == ["birch"]


@pytest.mark.parametrize("options", [{"folds": 3}, {"refit": True}])
def test_the_file_has_thresholds_of_its_own_head_and_the_figures_are_of_heads_that_saw_no_image(
    clustered, tmp_path, options
):
    store = clustered(300, spread=5.0)
    result = train(store, tmp_path / "c.onnx", precision={"all": 0.7}, **options)
    assert read_classifier(result.path).class_thresholds == result.thresholds
    held_out = train(store, tmp_path / "d.onnx", precision={"all": 0.7})
    assert result.thresholds != held_out.thresholds, "they were chosen on more images"
    found = result.evaluation.thresholds
    assert [one.probability for one in found] == [one.probability for one in result.thresholds.values()]
    assert sum(one.predictions for one in found) == result.evaluation.images
    if "refit" in options:
        assert [one.answers for one in found] == [one.answers for one in held_out.evaluation.thresholds]


def test_each_fold_answers_from_its_own_threshold_on():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.8, 0.2]])
    answered = np.array([True, True, False])
    labels = np.array([0, 1, 0], np.int32)
    [found] = threshold_figures(probabilities, labels, ["a", "b"], {"a": THRESHOLD}, answered=answered)
    assert (found.predictions, found.answers, found.precision, found.coverage) == (3, 2, 0.5, 0.5)
