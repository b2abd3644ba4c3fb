import math

import numpy as np
import pytest
from sklearn import metrics

from headstart.classify.evaluation.class_figures import ranking_areas
from headstart.classify.evaluation.intervals import share_interval
from headstart.classify.evaluation.metrics import evaluate_probabilities


def drawn(seed: int, k: int, places: int = 17, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Draw probabilities, (n, k), and labels; with few decimal places, many are equal, and rare classes are missing."""
    rng = np.random.default_rng(seed)
    labels = np.minimum(rng.geometric(1.4 / k, n) - 1, k - 1).astype(np.int32)
    raw = np.round(rng.random((n, k)) + 0.3 * np.eye(k)[labels], places)
    return raw / raw.sum(axis=1, keepdims=True).max(), labels


def evaluated(probabilities, labels, groups=None):
    k = probabilities.shape[1]
    return evaluate_probabilities(probabilities, labels, [f"c{code}" for code in range(k)], [""] * len(labels), groups)


@pytest.mark.filterwarnings("ignore:::sklearn")  # about classes without an image or a prediction
@pytest.mark.parametrize("places", [17, 1, 0])
@pytest.mark.parametrize("k", [2, 3, 7, 30])
@pytest.mark.parametrize("seed", range(3))
def test_every_figure_is_scikit_learns(seed, k, places):
    probabilities, labels = drawn(seed, k, places)
    found, predicted = evaluated(probabilities, labels), probabilities.argmax(axis=1)
    assert found.macro_f1 == pytest.approx(metrics.f1_score(labels, predicted, average="macro"))
    assert found.balanced_accuracy == pytest.approx(metrics.balanced_accuracy_score(labels, predicted))
    expected = metrics.precision_recall_fscore_support(labels, predicted, labels=range(k), zero_division=np.nan)
    for name, values in zip(("precision", "recall", "f1"), expected, strict=False):
        assert [getattr(one, name) for one in found.classes] == pytest.approx(values, nan_ok=True)
    for code, one in enumerate(found.classes):
        is_class, scores = labels == code, probabilities[:, code]
        if is_class.any():
            assert one.roc_auc == pytest.approx(metrics.roc_auc_score(is_class, scores))
            assert one.pr_auc == pytest.approx(metrics.average_precision_score(is_class, scores))
        else:
            assert math.isnan(one.roc_auc)
            assert math.isnan(one.pr_auc)


@pytest.mark.parametrize("places", [17, 1])
@pytest.mark.parametrize("k", [6, 30])
def test_top_5_is_scikit_learns_with_the_first_of_equal_classes_first(k, places):
    probabilities, labels = drawn(0, k, places)
    expected = metrics.top_k_accuracy_score(k - 1 - labels, probabilities[:, ::-1], k=5, labels=range(k))
    found = evaluated(probabilities, labels)
    assert found.accuracy < found.top_5_accuracy == pytest.approx(expected)
    low, high = found.top_5_accuracy_interval
    assert low < found.top_5_accuracy < high


@pytest.mark.parametrize("k", [2, 5])
def test_top_5_of_five_classes_says_nothing(k):
    found = evaluated(*drawn(0, k))
    assert (found.top_5_accuracy, found.top_5_accuracy_interval) == (None, None)


def test_a_class_that_all_images_belong_to_cannot_be_ranked():
    roc_auc, pr_auc = ranking_areas(np.array([0.2, 0.9]), np.array([True, True]))
    assert math.isnan(roc_auc)
    assert pr_auc == 1


def test_constant_scores_rank_by_chance():
    assert ranking_areas(np.full(8, 0.5), np.arange(8) < 2) == (0.5, 0.25)


def test_precision_and_recall_have_intervals_that_know_of_duplicates():
    probabilities, labels = drawn(0, 3)
    predicted, groups = probabilities.argmax(axis=1), np.arange(60) // 2
    for one, wide in zip(
        evaluated(probabilities, labels).classes, evaluated(probabilities, labels, groups).classes, strict=True
    ):
        code = int(one.name[1:])
        assert one.recall_interval == share_interval(predicted[labels == code] == code)
        assert one.precision_interval == share_interval(labels[predicted == code] == code)
        (low, high), (wide_low, wide_high) = one.recall_interval, wide.recall_interval
        assert wide_low < low < one.recall < high < wide_high
