import numpy as np
import pytest

from headstart.classify.split.duplicates import Duplicates, find_duplicates, stars

DIM = 16


def photos(n, seed=0):
    """Points on all sides of the origin: no two of them alike but by chance."""
    return np.random.default_rng(seed).normal(0, 1, (n, DIM)).astype(np.float32)


def copied(vectors, pairs, noise=0.02, seed=1):
    """Append a slightly altered copy of each of the rows."""
    rng = np.random.default_rng(seed)
    return np.concatenate([vectors, vectors[pairs] + rng.normal(0, noise, (len(pairs), DIM)).astype(np.float32)])


def rows_of(found):
    return [group.rows for group in found.groups]


def test_equal_bytes_are_exact_copies(make_store):
    vectors = photos(40)
    vectors[[7, 30]] = vectors[3]
    contents = [*range(40)]
    contents[7] = contents[30] = contents[3]
    (group,) = find_duplicates(make_store(["ash"] * 40, vectors, contents=contents)).groups
    assert (group.rows, group.kind) == ([3, 7, 30], "exact")
    assert not group.crosses_labels
    assert not group.crosses_splits


def test_altered_copies_are_found_and_nothing_else(make_store):
    store = make_store(["ash"] * 66, copied(photos(60), [2, 5, 8, 11, 14, 17]))
    found = find_duplicates(store)
    assert rows_of(found) == [[2, 60], [5, 61], [8, 62], [11, 63], [14, 64], [17, 65]]
    assert {group.kind for group in found.groups} == {"near"}


@pytest.mark.parametrize("full_rows", [0, 5000], ids=["leading directions first", "in full"])
def test_copies_are_found_wherever_they_stand(make_store, monkeypatch, full_rows):
    monkeypatch.setattr("headstart.classify.split.duplicates.FULL_ROWS", full_rows)
    store = make_store(["ash"] * 1203, copied(photos(1200), [3, 700, 1199], noise=1e-3))
    found = rows_of(find_duplicates(store))
    assert [rows for rows in found if max(rows) >= 1200] == [[3, 1200], [700, 1201], [1199, 1202]]
    assert len(found) < 10  # in 16 dimensions some of 720,000 pairs are alike by chance


def test_a_photo_stays_with_the_larger_group():
    pairs = np.array([(0, 1), (1, 2), (1, 3), (3, 4), (4, 5)])
    assert stars(7, *pairs.T).tolist() == [1, 1, 1, 1, 4, 4, 6]


def test_exact_and_near_copies_of_one_photo_are_one_group(make_store):
    vectors = copied(photos(60), [4])
    vectors[20] = vectors[4]
    contents = [*range(61)]
    contents[20] = contents[4]
    (group,) = find_duplicates(make_store(["ash"] * 61, vectors, contents=contents)).groups
    assert (group.rows, group.kind) == ([4, 20, 60], "near")


def test_it_tells_which_groups_cross_labels_and_splits(make_store):
    vectors = copied(photos(60), [0, 1, 2, 3])
    labels = ["ash"] * 60 + ["birch", "ash", "ash", None]
    splits = ["train"] * 60 + ["train", "val", "", "train"]
    found = find_duplicates(make_store(labels, vectors, splits=splits)).groups
    assert [(group.crosses_labels, group.crosses_splits) for group in found] == [
        (True, False),
        (False, True),
        (False, False),
        (False, False),
    ]


def test_failed_rows_are_in_no_group(make_store):
    contents = [*range(40)]
    contents[1] = contents[2] = contents[3] = 0
    assert rows_of(find_duplicates(make_store(["ash"] * 40, photos(40), contents=contents, failed=[0, 2]))) == [[1, 3]]


def test_near_copies_can_be_left_out_and_need_enough_photos(make_store):
    contents = [0, 0, *range(2, 62)]
    store = make_store(["ash"] * 62, copied(photos(60), [8, 9]), contents=contents)
    found = find_duplicates(store, near=False)
    assert rows_of(found) == [[0, 1]]
    assert np.isnan(found.threshold)
    few = make_store(["ash"] * 4, store.embeddings(np.array([0, 1, 8, 60])), contents=[0, 0, 1, 2], name="few.h5")
    assert rows_of(find_duplicates(few)) == [[0, 1]]


def test_a_chain_of_small_steps_is_not_one_group(make_store):
    steps = np.linspace(0, 3 * np.pi, 60)  # each photo resembles the next; the ends have nothing in common
    chain = np.zeros((60, DIM), np.float32)
    for number in range(3):
        weight = np.clip(np.cos(steps - number * 1.3 * np.pi), 0, None)
        chain[:, 2 * number], chain[:, 2 * number + 1] = 6 * weight, 6 * np.sqrt(1 - weight**2)
    found = find_duplicates(make_store(["ash"] * 160, np.concatenate([photos(100), chain])))
    assert any(max(rows) >= 100 for rows in rows_of(found))
    assert max(map(len, rows_of(found))) < 30


@pytest.mark.parametrize("spread", [1e-3, 0.3])
def test_a_backbone_that_tells_little_apart_floods_nobody(make_store, spread):
    """As untrained ones do: every cosine is near 1, and few directions differ at all."""
    rng = np.random.default_rng(0)
    vectors = 5 + spread * (rng.normal(0, 1, (300, 3)) @ rng.normal(0, 1, (3, DIM)))
    found = find_duplicates(make_store(["ash"] * 300, vectors.astype(np.float32)))
    assert sum(map(len, rows_of(found))) < 15


def test_equal_vectors_of_different_files_do_no_harm(make_store):
    found = find_duplicates(make_store(["ash"] * 40, np.ones((40, DIM), np.float32)))
    assert found.groups == []


def test_every_row_has_a_group_number():
    assert Duplicates([]).group_of_rows(3).tolist() == [0, 1, 2]


def test_group_numbers_join_copies_alone(make_store):
    found = find_duplicates(make_store(["ash"] * 62, copied(photos(60), [2, 5])))
    numbers = found.group_of_rows(62)
    assert numbers.dtype == np.int64
    assert numbers.tolist() == [*range(60), 2, 5]


def test_the_same_twice(make_store):
    store = make_store(["ash"] * 80, copied(photos(60), [*range(20)], noise=0.4))
    assert find_duplicates(store) == find_duplicates(store)


@pytest.mark.parametrize("d", [1, 2])
def test_embeddings_of_few_dimensions_are_not_all_duplicates(make_store, d):
    vectors = np.zeros((60, 16), np.float32)
    vectors[:, :d] = np.random.default_rng(0).normal(0, 1, (60, d))
    assert find_duplicates(make_store(["a", "b"] * 30, vectors)).groups == []
