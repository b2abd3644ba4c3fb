import numpy as np
import pytest

from classify.errors import LabelError
from classify.splitting import split_rows


def names(store, rows) -> set[str]:
    return {store.paths[row] for row in rows}


def test_a_val_split_of_the_user_wins_over_test(clustered):
    splits = ["train", "", "val", "test"] * 24
    split = split_rows(clustered(96, splits=splits))
    assert split.origin == "the val split of the images"
    assert split.test.tolist() == [row for row in range(96) if splits[row] == "val"]
    assert split.train.tolist() == [row for row in range(96) if splits[row] in ("train", "")]


def test_a_test_split_serves_where_there_is_no_val(clustered):
    split = split_rows(clustered(90, splits=["train", "test"] * 45))
    assert (split.origin, split.test[:3].tolist()) == ("the test split of the images", [1, 3, 5])


@pytest.mark.parametrize("splits", [None, ["train"] * 90])
def test_without_a_split_to_judge_on_a_hold_out_is_drawn(clustered, splits):
    split = split_rows(clustered(90, splits=splits))
    assert split.origin == "a hold-out of 20% by content"
    assert sorted([*split.train, *split.test]) == list(range(90))


def test_failed_and_unlabelled_rows_are_on_neither_side(make_store):
    split = split_rows(make_store(["ash", "birch", None] * 10, failed=[0, 1]))
    assert sorted([*split.train, *split.test]) == [row for row in range(2, 30) if row % 3 != 2]


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.5])
def test_the_hold_out_has_about_its_share_of_every_class(clustered, fraction):
    store = clustered(1500)
    split = split_rows(store, fraction)
    shares = np.bincount(store.labels[split.test]) / np.bincount(store.labels)
    assert np.abs(shares - fraction).max() < 0.06


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_every_class_is_on_both_sides_however_extreme_the_share(clustered, fraction):
    store = clustered(30)
    split = split_rows(store, fraction)
    assert {len(set(store.labels[side])) for side in (split.train, split.test)} == {3}


def test_added_images_move_no_other(make_store):
    labels = ["ash", "birch"] * 100
    old, new = make_store(labels[:120], name="old.h5"), make_store(labels, name="new.h5")
    before, after = split_rows(old), split_rows(new)
    assert names(old, before.train) <= names(new, after.train)
    assert names(old, before.test) <= names(new, after.test)


def test_the_draw_depends_on_content_and_seed_alone(make_store):
    labels, contents = ["ash", "birch"] * 40, list(range(80))
    store = make_store(labels, contents=contents)
    renamed = make_store(labels, contents=contents, paths=[f"new-{row:03}" for row in range(80)], name="renamed.h5")
    assert split_rows(store).test.tolist() == split_rows(renamed).test.tolist()
    assert split_rows(store).test.tolist() != split_rows(store, seed=1).test.tolist()


@pytest.mark.parametrize("fraction", [0.001, 0.2, 0.5, 0.999])
@pytest.mark.parametrize("different", [2, 3, 20])
def test_copies_of_one_image_stay_together(make_store, fraction, different):
    contents = [f"{row % 2} {row // 2 % different}" for row in range(40)]
    store = make_store(["ash", "birch"] * 20, contents=contents)
    split = split_rows(store, fraction)
    train, test = ({contents[row] for row in side} for side in (split.train, split.test))
    assert not train & test
    assert train | test == set(contents)


def test_a_class_of_two_images_gives_one_to_each_side(make_store):
    store = make_store(["ash", "ash", "birch", "birch"])
    split = split_rows(store)
    assert sorted(store.labels[split.train]) == sorted(store.labels[split.test]) == [0, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["ash"] * 5, "expected images of at least 2 classes to train on, found only 'ash'"),
        ([None] * 5, "expected images of at least 2 classes to train on, found none"),
        (["ash", "ash", "birch"], "class 'birch' has 1 usable image to train on, expected at least 2"),
    ],
)
def test_too_few_classes_or_images_are_refused(make_store, labels, message):
    store = make_store(labels)
    with pytest.raises(LabelError, match=message) as caught:
        split_rows(store)
    assert str(store.place) in str(caught.value)


def test_a_class_whose_images_all_failed_is_named(make_store):
    with pytest.raises(LabelError, match="class 'cedar' has 0 usable images"):
        split_rows(make_store(["ash", "ash", "birch", "birch", "cedar"], failed=[4]))


def test_a_class_of_copies_of_one_image_is_refused(make_store):
    store = make_store(["ash", "birch"] * 3, contents=["same", 1, "same", 2, "same", 3])
    with pytest.raises(LabelError, match="class 'ash' has 1 usable image to train on"):
        split_rows(store)


def test_a_class_that_is_only_in_the_judging_split_is_refused(make_store):
    store = make_store(["ash", "birch", "cedar", "cedar"], splits=["train", "train", "val", "val"])
    with pytest.raises(LabelError, match="class 'cedar' has 0 usable images to train on, expected at least 1"):
        split_rows(store)


def test_nothing_to_train_on_beside_the_judging_split_is_refused(make_store):
    with pytest.raises(LabelError, match="at least 2 classes to train on, found none"):
        split_rows(make_store(["ash", "birch"], splits=["val", "val"]))
