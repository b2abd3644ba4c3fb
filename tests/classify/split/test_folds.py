import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.classify.heads.rows import TrainingRows
from headstart.classify.split.folds import (
    ALWAYS_TRAINED,
    draw_folds,
    is_contradictory,
    rank_within_class,
    spread_over_classes,
)

SIZES = {0: 50, 1: 23, 2: 7}


def drawn(labels) -> np.ndarray:
    return np.random.default_rng(0).random(len(labels))


@pytest.fixture
def labels() -> np.ndarray:
    return np.repeat(np.array(list(SIZES), np.int32), list(SIZES.values()))


def test_folds_share_each_class_alike(labels):
    folds = draw_folds(labels, drawn(labels))
    for code, size in SIZES.items():
        counts = np.bincount(folds[labels == code])
        assert len(counts) == 5
        assert counts.sum() == size
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("rare", [[2], [3, 2], [1, 2, 2, 2]])
@pytest.mark.parametrize("most", [5, 10])
def test_rare_classes_leave_the_number_of_folds_as_it_is(rare, most):
    labels = np.repeat(np.arange(len(rare) + 1, dtype=np.int32), [400, *rare])
    folds = draw_folds(labels, drawn(labels), most)
    sizes = np.bincount(folds[folds >= 0])
    assert len(sizes) == most
    assert sizes.max() - sizes.min() <= 1
    for code in range(len(rare) + 1):
        assert (folds[labels == code] == -1).all() == ((labels == code).sum() == 1)
        assert all((folds[labels == code] != fold).any() for fold in range(most))


def test_a_class_of_one_image_is_never_held_out_and_hinders_no_other():
    labels = np.array([0] * 10 + [1] * 10 + [2, 2], np.int32)
    draws = drawn(labels)
    draws[-1] = draws[-2]  # a copy is no second image
    folds = draw_folds(labels, draws)
    assert folds[-2:].tolist() == [ALWAYS_TRAINED] * 2
    assert set(folds[:-2]) == set(range(5))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=40),
    st.integers(0, 2**32 - 1),
)
def test_whatever_the_images_each_fold_can_be_judged(images, seed):
    labels, numbers = (np.array(column) for column in zip(*images, strict=True))
    draws = np.random.default_rng(seed).random(13)[numbers]
    folds = draw_folds(labels.astype(np.int32), draws)
    assert all(len(set(folds[draws == draw])) == 1 for draw in draws)
    assert (folds[is_contradictory(labels, draws)] == ALWAYS_TRAINED).all()
    for fold in range(folds.max() + 1):
        assert (folds == fold).any()
        assert set(labels[folds == fold]) <= set(labels[folds != fold])


def test_only_copies_with_different_labels_are_contradictory():
    draws = np.array([0.1, 0.1, 0.2, 0.2, 0.3, 0.1])
    labels = np.array([0, 1, 2, 2, 0, 0], np.int32)
    assert is_contradictory(labels, draws).tolist() == [True, True, False, False, False, True]


def test_contradictory_images_are_always_trained(labels):
    draws = drawn(labels)
    draws[0] = draws[-1]
    assert np.flatnonzero(draw_folds(labels, draws) == ALWAYS_TRAINED).tolist() == [0, len(labels) - 1]


def test_only_what_was_held_out_is_judged():
    rows = TrainingRows(np.zeros((4, 1), np.float32), np.array([0, 1, 0, 1]), np.array([0, 1, 0, -1]), 2)
    logits = np.log([[0.8, 0.2], [0.6, 0.4], [0.5, 0.5], [np.nan, np.nan]])
    loss, accuracy = rows.judge(logits)
    assert loss == pytest.approx(-np.log([0.8, 0.4, 0.5]).mean())
    assert accuracy == pytest.approx(2 / 3)


@pytest.mark.parametrize(("count", "expected"), [(6, [2, 2, 2]), (30, [12, 11, 7]), (99, [50, 23, 7])])
def test_a_sample_has_as_many_of_each_class_as_there_are(labels, count, expected):
    chosen = spread_over_classes(labels, count, seed=0)
    assert np.array_equal(chosen, np.unique(chosen))
    assert sorted(np.bincount(labels[chosen]).tolist(), reverse=True) == expected
    assert count > 80 or not np.array_equal(chosen, spread_over_classes(labels, count, seed=1))


def test_ranks_count_each_class_in_the_order_given():
    labels = np.array([1, 0, 1, 0, 1], np.int32)
    assert rank_within_class(labels, np.array([4, 3, 2, 1, 0])).tolist() == [2, 1, 1, 0, 0]
