import os

import numpy as np
import pytest

from headstart.classify.errors import LabelError
from headstart.classify.split.classes import too_few_to_hold_out, with_trainable_classes
from headstart.classify.split.holdout import digest_of_rows, split_rows


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


SIZES = {"ash": 10, "birch": 20, "cedar": 39}


@pytest.mark.parametrize(
    ("fraction", "held_out"),
    [(0.2, [2, 4, 8]), (0.1, [1, 2, 4]), (0.5, [5, 10, 20]), (0.001, [1, 1, 1]), (0.999, [9, 19, 38])],
)
@pytest.mark.parametrize("copies", [1, 3])
def test_the_hold_out_has_exactly_its_share_of_every_class(make_store, fraction, held_out, copies):
    contents = [f"{name} {number}" for name, size in SIZES.items() for number in range(size)]
    labels = [content.split()[0] for content in contents]
    store = make_store(labels * copies, contents=contents * copies)
    split = split_rows(store, fraction)
    assert np.bincount(store.labels[split.test]).tolist() == [copies * images for images in held_out]
    assert len(split.train) + len(split.test) == len(store)


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_every_class_is_on_both_sides_however_extreme_the_share(clustered, fraction):
    store = clustered(30)
    split = split_rows(store, fraction)
    assert {len(set(store.labels[side])) for side in (split.train, split.test)} == {3}


