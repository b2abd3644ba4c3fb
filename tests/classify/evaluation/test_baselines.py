import numpy as np
import pytest

from headstart.classify.errors import LabelError
from headstart.classify.evaluation.baselines import align_store
from headstart.classify.split.holdout import draws_of, split_rows


def again(store, make_store, contents, paths):
    labels = [store.classes[code] for code in store.labels]
    return make_store(labels, store.embeddings() + 1, contents=contents, paths=paths, name="other.h5")


def test_stores_are_matched_by_content_whatever_the_paths(clustered, make_store):
    store = clustered(90)
    order = np.random.default_rng(0).permutation(90)
    moved = make_store(
        [store.classes[code] for code in store.labels[order]], store.embeddings(order) + 1,
        contents=[store.paths[row] for row in order], paths=[f"moved/{row}.jpg" for row in range(90)], name="other.h5",
    )  # fmt: skip
    aligned = align_store(store, moved, [split_rows(store)], draws_of(store, 0, None))
    assert aligned.store.embeddings() == pytest.approx(store.embeddings() + 1)


def test_another_image_under_the_same_path_is_not_the_same_image(clustered, make_store):
    store = clustered(90)
    changed = again(store, make_store, ["changed", *store.paths[1:]], store.paths)
    with pytest.raises(LabelError, match=r"00000\.jpg is not among them, or has changed"):
        align_store(store, changed, [split_rows(store)], draws_of(store, 0, None))
