import os
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from scipy.special import softmax
from sklearn.ensemble import RandomForestClassifier

from headstart.classify.artifact.classifier import read_classifier
from headstart.classify.artifact.graph import head_of, runner_of
from headstart.classify.artifact.write import write_classifier
from headstart.classify.heads.kinds import fit_head
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.registry import HEADS, make_head
from headstart.classify.training import train
from headstart.extract import embed, open_store


def run(path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Run a file as anybody would: with onnxruntime alone."""
    session = onnxruntime.InferenceSession(os.fspath(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": pixels}), strict=True))


@pytest.fixture(scope="module")
def stores(tiny_backbone, with_views, tiny_store, tiny_photos, tmp_path_factory):
    """The tiny photos, in one view and in two."""
    place = tmp_path_factory.mktemp("views") / "views.h5"
    return {1: open_store(tiny_store), 2: embed(tiny_photos, with_views(tiny_backbone, 2), place)[0]}


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Images from plain to noisy: uint8, (64, 32, 32, 3)."""
    rng, noise = np.random.default_rng(0), np.arange(64)[:, None, None, None]
    drawn = rng.integers(0, 256, (64, 1, 1, 3)) + noise * rng.normal(0, 1, (64, 32, 32, 3))
    return np.clip(drawn, 0, 255).astype(np.uint8)


def fitted(name: str, store):
    """Fit a head to labels that are half wrong, so that no probability is rounded to 0 or 1."""
    rows = np.flatnonzero(store.is_embedded & (store.labels >= 0))
    options, labels = HeadOptions(hidden=(8, 7)), store.labels[rows]
    labels[::2] = np.random.default_rng(0).permutation(labels[::2])
    return fit_head(make_head(name, options), store.embeddings(rows), labels, options)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 7.0])
@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("name", HEADS)
def test_probabilities_are_scikit_learns_and_cooled(stores, pixels, tmp_path, name, views, temperature):
    head = fitted(name, stores[views])
    written = write_classifier(tmp_path / "c.onnx", head, stores[views], temperature=temperature)
    found = run(tmp_path / "c.onnx", pixels)
    assert list(found) == ["probabilities", "embedding"]
    logits = head.predict_log_proba(found["embedding"])
    expected = softmax(logits / temperature, axis=1)
    assert np.abs(found["probabilities"] - expected).max() < 1e-5
    assert found["probabilities"].argmax(axis=1).tolist() == expected.argmax(axis=1).tolist()
    assert written.probabilities(found["embedding"]) == pytest.approx(found["probabilities"], abs=1e-6)
    assert written.model.metadata["calibration"]["temperature"] == temperature
    assert (temperature == 1) == np.allclose(expected, softmax(logits, axis=1))


@pytest.mark.parametrize("views", [1, 2])
def test_what_is_unknown_is_told_alike_by_onnxruntime_and_numpy(stores, pixels, tmp_path, views):
    result = train(stores[views], tmp_path / "c.onnx", false_alarms=0.2)
    found = run(result.path, pixels)
    assert list(found) == ["probabilities", "distance", "unknown", "prediction", "embedding"]
    distances = result.unknown.distances(found["embedding"])
    assert found["distance"][:, 0] == pytest.approx(distances, rel=1e-4, abs=1e-3)
    half = float(np.median(distances)) + 0.01  # between two images
    unknown = replace(result.unknown, distance=half)
    written = write_classifier(tmp_path / "half.onnx", result.head, stores[views], unknown=unknown)
    found = run(tmp_path / "half.onnx", pixels)
    expected = unknown.marks(found["embedding"])
    assert found["unknown"][:, 0].tolist() == expected.tolist()
    assert 16 < expected.sum() < 48
    whole = np.hstack([found["probabilities"], found["distance"], found["unknown"]])
    assert np.array_equal(found["prediction"], whole)
    assert written.predictions(found["embedding"]) == pytest.approx(whole, rel=1e-4, abs=1e-3)
    assert written.model.metadata["thresholds"]["distance"] == half


