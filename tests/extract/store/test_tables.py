"""A store for scikit-learn, pandas and a notebook: the rows, names and counts are those of the store."""

import numpy as np
import pytest

from headstart.extract import embed, open_store
from headstart.extract.errors import StoreError
from headstart.files.errors import MissingExtraError, OptionError


@pytest.fixture
def with_splits(tiny_photos, tiny_backbone, tmp_path):
    rows = [f"ash/{n:03}.png,ash,{'train' if n < 5 else 'val'}" for n in range(8)]
    rows += ["birch/000.png,birch,train", "birch/001.png,,train", "ash/broken.png,ash,train", "cedar/000.png,cedar,"]
    (tmp_path / "list.csv").write_text("path,label,split\n" + "\n".join(rows) + "\n")
    (tmp_path / "ash").symlink_to(tiny_photos / "ash")
    (tmp_path / "birch").symlink_to(tiny_photos / "birch")
    (tmp_path / "cedar").symlink_to(tiny_photos / "cedar")
    from headstart.extract import SourceOptions

    options = SourceOptions(follow_links=True)
    return embed(tmp_path / "list.csv", tiny_backbone, tmp_path / "x.h5", source_options=options)[0]


def test_x_and_y_hold_the_labelled_embedded_images(with_splits):
    X, y = with_splits.xy()
    which = with_splits.is_embedded & (with_splits.labels >= 0)
    np.testing.assert_array_equal(X, with_splits.embeddings(which))
    assert (X.dtype, X.shape) == (np.float32, (10, 16))
    assert y.tolist() == ["ash"] * 8 + ["birch", "cedar"]
    assert y.dtype.kind == "U"


@pytest.mark.parametrize(("split", "names"), [("train", ["ash"] * 5 + ["birch"]), ("val", ["ash"] * 3)])
def test_a_split_has_its_own(with_splits, split, names):
    X, y = with_splits.xy(split)
    assert len(X) == len(names)
    assert y.tolist() == names


@pytest.mark.parametrize("split", ["test", "validation", ""])
def test_a_split_that_no_image_has_is_an_error(with_splits, split):
    with pytest.raises(OptionError, match="found: train, val"):
        with_splits.xy(split)


def test_tensors_are_no_embeddings(tiny_photos, cut_backbone, tmp_path):
    store, _ = embed(tiny_photos, cut_backbone, tmp_path / "tensors.h5")
    with pytest.raises(StoreError, match="tensors at a cut"):
        store.xy()


def test_a_store_without_labels_has_no_rows(tiny_photos, tiny_backbone, tmp_path):
    store, _ = embed(sorted((tiny_photos / "ash").glob("0*.png")), tiny_backbone, tmp_path / "x.h5")
    X, y = store.xy()
    assert (X.shape, y.shape) == ((0, 16), (0,))


def test_the_table_has_a_row_for_each_image(with_splits):
    pytest.importorskip("pandas")
    frame = with_splits.to_pandas()
    assert frame.path.tolist() == with_splits.paths
    assert dict(frame[frame.status == "failed"][["path", "reason"]].itertuples(index=False)) == with_splits.failures
    assert frame.label.isna().sum() == 1
    assert frame.set_index("path").loc["ash/007.png", ["label", "split"]].tolist() == ["ash", "val"]
    assert frame.sha256.str.len().eq(64).all()
    assert (frame.modified.dt.year >= 2020).all()


def test_without_pandas_it_says_what_to_install(with_splits, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(MissingExtraError, match="pip install pandas"):
        with_splits.to_pandas()


def test_a_notebook_shows_it_escaped_and_in_the_colours_of_the_page(draw_photos, tiny_backbone, tmp_path):
    folder = draw_photos(tmp_path / "photos", {"<b>&amp": 2, "birch": 3})
    store, run = embed(folder, tiny_backbone, tmp_path / "x.h5")
    shown = store._repr_html_()
    assert "&lt;b&gt;&amp;amp 2, birch 3" in shown
    assert "5, of which 0 failed" in shown
    assert "5 embedded, 0 failed" in run._repr_html_()
    for html in (shown, run._repr_html_()):
        assert "color" not in html
        assert "<b>" not in html


def test_reopened_it_is_the_same(with_splits):
    again = open_store(with_splits.location)
    for mine, theirs in zip(again.xy(), with_splits.xy(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
