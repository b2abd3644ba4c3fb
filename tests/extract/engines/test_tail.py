"""Cached tensors through the tail give the embeddings that the images themselves would give."""

import numpy as np
import pytest

from headstart.extract import embed, open_store, read_model
from headstart.extract.errors import ModelError, StoreError
from headstart.extract.inference.subgraph import only, tail, uncut


@pytest.fixture(scope="module")
def tensors(tiny_photos, cut_backbone, with_views, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensors")
    for views in (1, 2):
        embed(tiny_photos, with_views(cut_backbone, views), folder / f"{views}.h5")
    return folder


@pytest.fixture(scope="module")
def direct(tiny_photos, cut_backbone, with_views, tmp_path_factory):
    """Give the embeddings of the images by the same network as if it had no cut, as stores of one and of two views."""
    folder = tmp_path_factory.mktemp("direct")
    for views in (1, 2):
        embed(tiny_photos, uncut(read_model(with_views(cut_backbone, views))), folder / f"{views}.h5")
    return folder


def test_a_network_that_is_cut_stores_tensors(tensors, cut_backbone):
    one, two = (open_store(tensors / f"{views}.h5") for views in (1, 2))
    assert (one.header.output, one.header.shape, two.header.shape) == ("tensor", (15, 15, 16), (2, 15, 15, 16))
    assert one.embeddings().shape == (len(one), 15, 15, 16)
    whole = one.is_embedded
    np.testing.assert_allclose(one.embeddings(whole), two.embeddings(whole)[:, 0], rtol=2e-3, atol=1e-3)
    assert not np.array_equal(one.embeddings(whole), two.embeddings(whole)[:, 1])
    assert one.model().data == read_model(cut_backbone).data
    assert 0 < one.is_embedded.sum() < len(one), "an image that fails is a row of a store of tensors too"


@pytest.mark.parametrize("views", [1, 2])
def test_cached_tensors_give_the_embeddings_of_the_images(tensors, direct, cut_backbone, with_views, tmp_path, views):
    backbone = with_views(cut_backbone, views)
    embedded, summary = embed(tensors / f"{views}.h5", backbone, tmp_path / "embedded.h5")
    expected = open_store(direct / f"{views}.h5")
    assert (embedded.paths, embedded.failures) == (expected.paths, expected.failures)
    np.testing.assert_array_equal(embedded.labels, expected.labels)
    np.testing.assert_array_equal(embedded.rows.sha256, expected.rows.sha256)
    whole = embedded.is_embedded
    largest = np.abs(expected.embeddings(whole)).max()
    assert np.abs(embedded.embeddings(whole) - expected.embeddings(whole)).max() < 2e-3 * largest
    assert embedded.header.model_sha256 == expected.header.model_sha256
    assert (summary.computed, summary.reused, summary.failed) == (len(embedded), 0, len(embedded.failures))
    _, again = embed(tensors / f"{views}.h5", backbone, tmp_path / "embedded.h5")
    assert (again.computed, again.reused) == (0, len(embedded))


def test_images_resume_from_embeddings_of_tensors(tensors, tiny_photos, cut_backbone, tmp_path):
    embed(tensors / "1.h5", cut_backbone, tmp_path / "photos.h5")
    _, summary = embed(tiny_photos, uncut(read_model(cut_backbone)), tmp_path / "photos.h5")
    assert summary.computed == 0


def test_rows_of_another_trunk_or_of_embeddings_are_refused(tensors, direct, make_cut_backbone, cut_backbone, tmp_path):
    other = make_cut_backbone(tmp_path / "other.onnx", seed=5)
    with pytest.raises(StoreError, match="was made by another trunk"):
        embed(tensors / "1.h5", other, tmp_path / "photos.h5")
    with pytest.raises(StoreError, match="expected a store of tensors, found one of its embedding"):
        embed(direct / "1.h5", cut_backbone, tmp_path / "photos.h5")
    with pytest.raises(StoreError, match=r"holds 2 views per image, .* makes 1; .* --weights .* --views 2"):
        embed(tensors / "2.h5", cut_backbone, tmp_path / "photos.h5")
    assert not (tmp_path / "photos.h5").exists()


def test_a_backbone_without_a_cut_has_no_tail(tiny_backbone):
    with pytest.raises(ModelError, match="expected a backbone with a cut"):
        tail(read_model(tiny_backbone))


def test_a_part_of_a_graph_is_no_more_than_is_needed(cut_backbone):
    import onnx

    model = read_model(cut_backbone)
    trunk = onnx.load_model_from_string(only(model, "tensor").data).graph
    assert [node.op_type for node in trunk.node].count("Conv") == 1
    assert {tensor.name for tensor in trunk.initializer}.isdisjoint({"wide", "deep"})
    behind = tail(model).graph
    assert [node.op_type for node in behind.node].count("Conv") == 2
    assert "kernel" not in {tensor.name for tensor in behind.initializer}
    assert uncut(model).outputs == {"embedding": (16,)}


def test_a_store_of_tensors_is_no_store_to_train_on(tensors, tmp_path):
    from headstart.classify import train
    from headstart.classify.errors import LabelError

    with pytest.raises(LabelError, match=r"found one of tensors \(15 x 15 x 16\).*headstart tune"):
        train(tensors / "1.h5", tmp_path / "classifier.onnx")
