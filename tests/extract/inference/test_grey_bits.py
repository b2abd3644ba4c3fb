import numpy as np
import pytest
from PIL import Image

from headstart.classify import score, train
from headstart.extract import embed, open_store, read_model
from headstart.extract.decoding.depth import UNUSED
from headstart.extract.engines.tail import require_trunk
from headstart.extract.errors import StoreError
from headstart.extract.inference.grey_bits import with_grey_bits
from headstart.extract.inference.model import parse_model
from headstart.files.errors import HeadstartError, OptionError
from headstart.files.seal import has_seal


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Draw 24 photos of two classes, of 12 bits in samples of 16, and the same in 8 bits."""
    folder, rng = tmp_path_factory.mktemp("grey"), np.random.default_rng(0)
    for name, level in (("dark", 60), ("light", 180)):
        for kind in ("12", "8"):
            (folder / kind / name).mkdir(parents=True)
        for number in range(12):
            grey = np.clip(level + rng.normal(0, 25, (30, 40)), 0, 255).astype(np.uint8)
            grey[0, 0] = 255
            Image.fromarray(grey).save(folder / "8" / name / f"{number}.png")
            wide = np.round(grey.astype(float) * 4095 / 255).astype(np.uint16)
            Image.fromarray(wide).save(folder / "12" / name / f"{number}.png")
    return folder


def vectors(store) -> np.ndarray:
    order = np.argsort(store.paths)
    return store.embeddings()[order]


def cosines(a, b) -> np.ndarray:
    a, b = (np.asarray(each, float) for each in (a, b))
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.fixture(scope="module")
def store(photos, tiny_backbone, tmp_path_factory):
    path = tmp_path_factory.mktemp("grey_store") / "12.h5"
    embed(photos / "12", tiny_backbone, path, grey_bits=12)
    return path


def test_images_of_12_bits_are_embedded_as_those_of_8_and_noted_only_without_the_option(
    photos, store, tiny_backbone, tmp_path
):
    right, _ = embed(photos / "8", tiny_backbone, tmp_path / "8.h5")
    dark, summary = embed(photos / "12", tiny_backbone, tmp_path / "dark.h5")
    assert cosines(vectors(open_store(store)), vectors(right)).min() > 0.9999
    assert cosines(vectors(dark), vectors(right)).min() < 0.99
    assert [(note.text, note.count) for note in summary.notes] == [(UNUSED.format(12), 24)]
    _, again = embed(photos / "12", tiny_backbone, tmp_path / "12.h5", grey_bits=12)
    assert again.notes == []


def test_the_store_continues_with_the_same_bits_alone(photos, store, tiny_backbone):
    _, summary = embed(photos / "12", tiny_backbone, store, grey_bits=12)
    assert summary.computed == 0
    with pytest.raises(HeadstartError):
        embed(photos / "12", tiny_backbone, store)
    _, summary = embed(photos / "12", store, store)  # the backbone inside it states the bits
    assert summary.computed == 0


def test_a_classifier_scales_as_its_store_did(photos, store, tmp_path):
    classifier = train(store, tmp_path / "classifier.onnx").path
    assert read_model(classifier).rule.grey_bits == 12
    for kind in ("12", "8"):
        summary = score(photos / kind, classifier, tmp_path / f"{kind}.csv")
        assert (summary.agreeing, summary.labelled) == (24, 24)


def test_a_classifier_scales_by_other_bits_if_asked(photos, store, tiny_backbone, tmp_path):
    embed(photos / "8", tiny_backbone, tmp_path / "8.h5")
    classifier = train(tmp_path / "8.h5", tmp_path / "classifier.onnx").path
    agreeing = {
        bits: score(photos / "12", classifier, tmp_path / "p.csv", grey_bits=bits).agreeing for bits in (None, 12)
    }
    assert agreeing[None] < agreeing[12] == 24
    with pytest.raises(OptionError, match="stored embeddings"):
        score(tmp_path / "8.h5", classifier, tmp_path / "p.csv", grey_bits=12)


def test_the_derived_backbone_is_sealed_and_the_same_each_time(tiny_backbone):
    model = read_model(tiny_backbone)
    derived = with_grey_bits(model, 12)
    assert has_seal(derived.data, "derived")
    assert derived.sha256 == with_grey_bits(model, 12).sha256 != model.sha256
    assert with_grey_bits(derived, 12) is derived
    assert with_grey_bits(derived, 14).rule.grey_bits == 14
    assert parse_model(derived.data, "derived").rule.grey_bits == 12
    assert model.rule.grey_bits == 16


def test_tensors_of_other_bits_are_those_of_another_trunk(photos, cut_backbone, tmp_path):
    model = read_model(cut_backbone)
    tensors, _ = embed(photos / "12", cut_backbone, tmp_path / "tensors.h5", grey_bits=12)
    require_trunk(tensors, with_grey_bits(model, 12))
    with pytest.raises(StoreError, match="another trunk"):
        require_trunk(tensors, model)


@pytest.mark.parametrize("bits", [0, 7, 17])
def test_other_numbers_are_refused(bits, tiny_backbone):
    with pytest.raises(OptionError, match="8 to 16"):
        with_grey_bits(read_model(tiny_backbone), bits)
