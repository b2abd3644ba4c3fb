from dataclasses import replace

import numpy as np
import pytest

from headstart.classify.evaluation.metrics import evaluate_rows
from headstart.classify.evaluation.warnings import find_warnings
from headstart.classify.heads.options import HeadOptions
from headstart.classify.split.duplicates import find_duplicates
from headstart.classify.split.holdout import split_rows


def warnings_of(
    store, right: float = 1.0, *, untrained: float | None = None, is_trained: bool = True, threshold=1.0, **options
) -> list[str]:
    """List the warnings about a store, with this share of its test images classified correctly."""
    duplicates = replace(find_duplicates(store, near=False), threshold=threshold)
    split = split_rows(store, groups=duplicates.group_of_rows(len(store)))
    labels, k = store.labels[split.test], len(store.classes)
    wrong = np.arange(len(labels)) >= right * len(labels)
    probabilities = np.full((len(labels), k), 0.1 / (k - 1))
    probabilities[np.arange(len(labels)), (labels + wrong) % k] = 0.9
    evaluation = replace(evaluate_rows(store, probabilities, split.test, store.classes), untrained=untrained)
    return find_warnings(store, split, evaluation, duplicates, HeadOptions(**options), is_trained)


def test_plenty_of_good_images_cause_no_warning(clustered):
    assert warnings_of(clustered(300)) == []
    assert warnings_of(clustered(300), untrained=0.4) == []


def test_a_skipped_search_for_near_duplicates_is_a_warning(clustered):
    text = (
        "near-duplicates were not searched for, because memory is short: training and evaluation images may be "
        "near-duplicates of each other"
    )
    assert warnings_of(clustered(300), threshold=float("nan")) == [text]
    assert text not in warnings_of(clustered(19), threshold=float("nan"))


def test_untrained_weights_are_a_baseline(clustered):
    assert warnings_of(clustered(300), is_trained=False) == [
        "the backbone's weights are untrained: use this only as a baseline"
    ]


@pytest.mark.parametrize(("right", "warned"), [(0.3, True), (0.4, True), (0.6, False)])
def test_an_accuracy_no_better_than_the_majority_class_is_a_warning(clustered, right, warned):
    found = warnings_of(clustered(300), right)
    assert [" is hardly better than always predicting the most common class (0.333)" in one for one in found] == [
        True
    ] * warned
    if warned:
        assert found[0].startswith(f"accuracy {right:.3f} (95 % interval 0.")


@pytest.mark.parametrize(("untrained", "warned"), [(0.4, False), (0.75, True), (0.9, True)])
def test_an_accuracy_no_better_than_an_untrained_backbone_is_a_warning(clustered, untrained, warned):
    found = warnings_of(clustered(300), 0.8, untrained=untrained)
    assert [f"hardly better than with an untrained backbone ({untrained:.3f})" in one for one in found] == [
        True
    ] * warned


def test_classes_with_few_test_images_are_named_the_smallest_first(make_store):
    sizes = {"ash": 100, "birch": 45, "cedar": 20, "fir": 45, "oak": 50, "elm": 10, "yew": 11, "fig": 12, "hazel": 25}
    found = warnings_of(
        make_store([name for name, size in sizes.items() for _ in range(size)]), class_weight="balanced"
    )
    assert found == [
        "too few test images to evaluate 7 of 9 classes: 'elm' (2), 'fig' (2), 'yew' (2), 'cedar' (4), 'hazel' (5) and "
        "2 more; with fewer than 10, one image moves the recall by 10% or more"
    ]


@pytest.mark.parametrize(
    ("rare", "class_weight", "warned"), [(50, "none", True), (52, "none", False), (50, "balanced", False)]
)
def test_imbalance_is_a_warning_if_nothing_is_done_about_it(make_store, rare, class_weight, warned):
    splits = ["train"] * (500 + rare) + ["val"] * 20
    store = make_store([*["ash"] * 500, *["birch"] * rare, *["ash", "birch"] * 10], splits=splits)
    found = warnings_of(store, class_weight=class_weight)
    assert (
        found
        == [
            "class 'ash' has 500 training images, 'birch' only 50: rare classes will be predicted too rarely; try "
            "--class-weight balanced, or add images"
        ]
        * warned
    )


def test_duplicates_with_two_labels_are_a_warning(make_store):
    contents = [*range(120), 0, 2, 1]
    found = warnings_of(make_store([*["ash", "birch"] * 60, "birch", "birch", "birch"], contents=contents))
    assert found == ["2 images have duplicates with another label; check them, and remove one of each"]


def test_contradictions_in_the_users_split_are_a_warning(make_store):
    splits = ["train"] * 60 + ["val"] * 62
    found = warnings_of(make_store(["ash", "birch"] * 61, contents=[*range(120), 61, 63], splits=splits))
    assert found == [
        "1 images have duplicates with another label; check them, and remove one of each",
        "2 images of the split were left out of the evaluation, because identical files have another label; check "
        "which label is right",
    ]


def test_duplicates_in_two_splits_are_a_warning(make_store):
    contents, splits = [*range(100), 80, 80, 81, 0], ["train"] * 60 + ["val"] * 40 + ["train"] * 4
    found = warnings_of(
        make_store([*["ash", "birch"] * 50, "ash", "ash", "birch", "ash"], contents=contents, splits=splits)
    )
    assert found == [
        "3 training images were left out, because val or test has duplicates of them "
        "(2 images are in more than one split)"
    ]
