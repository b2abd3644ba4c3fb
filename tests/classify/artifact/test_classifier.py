import json
import os
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

import headstart.classify.artifact.write
from headstart.classify.artifact.classifier import read_classifier
from headstart.classify.artifact.write import TOLERANCE, write_classifier
from headstart.classify.errors import ClassifierError
from headstart.classify.heads.kinds import fit_head
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import HEADS, make_head
from headstart.classify.training import train
from headstart.extract.errors import ModelError
from headstart.extract.store.store import open_store
from headstart.files.atomic import check_model_output
from headstart.files.errors import OutputError
from headstart.files.seal import sealed


def fitted(store, name: str = "logreg", **options):
    chosen = HeadOptions(**options)
    rows = np.flatnonzero(store.is_embedded & (store.labels >= 0))
    return fit_head(make_head(name, chosen), store.embeddings(rows), store.labels[rows], chosen)


def run(path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Run a file as anybody would: with onnxruntime alone."""
    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": pixels}), strict=True))


def rewritten(path, to, **metadata):
    """Copy an ONNX file with some of its metadata changed, sealed anew."""
    model = onnx.load(path)
    said = json.loads(model.metadata_props[0].value) | metadata
    onnx.helper.set_model_props(model, {"headstart": json.dumps(said)})
    data = model.SerializeToString()
    to.write_bytes(sealed(data))
    return to


@pytest.fixture(scope="session")
def pixels(tiny_photos) -> np.ndarray:
    """All photos, as the backbone wants them: uint8, (60, 32, 32, 3)."""
    made = []
    for path in sorted(tiny_photos.rglob("[0-9]*.png")):
        with Image.open(path) as image:
            made.append(np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)))
    return np.stack(made)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize(
    ("head", "options"), [("logreg", {}), ("logreg", {"c": 10.0}), ("mlp", {}), ("mlp", {"hidden": (8, 9, 7)})]
)
def test_onnxruntime_gives_what_scikit_learn_gives(head, options, k, tiny_store, make_store, pixels, tmp_path):
    whole = open_store(tiny_store)
    rows = np.flatnonzero(whole.is_embedded & (whole.labels < k))
    store = make_store([whole.classes[code] for code in whole.labels[rows]], whole.embeddings(rows))
    pipeline = fitted(store, head, **options)
    written = write_classifier(tmp_path / "classifier.onnx", pipeline, store)
    found = run(tmp_path / "classifier.onnx", pixels)
    assert list(found) == ["probabilities", "embedding"]
    expected = pipeline.predict_proba(found["embedding"])
    assert np.abs(found["probabilities"] - expected).max() <= TOLERANCE
    assert np.array_equal(found["probabilities"].argmax(axis=1), expected.argmax(axis=1))
    assert np.abs(written.probabilities(found["embedding"]) - found["probabilities"]).max() < 1e-6


@pytest.mark.parametrize("n", [1, 7])
def test_the_backbone_inside_is_unchanged(n, tiny_backbone, tiny_classifier, pixels):
    found, expected = (run(path, pixels[:n])["embedding"] for path in (tiny_classifier, tiny_backbone))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_only_operators_of_the_standard_are_used(tiny_classifier):
    model = onnx.load(tiny_classifier)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert [opset.domain for opset in model.opset_import] == [""]
    kinds = [node.op_type for node in model.graph.node]
    assert kinds[kinds.index("Gemm") - 1 :] == [
        "Sub", "Gemm", "Softmax",
        "Sign", "Abs", "Sqrt", "Mul", "ReduceL2", "Max", "Div",  # square roots at length 1
        "Sub", "MatMul", "Gemm", "Sub", "ReduceL2",  # residual
        "MatMul", "Gemm", "ReduceMin", "Mul", "MatMul", "Add",  # relative Mahalanobis distance
        "Concat", "Gemm", "Greater", "Cast", "Concat",
    ]  # fmt: skip
    assert {tensor.data_type for tensor in model.graph.initializer} == {onnx.TensorProto.FLOAT}


def test_its_metadata_tell_what_it_is_and_where_it_came_from(tiny_store, tiny_backbone, tiny_classifier):
    model = onnx.load(tiny_classifier)
    assert [entry.key for entry in model.metadata_props] == ["headstart", "headstart-trained-on", "headstart-sha256"]
    said = json.loads(model.metadata_props[0].value)
    assert (said["format"], said["schema"]) == ("headstart-classifier", 1)
    assert said["classes"] == ["ash", "birch", "cedar"]
    assert said["backbone_sha256"] == open_store(tiny_store).header.model_sha256
    assert said["backbone"] == "tiny"
    assert said["weights"]["trained"] is True
    assert said["image_size"] == [32, 32]
    assert said["resize"]["version"] == 1
    assert said["head"]["name"] == "logreg"
    assert said["measured"]["accuracy"] == 1
    assert "parity" not in said
    assert os.fspath(tiny_store.parent) not in json.dumps(said)


ODD_NAMES = ["", "Ünïcödé", "a\nb", 'c,"d"', "\udcff\udcfe", "z" * 300]


def test_classes_keep_their_order_and_any_name(clustered, tmp_path):
    names = sorted(ODD_NAMES)
    written = train(clustered(90, names), tmp_path / "classifier.onnx")
    assert written.classifier.classes == names
    assert read_classifier(written.path).classes == names
    assert json.loads(onnx.load(written.path).metadata_props[0].value)["classes"] == names


def test_reading_gives_back_what_was_written(clustered, tmp_path):
    store = clustered(60)
    written = write_classifier(tmp_path / "made.onnx", fitted(store), store, provenance={"head": {"name": "my"}})
    again = read_classifier(tmp_path / "made.onnx")
    assert again.model.metadata == written.model.metadata
    assert again.model.metadata["head"] == {"name": "my"}
    rows = store.embeddings()
    assert np.array_equal(again.probabilities(rows), written.probabilities(rows))


def test_the_same_training_writes_the_same_bytes(clustered, tmp_path):
    store = clustered(60)
    first, again = (train(store, tmp_path / name).path.read_bytes() for name in ("first.onnx", "again.onnx"))
    assert first == again


@pytest.mark.parametrize("where", ["weights", "bias"])
@pytest.mark.parametrize("by", [1e-2, np.nan])
@pytest.mark.parametrize("head", HEADS)
def test_a_file_that_disagrees_with_scikit_learn_is_not_written(clustered, tmp_path, monkeypatch, head, where, by):
    add_layers = headstart.classify.artifact.graph._add_layers

    def wrong(graph, layers, temperature):
        *rest, last = layers
        spoilt = np.array(getattr(last, where))
        spoilt[..., 0] += by
        add_layers(graph, [*rest, replace(last, **{where: spoilt})], temperature)

    store, place = clustered(60, spread=5.0), tmp_path / "classifier.onnx"  # no head is sure of all of them
    pipeline = fitted(store, head)
    monkeypatch.setattr(headstart.classify.artifact.graph, "_add_layers", wrong)
    with pytest.raises(ClassifierError, match=r"classifier\.onnx: its probabilities differ .* so it was not written"):
        write_classifier(place, pipeline, store)
    assert not place.exists()


def test_an_older_file_survives_a_refused_one(clustered, tmp_path, monkeypatch):
    store, place = clustered(60), tmp_path / "classifier.onnx"
    before = write_classifier(place, fitted(store), store).model.data
    monkeypatch.setattr(headstart.classify.artifact.write, "TOLERANCE", -1.0)
    with pytest.raises(ClassifierError, match="differ from scikit-learn"):
        write_classifier(place, fitted(store), store)
    assert place.read_bytes() == before


def test_a_head_of_other_classes_than_the_store_is_refused(clustered, tmp_path):
    head = fitted(clustered(60, ["ash", "birch"], name="two.h5"))
    with pytest.raises(ClassifierError, match=r"the head knows 2 classes, but .* has 3"):
        write_classifier(tmp_path / "classifier.onnx", head, clustered(60))


def test_no_rows_to_compare_on_is_an_error(clustered, tmp_path):
    head, store = fitted(clustered(60)), clustered(60, failed=range(60), name="failed.h5")
    with pytest.raises(ClassifierError, match="not written, as the store has no embeddings to compare it with"):
        write_classifier(tmp_path / "c.onnx", head, store)


@pytest.mark.parametrize("content", [b"", b"my thesis"])
def test_another_file_is_not_overwritten(tmp_path, content):
    place = tmp_path / "other.onnx"
    place.write_bytes(content)
    with pytest.raises(OutputError, match=r"other\.onnx: exists and is not a classifier"):
        check_model_output(place, "classifier")


def test_a_backbone_is_not_overwritten_but_a_classifier_is(clustered, tiny_backbone, tmp_path):
    place = tmp_path / "backbone.onnx"
    place.write_bytes(tiny_backbone.read_bytes())
    with pytest.raises(OutputError, match=r"backbone\.onnx: exists and is not a classifier"):
        train(clustered(), place)
    assert place.read_bytes() == tiny_backbone.read_bytes()
    first = train(clustered(), tmp_path / "classifier.onnx").path.read_bytes()
    assert train(clustered(), tmp_path / "classifier.onnx", head="mlp").path.read_bytes() != first


def test_a_backbone_is_no_classifier(tiny_backbone):
    with pytest.raises(ClassifierError, match=r"backbone\.onnx: expected a classifier, found a backbone; train one"):
        read_classifier(tiny_backbone)


@pytest.mark.parametrize("schema", [0, 2])
def test_another_version_is_refused(tiny_classifier, tmp_path, schema):
    with pytest.raises(ModelError, match=rf"old\.onnx: expected headstart-classifier schema 1, found {schema}"):
        read_classifier(rewritten(tiny_classifier, tmp_path / "old.onnx", schema=schema))


@pytest.mark.parametrize("classes", [[], ["ash"], list("abcd")])
def test_classes_that_do_not_fit_the_graph_are_refused(tiny_classifier, tmp_path, classes):
    with pytest.raises(ClassifierError, match=r"odd\.onnx: its graph does not give one probability for each"):
        read_classifier(rewritten(tiny_classifier, tmp_path / "odd.onnx", classes=classes))


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_a_file_cut_short_is_refused(tiny_classifier, tmp_path, share):
    data, cut = tiny_classifier.read_bytes(), tmp_path / "cut.onnx"
    cut.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ModelError, match=r"cut\.onnx: "):
        read_classifier(cut)


def test_a_classifier_is_no_backbone_to_embed_with(tiny_photos, tiny_classifier, tmp_path):
    from headstart.extract import ExtractError, embed

    with pytest.raises(ExtractError, match=r"classifier\.onnx: expected a backbone, found a classifier"):
        embed(tiny_photos, tiny_classifier, tmp_path / "odd.h5")
    assert not (tmp_path / "odd.h5").exists()


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("shift", "spread"), [(0, 1e-7), (1000, 1e-3), (-1e5, 1.0), (0, 1e6)])
def test_features_of_any_scale_and_offset_become_a_classifier(make_store, clusters, tmp_path, head, shift, spread):
    points, codes = clusters(200, 2)
    points = (points.astype(np.float64) / points.std() * spread + shift).astype(np.float32)
    store = make_store([("ash", "fir")[code] for code in codes], points)
    result = train(store, tmp_path / "c.onnx", head=head)
    assert result.evaluation.accuracy > 0.9
    found = read_classifier(result.path).probabilities(points).argmax(axis=1)
    assert (found == codes).mean() > 0.9
