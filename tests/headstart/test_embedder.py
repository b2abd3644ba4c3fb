"""`ImageEmbedder` is a scikit-learn transformer of images."""

import copy
import shutil
from contextlib import suppress
from pathlib import Path
from unittest import SkipTest

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

import headstart
from headstart import ImageEmbedder
from headstart.extract import EngineOptions, embed, open_store, read_model
from headstart.extract.errors import ImagesError, StoreError
from headstart.files.errors import HeadstartError, OptionError

FAST = EngineOptions(workers=1, isolate=False)


class OfTables(ImageEmbedder):
    """The same for numeric tables, which scikit-learn's checks feed: each row becomes a picture of one pixel a cell."""

    def fit(self, X, y=None):
        return super().fit(self._drawn(X, reset=True))

    def transform(self, X):
        return super().transform(self._drawn(X, reset=False))

    def _drawn(self, X, reset):
        X = validate_data(self, X, reset=reset)
        return [(np.abs(row) * 37 % 251).astype(np.uint8)[None] for row in X]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.one_d_array, tags.input_tags.string = True, False, False
        return tags


@pytest.fixture(scope="module")
def paths(tiny_photos):
    return sorted(str(path) for path in tiny_photos.rglob("0*.png"))


@pytest.fixture
def labels(paths):
    return [path.split("/")[-2] for path in paths]


@parametrize_with_checks([OfTables(options=FAST)])
def test_it_passes_the_checks_of_scikit_learn(estimator, check, tiny_backbone, monkeypatch):
    model = read_model(tiny_backbone)
    monkeypatch.setattr("headstart.embedder._model_of", lambda *_: model)
    """scikit-learn/scikit-learn#12491: for other inputs than tables it has none, hence the pictures of tables."""
    with suppress(SkipTest):  # one is about SCIPY_ARRAY_API
        check(estimator)


def test_a_pipeline_learns_from_paths(paths, labels, tiny_backbone):
    pipe = make_pipeline(ImageEmbedder(tiny_backbone), LogisticRegression()).fit(paths, labels)
    assert pipe.score(paths, labels) == 1
    with Image.open(paths[0]) as image:
        assert pipe.predict([image, paths[-1]]).tolist() == ["ash", "cedar"]


def test_a_pipeline_is_cross_validated(paths, labels, tiny_backbone):
    pipe = make_pipeline(ImageEmbedder(tiny_backbone, options=FAST), LogisticRegression())
    assert cross_val_score(pipe, paths, labels, cv=3).tolist() == [1, 1, 1]


@pytest.fixture(scope="module")
def expected(paths, tiny_photos, tiny_backbone, tmp_path_factory):
    store, _ = embed(tiny_photos, tiny_backbone, tmp_path_factory.mktemp("x") / "x.h5", dtype="float32")
    return store.embeddings(store.is_embedded)


FORMS = {
    "list": list,
    "tuple": tuple,
    "generator": iter,
    "array of texts": np.array,
    "objects": lambda paths: np.array(paths, object),
    "column": lambda paths: np.array(paths)[:, None],
    "bytes": lambda paths: [Path(path).read_bytes() for path in paths],
    "Pillow": lambda paths: [Image.open(path) for path in paths],
    "arrays": lambda paths: [np.asarray(Image.open(path)) for path in paths],
    "one array": lambda paths: np.stack([np.asarray(Image.open(path)) for path in paths]),
    "series": lambda paths: pytest.importorskip("pandas").Series(paths),
    "frame": lambda paths: pytest.importorskip("pandas").DataFrame({"path": paths}),
}


@pytest.mark.parametrize("form", FORMS)
def test_it_takes_images_in_any_form(paths, expected, tiny_backbone, form):
    found = ImageEmbedder(tiny_backbone, options=FAST).transform(FORMS[form](paths))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("X", "found"),
    [
        ("photos", "found one str"),
        (b"data", "found one bytes"),
        (3, "found one int"),
        (np.zeros((3, 4)), r"found float64 \(3, 4\)"),
        (np.zeros((8, 8, 3), np.uint8), r"found uint8 \(8, 8, 3\)"),
        (np.array([["a", "b"]]), r"found <U1 \(1, 2\)"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "transform"])
def test_what_is_no_list_of_images_is_refused(tiny_backbone, method, X, found):
    with pytest.raises(OptionError, match=found):
        getattr(ImageEmbedder(tiny_backbone), method)(X)


def test_images_that_fail_are_named(paths, tiny_backbone):
    with pytest.raises(ImagesError, match=r"1 of 2 images cannot be used: gone\.png: no such file; leave them out"):
        ImageEmbedder(tiny_backbone, options=FAST).transform([paths[0], "gone.png"])


def test_no_images_have_no_embeddings(tiny_backbone):
    assert ImageEmbedder(tiny_backbone, options=FAST).transform([]).shape == (0, 16)


def test_its_columns_have_names(paths, tiny_backbone):
    pytest.importorskip("pandas")
    embedder = ImageEmbedder(tiny_backbone, options=FAST).set_output(transform="pandas")
    frame = embedder.fit_transform(paths[:2])
    assert list(frame.columns) == [f"imageembedder{number}" for number in range(16)]


def test_a_copy_opens_what_it_needs(paths, expected, tiny_backbone):
    embedder = ImageEmbedder(tiny_backbone, options=FAST).fit(paths)
    for other in (clone(embedder), copy.deepcopy(embedder)):
        np.testing.assert_allclose(other.transform(paths[:3]), expected[:3], atol=1e-5)


# Stored embeddings


def test_stored_images_are_not_computed_again(paths, tiny_store, tmp_path, monkeypatch):
    store = open_store(tiny_store)
    embedder = ImageEmbedder(store=tiny_store, options=FAST).fit(paths)
    monkeypatch.setattr("headstart.extract.inference.sessions.Session.run", None)
    moved = [shutil.copy(paths[7], tmp_path / "renamed.png"), paths[0]]
    np.testing.assert_array_equal(embedder.transform(moved), store.embeddings(store.is_embedded)[[7, 0]])


def test_other_images_are_computed_with_the_backbone_of_the_store(paths, tiny_store, tiny_backbone):
    new = np.full((1, 9, 9, 3), 77, np.uint8)
    found = ImageEmbedder(store=open_store(tiny_store), options=FAST).transform(new)
    np.testing.assert_allclose(found, ImageEmbedder(tiny_backbone, options=FAST).transform(new), atol=1e-6)


def test_a_store_of_another_backbone_is_refused(paths, tiny_store, make_backbone, tmp_path):
    other = make_backbone(tmp_path / "other.onnx", seed=4)
    with pytest.raises(StoreError, match="expected embeddings of backbone"):
        ImageEmbedder(other, store=tiny_store).fit(paths)
    assert ImageEmbedder(read_model(other)).fit(paths).n_features_out_ == 16


def test_without_a_backbone_it_takes_the_default(paths, expected, tiny_backbone, monkeypatch):
    monkeypatch.setattr("headstart.export.default_backbone", lambda: tiny_backbone)
    np.testing.assert_allclose(ImageEmbedder(options=FAST).transform(paths[:3]), expected[:3], atol=1e-5)


def test_a_missing_backbone_is_named():
    with pytest.raises(HeadstartError, match=r"gone\.onnx: no such file"):
        headstart.ImageEmbedder("gone.onnx").fit([])