@pytest.mark.parametrize("added", [1, 2, 3, 10, 80])
def test_each_added_image_moves_at_most_one_other_of_its_class(make_store, added):
    labels = ["ash", "birch"] * 100
    old, new = make_store(labels[:120], name="old.h5"), make_store(labels[: 120 + added], name="new.h5")
    before, after = split_rows(old), split_rows(new)
    for code in (0, 1):
        of_class = names(old, np.flatnonzero(old.labels == code))
        into = of_class & names(old, before.train) & names(new, after.test)
        out = of_class & names(old, before.test) & names(new, after.train)
        assert not into or not out
        assert len(into | out) <= min((added + 1 - code) // 2, 6)


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


@pytest.mark.parametrize("seed", range(5))
def test_rows_that_show_one_image_stay_together(make_store, seed):
    groups = np.arange(60)
    groups[[8, 14, 30]], groups[41] = 2, 7
    split = split_rows(make_store(["ash", "birch"] * 30), 0.5, seed, groups)
    assert not set(groups[split.train]) & set(groups[split.test])
    assert sorted([*split.train, *split.test]) == list(range(60))
    draws = dict(zip(split.train.tolist(), split.draws, strict=True))
    assert len({draws.get(row) for row in (2, 8, 14, 30)}) == 1
    assert len(set(split.draws)) == len(set(groups[split.train]))


def test_of_copies_on_both_sides_of_the_users_split_those_to_train_on_are_left_out(make_store):
    contents = [*range(18), 14, 15, 16, 3]
    splits = ["train"] * 12 + ["val"] * 6 + ["train", "", "train", "train"]
    split = split_rows(make_store(["ash", "birch"] * 11, contents=contents, splits=splits))
    assert split.test.tolist() == list(range(12, 18))
    assert split.train.tolist() == [*range(12), 21]
    assert split.left_out == 3
    groups = np.arange(22)
    groups[[4, 13]] = 4
    grouped = split_rows(make_store(["ash", "birch"] * 11, splits=splits), groups=groups)
    assert (4 in grouped.train, grouped.left_out) == (False, 1)


def test_a_hold_out_leaves_nothing_out(make_store):
    assert (
        split_rows(make_store(["ash", "birch"] * 20, contents=[row // 4 * 2 + row % 2 for row in range(40)])).left_out
        == 0
    )


@pytest.mark.parametrize("fraction", [0.01, 0.5, 0.99])
def test_an_image_whose_copies_have_different_labels_is_never_judged_on(make_store, fraction):
    contents = [*range(30), 0, 1, 2]
    store = make_store([*["ash", "birch"] * 15, "birch", "ash", "birch"], contents=contents)
    split = split_rows(store, fraction)
    assert {0, 1, 2, 30, 31, 32} <= set(split.train)
    assert set(store.labels[split.test]) == {0, 1}


@pytest.mark.parametrize(("where", "left_out"), [("val", 0), ("train", 1), ("test", 0), ("", 1)])
def test_an_image_of_the_users_split_whose_bytes_have_another_label_is_not_judged_on(make_store, where, left_out):
    """Row 14, an ash of val, is a birch elsewhere."""
    splits = ["train"] * 10 + ["val"] * 10 + [where]
    store = make_store([*["ash", "birch"] * 10, "birch"], contents=[*range(20), 14], splits=splits)
    split = split_rows(store)
    assert split.test.tolist() == [row for row in range(10, 20) if row != 14]
    assert split.train.tolist() == list(range(10)), "whatever the user judges on is not trained on"
    assert (split.contradictory, split.left_out) == (1 + (where == "val"), left_out)


def test_what_is_no_contradiction_is_judged_on(make_store):
    splits = ["train"] * 10 + ["val"] * 10 + ["val", "val", "train"]
    labels, contents = [*["ash", "birch"] * 10, "ash", None, "birch"], [*range(20), 14, 15, 16]
    store = make_store(labels, contents=contents, splits=splits, failed=[22])
    split = split_rows(store)
    assert split.test.tolist() == list(range(10, 21))
    assert split.contradictory == 0


def test_photos_that_only_look_alike_keep_the_labels_that_the_user_judges_by(make_store):
    splits, groups = ["train"] * 10 + ["val"] * 10, np.arange(20)
    groups[13] = 12
    split = split_rows(make_store(["ash", "birch"] * 10, splits=splits), groups=groups)
    assert split.test.tolist() == list(range(10, 20))
    assert split.contradictory == 0


def test_a_split_of_contradictions_leaves_nothing_to_judge_on(make_store):
    store = make_store(["ash", "birch"] * 6, contents=[*range(10), 10, 10], splits=["train"] * 10 + ["val"] * 2)
    with pytest.raises(LabelError, match="expected images to evaluate on, but each has a duplicate under another"):
        split_rows(store)


def test_contradictory_images_leave_the_others_of_their_class_to_judge_on(make_store):
    store = make_store(["ash", "ash", "birch", "birch", "birch"], contents=[0, 1, 1, 2, 3])
    assert 0 in split_rows(store, 0.99).test


def test_a_class_that_is_a_copy_of_another_leaves_nothing_to_judge_on(make_store):
    store = make_store(["ash", "birch"] * 10, contents=[row // 2 for row in range(20)])
    with pytest.raises(LabelError, match="expected images to evaluate on, but each has a duplicate under another"):
        split_rows(store)


def test_a_class_of_two_images_gives_one_to_each_side(make_store):
    store = make_store(["ash", "ash", "birch", "birch"])
    split = split_rows(store)
    assert sorted(store.labels[split.train]) == sorted(store.labels[split.test]) == [0, 1]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["ash"] * 5, "expected images of at least 2 classes to train on, found only 'ash'"),
        ([None] * 5, "expected images of at least 2 classes to train on, found none"),
    ],
)
def test_too_few_classes_are_refused(make_store, labels, message):
    store = make_store(labels)
    with pytest.raises(LabelError, match=message) as caught:
        split_rows(store)
    assert str(store.location) in str(caught.value)


def test_a_class_whose_images_all_failed_is_named(make_store):
    with pytest.raises(LabelError, match=r"'cedar' has none"):
        split_rows(make_store(["ash", "ash", "birch", "birch", "cedar"], failed=[4]))


def test_the_only_image_of_a_class_and_its_copies_are_trained_on(make_store):
    split = split_rows(make_store(["ash", "birch"] * 3, contents=["same", 1, "same", 2, "same", 3]))
    assert {0, 2, 4} < set(split.train.tolist())
    assert len(split.test) == 1
    assert not len(split_rows(make_store(["ash", "birch"], name="two.h5")).test)


@pytest.mark.parametrize(("per_class", "classes", "few"), [(1, 2, True), (4, 2, True), (5, 2, False), (4, 12, True)])
@pytest.mark.parametrize("copies", [1, 3])
def test_a_hold_out_takes_too_much_of_fewer_than_five_different_images(make_store, per_class, classes, few, copies):
    contents = [f"{code} {number}" for number in range(per_class) for code in range(classes)]
    store = make_store([f"c{content.split()[0]:>02}" for content in contents * copies], contents=contents * copies)
    groups = np.tile(np.arange(len(contents)), copies)
    assert too_few_to_hold_out(store, groups) == few


def test_a_class_that_is_only_in_the_judging_split_is_refused(make_store):
    store = make_store(["ash", "birch", "cedar", "cedar"], splits=["train", "train", "val", "val"])
    with pytest.raises(LabelError, match=r"'cedar' has none.*--min-photos 1"):
        split_rows(store)


def test_nothing_to_train_on_beside_the_judging_split_is_refused(make_store):
    with pytest.raises(LabelError, match=r"at least 2 classes to train on, found none"):
        split_rows(make_store(["ash", "birch"], splits=["val", "val"]))


def test_the_digest_of_the_rows_is_that_of_every_form_of_a_store(make_store):
    columns = {"labels": ["ash", "birch", None] * 4, "splits": ["train", "val", "", "test"] * 3, "failed": [5]}
    one, folder = make_store(**columns), make_store(**columns, name="made.emb")
    assert digest_of_rows(one) == digest_of_rows(folder)


@pytest.mark.parametrize("form", ["h5", "emb"])
def test_a_long_name_that_is_gone_leaves_no_trace_in_the_digest(make_store, form):
    labels, paths = ["ash", "birch"] * 3, [f"{row}.jpg" for row in range(6)]
    fresh = make_store(labels, paths=paths, name=f"fresh.{form}")
    make_store([*labels, "ash"], paths=[*paths, "x" * 100], name=f"used.{form}")
    used = make_store(labels, paths=paths, name=f"used.{form}")
    assert digest_of_rows(used) == digest_of_rows(fresh)


def test_the_digest_tells_names_that_are_no_text_apart(make_store):
    names = [b"caf\xe9.jpg", b"caf\xe8.jpg"]
    stores = [
        make_store(["ash", os.fsdecode(name)], paths=["1.jpg", os.fsdecode(name)], contents=[1, 2], name=f"{row}.h5")
        for row, name in enumerate(names)
    ]
    assert digest_of_rows(stores[0]) != digest_of_rows(stores[1])


@pytest.mark.parametrize(
    ("labels", "splits", "min_photos", "kept"),
    [
        ("aabbcc", ["train"] * 4 + ["val"] * 2, None, "ab"),
        ("aabbccc", ["train"] * 4 + ["val", "test", "test"], None, "ab"),
        ("aabbc", [""] * 5, None, "abc"),  # the only image of a class is trained on
        ("aabbc", [""] * 5, 2, "ab"),
        ("aabbbcccc", [""] * 9, 3, "bc"),
        ("aaabbc", ["train"] * 4 + ["val"] * 2, 2, "a"),
        ("aabbcc", ["train"] * 4 + ["test"] * 2, 2, "ab"),  # the only test class is left out: a hold-out follows
    ],
)
def test_classes_without_enough_images_to_train_on_are_left_out(make_store, labels, splits, min_photos, kept):
    store = make_store(list(labels), splits=splits)
    found = with_trainable_classes(store, np.arange(len(store)), min_photos)
    assert found.classes == list(kept)
    assert [found.classes[code] if code >= 0 else None for code in found.labels] == [
        label if label in kept else None for label in labels
    ]


def test_duplicates_and_failed_images_do_not_count_towards_the_least(make_store):
    store = make_store(list("aaabbbccc"), contents=[1, 1, 1, *range(2, 8)], failed=[3, 4])
    groups = np.array([0, 0, 0, *range(3, 9)])
    assert with_trainable_classes(store, groups, 2).classes == ["c"]
