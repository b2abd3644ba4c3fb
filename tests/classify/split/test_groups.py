from dataclasses import replace

import numpy as np
import pytest

from headstart.classify.errors import LabelError
from headstart.classify.split.folds import ALWAYS_TRAINED
from headstart.classify.split.groups import deal_units, hold_out_units
from headstart.classify.split.holdout import digest_of_rows, split_rows

CLASSES = ("ash", "birch", "cedar")


def grouped(store, groups):
    """Give a store groups, named by any numbers."""
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    return replace(store, groups=first[group])


def random_groups(seed: int, photos: int, groups: int, classes: int):
    """Draw groups of any size that span classes, and classes of any size: labels, and a draw per photo."""
    rng = np.random.default_rng(seed)
    group = np.minimum(rng.geometric(3 / groups, photos), groups) - 1
    labels = np.minimum(rng.geometric(0.4, photos), classes) - 1
    return labels.astype(np.int32), rng.random(groups)[group]


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize(("photos", "groups"), [(20, 4), (60, 12), (200, 150)])
def test_whatever_is_trained_on_has_every_class_and_no_group_of_the_others(seed, photos, groups):
    labels, draws = random_groups(seed, photos, groups, 4)
    folds, held_out = deal_units(labels, draws), hold_out_units(labels, draws, 0.2)
    parts = [(folds != fold, folds == fold) for fold in range(folds.max() + 1)] + [(~held_out, held_out)]
    for train, test in parts:
        assert set(labels[train]) == set(labels)
        assert not set(draws[train]) & set(draws[test])
    assert {fold for fold in folds if fold != ALWAYS_TRAINED} == {*range(folds.max() + 1)}
    several = [code for code in set(labels) if len(set(draws[labels == code])) > 1]
    assert held_out.any() or not several or len(set(draws)) < 3


def test_the_issue_of_scikit_learn_has_every_class_in_training():
    """Its StratifiedGroupKFold trains without a class here (scikit-learn issue 28218)."""
    labels, draws = np.array([1, 1, 0, 0, 2, 2], np.int32), np.array([0.1, 0.2, 0.2, 0.3, 0.3, 0.4])
    folds = deal_units(labels, draws, 2)
    assert folds.max() >= 0
    assert all(set(labels[folds != fold]) == {0, 1, 2} for fold in range(folds.max() + 1))


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_small_groups_give_each_class_its_share(share):
    rng = np.random.default_rng(0)
    labels, draws = np.repeat([0, 1, 2], [300, 600, 900]).astype(np.int32), rng.random(450)[rng.permutation(1800) // 4]
    held_out, folds = hold_out_units(labels, draws, share), deal_units(labels, draws)
    for code in range(3):
        assert held_out[labels == code].mean() == pytest.approx(share, abs=0.02)
        assert np.bincount(folds[labels == code]) / np.sum(labels == code) == pytest.approx([0.2] * 5, abs=0.02)


def test_one_photo_per_group_is_held_out_by_least_draws():
    labels, draws = np.repeat([0, 1], 50).astype(np.int32), np.random.default_rng(1).random(100)
    held_out = hold_out_units(labels, draws, 0.2)
    for code in (0, 1):
        assert draws[held_out & (labels == code)].max() < draws[~held_out & (labels == code)].min()
        assert np.sum(held_out & (labels == code)) == 10


def test_a_group_that_spans_classes_is_no_contradiction(clustered):
    store = grouped(clustered(90), np.arange(90) // 9)
    split = split_rows(store)
    groups = [set(store.groups[side].tolist()) for side in (split.train, split.test)]
    assert not groups[0] & groups[1]
    assert sorted([*split.train, *split.test]) == list(range(90))
    assert (split.contradictory, split.strays) == (0, 0)
    assert split.origin == "a hold-out of 20% by content, in whole groups"
    folds = split.folds(store.labels[split.train])
    assert folds.min() == 0
    assert all(len(set(folds[store.groups[split.train] == group])) == 1 for group in groups[0])


def test_duplicates_in_two_groups_cost_a_photo_and_not_the_border_between_them(make_store):
    """The last photo of each group is the first of the next: uniting them would leave one group of all photos."""
    contents = [f"link {(row + 1) // 10}" if row % 10 in (0, 9) else row for row in range(100)]
    labels = [("ash", "birch")[(row + 1) // 5 % 2] for row in range(100)]
    split = split_rows(grouped(make_store(labels, contents=contents), np.arange(100) // 10))
    assert sorted([*split.train, *split.test]) == [row for row in range(100) if row % 10 or not row]
    assert split.strays == 9
    sides = [{row // 10 for row in side} for side in (split.train, split.test)]
    assert len(sides[0]) + len(sides[1]) == 10
    assert not {contents[row] for row in split.train} & {contents[row] for row in split.test}


def test_a_photo_without_a_group_joins_that_of_its_duplicate(make_store):
    contents = ["twin" if row in (0, 60) else row for row in range(80)]
    groups = [row // 10 if row < 60 else row + 1000 for row in range(80)]
    store = grouped(make_store(["ash"] * 10 + ["birch"] * 50 + ["ash"] * 20, contents=contents), groups)
    for seed in range(5):
        split = split_rows(store, seed=seed)
        assert split.strays == 0
        assert (60 in split.train) == (0 in split.train)


def test_the_own_split_trains_on_no_group_that_it_evaluates_on(clustered):
    splits = ["val" if row % 30 == 0 else "train" for row in range(90)]
    store = grouped(clustered(90, classes=("ash", "birch"), splits=splits), np.arange(90) // 15)
    split = split_rows(store)
    assert split.test.tolist() == [0, 30, 60]
    assert {row // 15 for row in split.train} == {1, 3, 5}
    assert split.left_out == 42


def test_groups_that_cannot_be_divided_are_an_error(clustered):
    with pytest.raises(LabelError, match="at least 2 groups each"):
        split_rows(grouped(clustered(90), np.zeros(90, int)))
    store = clustered(90)
    with pytest.raises(LabelError, match="at least 2 groups each"):
        split_rows(grouped(store, store.labels))


def test_groups_change_the_digest_whatever_they_are_called(clustered):
    store = clustered(90)
    names, others = np.arange(90) // 9, np.arange(90) // 9 * 7 % 70
    assert digest_of_rows(grouped(store, names)) == digest_of_rows(grouped(store, others))
    assert len({digest_of_rows(one) for one in (store, grouped(store, names), grouped(store, np.arange(90) // 8))}) == 3