def test_photos_are_known_and_noise_is_not(tiny_store, pixels, tmp_path):
    path = train(tiny_store, tmp_path / "c.onnx").path
    embeddings = open_store(tiny_store).embeddings(open_store(tiny_store).is_embedded)
    assert read_classifier(path).predictions(embeddings)[:, -1].mean() < 0.15
    assert run(path, pixels[-10:])["unknown"].mean() == 1


def test_without_false_alarms_there_is_nothing_about_the_unknown(tiny_store, pixels, tmp_path):
    result = train(tiny_store, tmp_path / "c.onnx", false_alarms=0)
    assert list(run(result.path, pixels)) == ["probabilities", "embedding"]
    assert (result.unknown, result.classifier.prediction) == (None, "probabilities")
    assert result.classifier.model.metadata["thresholds"] == {}
    assert result.classifier.predictions(np.zeros((2, 16), np.float32)).shape == (2, 3)


@pytest.mark.parametrize("false_alarms", [0, 0.2])
@pytest.mark.parametrize("head", ["logreg", "converted"])
def test_class_thresholds_mark_what_is_below_them(stores, pixels, tmp_path, head, false_alarms):
    if head == "converted":
        pytest.importorskip("skl2onnx")
        head = RandomForestClassifier(10, random_state=0)
    result = train(stores[1], tmp_path / "c.onnx", head=head, false_alarms=false_alarms, precision={"all": 0.5})
    unknown, heat = result.unknown, result.calibration.temperature if result.calibration else 1
    if unknown:  # mark fewer of these pixels by the distance
        unknown = replace(unknown, distance=float(np.quantile(run(result.path, pixels)["distance"], 0.8)))

    def written(name: str, thresholds):
        options = {"temperature": heat, "unknown": unknown, "thresholds": thresholds}
        return write_classifier(tmp_path / name, result.fitted_head, stores[1], **options)

    found = run(written("plain.onnx", {}).model.source, pixels)
    far = found["unknown"][:, 0] == 1 if unknown else np.zeros(64, bool)
    surest, likeliest = found["probabilities"].max(axis=1), found["probabilities"].argmax(axis=1)
    middle = round(float(np.median(surest[~far])) + 1e-4, 5)
    strict = replace(result.thresholds["ash"], probability=middle)
    thresholds = {"cedar": replace(strict, probability=0.1), "ash": strict, "birch": strict}
    classifier = written("c.onnx", thresholds)
    found = run(tmp_path / "c.onnx", pixels)
    assert list(found) == ["probabilities", *["distance"] * bool(false_alarms), "unknown", "prediction", "embedding"]
    unsure = surest < np.array([middle, middle, 0.1])[likeliest]
    assert found["unknown"][:, 0].tolist() == (unsure | far).tolist()
    assert (unsure & ~far).any()
    assert (~unsure & ~far).any()
    distance = found["distance"] if false_alarms else np.zeros((64, 1), np.float32)
    assert np.array_equal(found["prediction"], np.hstack([found["probabilities"], distance, found["unknown"]]))
    assert classifier.predictions(found["embedding"])[:, -1].tolist() == found["unknown"][:, 0].tolist()
    assert (classifier.prediction, classifier.has_distance) == ("prediction", bool(false_alarms))
    assert classifier.class_thresholds == thresholds


def test_an_image_and_its_mirror_image_get_the_same_answer(stores, pixels, tmp_path):
    path = train(stores[2], tmp_path / "c.onnx").path
    found, mirrored = (run(path, each) for each in (pixels, np.ascontiguousarray(pixels[:, :, ::-1])))
    one_view = train(stores[1], tmp_path / "one.onnx").path
    assert not np.allclose(run(one_view, pixels)["embedding"], found["embedding"], atol=1e-3)
    assert found["prediction"] == pytest.approx(mirrored["prediction"], abs=1e-5)


@pytest.mark.parametrize("output", ["probabilities", "distance", "unknown", "prediction"])
def test_the_head_alone_holds_nothing_of_the_backbone(tiny_classifier, output):
    head = head_of(tiny_classifier.read_bytes(), output)
    graph = head.graph
    assert [[one.name for one in ends] for ends in (graph.input, graph.output)] == [["embedding"], [output]]
    assert not {"Conv", "Clip"} & {node.op_type for node in graph.node}
    assert runner_of(head)(np.ones((3, 16), np.float32)).shape[0] == 3
