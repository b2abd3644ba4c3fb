"""Any classifier of scikit-learn as a head: the file gives what it gives, or is not written."""

import numpy as np
import onnx
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingClassifier, ExtraTreesClassifier, GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, LogisticRegressionCV, RidgeClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

import headstart
from headstart.classify import read_classifier, train, write_classifier
from headstart.classify.errors import ClassifierError, HeadError
from headstart.classify.heads.converted import ConvertedHead
from headstart.classify.heads.options import HeadOptions
from headstart.extract import open_store
from headstart.files.errors import MissingExtraError

LINEAR = {
    "bare": LogisticRegression(),
    "scaled": make_pipeline(StandardScaler(), LogisticRegression(C=0.1)),
    "twice scaled": make_pipeline(StandardScaler(), StandardScaler(with_mean=False), LogisticRegression()),
    "searched": LogisticRegressionCV(Cs=3, cv=3, l1_ratios=(0,), use_legacy_attributes=False),
    "discriminants": LinearDiscriminantAnalysis(),
    "ridge": RidgeClassifier(),
    "vectors": LinearSVC(),
    "network": make_pipeline(StandardScaler(), MLPClassifier((8,), max_iter=50, random_state=0)),
}
OTHERS = {
    "forest": RandomForestClassifier(20, random_state=0),
    "extra trees": make_pipeline(StandardScaler(), ExtraTreesClassifier(20, random_state=0)),
    "boosting": GradientBoostingClassifier(n_estimators=5, random_state=0),
    "vectors": SVC(probability=True, random_state=0),
    "tree": DecisionTreeClassifier(random_state=0),
    "components": make_pipeline(StandardScaler(), PCA(4), LogisticRegression()),
    "lengths": make_pipeline(Normalizer(), LogisticRegression()),
    "sigmoid": MLPClassifier((8,), activation="tanh", max_iter=50, random_state=0),
    "calibrated": CalibratedClassifierCV(LinearSVC(), cv=3),
    "bagging": BaggingClassifier(LogisticRegression(), 3, random_state=0),
    "one against the rest": OneVsRestClassifier(LogisticRegression()),
}
pytestmark = pytest.mark.filterwarnings(
    "ignore::sklearn.exceptions.ConvergenceWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"
)


@pytest.fixture(params=[2, 3])
def store(request, make_store, tiny_store):
    """Give rows of real embeddings, so that the classifier of images can be compared as well."""
    whole = open_store(tiny_store)
    rows = np.flatnonzero(whole.is_embedded & (whole.labels < request.param))
    return make_store([whole.classes[code] for code in whole.labels[rows]], whole.embeddings(rows))


def run(path, pixels):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["probabilities", "embedding"], {"image": pixels})


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize("name", LINEAR)
def test_what_is_linear_or_a_network_is_folded_into_core_operators(store, tmp_path, name):
    result = train(store, tmp_path / "c.onnx", head=LINEAR[name])
    assert {node.domain for node in onnx.load(result.path).graph.node} == {""}
    assert result.evaluation.accuracy >= 0.9
    X, y = store.xy()
    names = np.array(store.classes)
    assert (names[result.head.predict(X)] == y).mean() >= 0.9
    found = headstart.load(result.path).predict(store)
    np.testing.assert_array_equal(found, names[result.head.predict(X)])


@pytest.mark.parametrize("name", OTHERS)
def test_anything_else_is_converted_and_gives_the_same(store, tmp_path, name, pixels):
    pytest.importorskip("skl2onnx")
    result = train(store, tmp_path / "c.onnx", head=OTHERS[name])
    assert isinstance(result.fitted_head, ConvertedHead)
    probabilities, embeddings = run(result.path, pixels)
    temperature = result.calibration.temperature if result.calibration else 1.0
    expected = np.maximum(result.head.predict_proba(embeddings), result.fitted_head.floor) ** (1 / temperature)
    np.testing.assert_allclose(probabilities, expected / expected.sum(axis=1, keepdims=True), atol=2e-5)
    again = read_classifier(result.path)
    np.testing.assert_allclose(again.probabilities(embeddings), probabilities, atol=1e-5)
    assert result.evaluation.accuracy >= 0.8
    assert again.model.metadata["head"]["name"] == result.search.chosen.head


def test_it_is_calibrated_and_marks_unknown_images_as_ours_are(clustered, tmp_path):
    pytest.importorskip("skl2onnx")
    result = train(clustered(200), tmp_path / "c.onnx", head=RandomForestClassifier(20, random_state=0))
    assert result.calibration is not None
    assert result.unknown is not None
    assert len(result.learning_curve.points) > 2
    found = read_classifier(result.path).predictions(np.full((1, 16), 50, np.float32))
    assert found[0, -1] == 1


def test_it_has_a_report_and_is_compared_with_other_stores(clustered, tmp_path):
    pytest.importorskip("cleanlab")
    pytest.importorskip("skl2onnx")
    store, other = clustered(60), clustered(60, name="other.h5")
    head = RandomForestClassifier(5, random_state=0)
    result = train(store, tmp_path / "c.onnx", head=head, report=tmp_path / "c.html", compare=[other])
    assert len(result.baselines) == 3
    assert "RandomForestClassifier" in (tmp_path / "c.html").read_text(encoding="utf-8")


def test_it_needs_all_embeddings_in_memory(clustered, tmp_path):
    with pytest.raises(HeadError, match="'RandomForestClassifier' needs all embeddings in memory"):
        train(clustered(60), tmp_path / "c.onnx", head=RandomForestClassifier(5), memory=10)


def test_the_given_classifier_stays_unfitted(clustered, tmp_path):
    given = make_pipeline(StandardScaler(), LogisticRegression())
    train(clustered(60), tmp_path / "c.onnx", head=given)
    assert not hasattr(given[-1], "coef_")


REFUSED = {
    "no classifier": (LinearRegression(), "found LinearRegression"),
    "a class": (LogisticRegression, "a classifier of scikit-learn"),
    "nothing": (None, "found None"),
    "no probabilities": (SVC(), "this SVC gives no probabilities"),
    "fails to predict": (KNeighborsClassifier(50), "the KNeighborsClassifier fails on"),
    "fails to fit": (make_pipeline(PCA(99), LogisticRegression()), "the LogisticRegression cannot be fitted to"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_a_head_is_refused_in_one_line(clustered, tmp_path, case):
    head, reason = REFUSED[case]
    with pytest.raises(HeadError, match=reason) as caught:
        train(clustered(60), tmp_path / "c.onnx", head=head)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "c.onnx").exists()


@pytest.mark.parametrize("head", [KNeighborsClassifier(3), DummyClassifier()])
def test_what_cannot_be_converted_safely_is_refused(clustered, tmp_path, head):
    """Neighbours become a loop, which a file must not have; a dummy has no converter."""
    pytest.importorskip("skl2onnx")
    with pytest.raises(headstart.HeadstartError):
        train(clustered(60), tmp_path / "c.onnx", head=head)
    assert not (tmp_path / "c.onnx").exists()


def test_a_wrong_conversion_is_not_written(clustered, tmp_path, monkeypatch):
    """onnx/sklearn-onnx#1116 and #1117: converted classifiers gave other probabilities."""
    pytest.importorskip("skl2onnx")
    right = ConvertedHead.to_onnx

    def wrong(head, opset):
        other = RandomForestClassifier(3, random_state=1).fit(*clustered(60, name="other.h5").xy())
        other.classes_ = np.arange(3)
        return right(ConvertedHead(other, head.inputs, head.classes), opset)

    monkeypatch.setattr(ConvertedHead, "to_onnx", wrong)
    with pytest.raises(ClassifierError, match="differ from scikit-learn's"):
        train(clustered(60), tmp_path / "c.onnx", head=RandomForestClassifier(20, random_state=0))
    assert not (tmp_path / "c.onnx").exists()


def test_discriminants_of_two_classes_are_right(store, tmp_path, pixels):
    """onnx/sklearn-onnx#1116."""
    if len(store.classes) == 2:
        X, y = store.xy()
        model = LinearDiscriminantAnalysis().fit(X, y)
        write_classifier(tmp_path / "c.onnx", model, store)
        probabilities, embeddings = run(tmp_path / "c.onnx", pixels)
        np.testing.assert_allclose(probabilities, model.predict_proba(embeddings), atol=1e-5)


def test_without_skl2onnx_it_says_what_to_install(clustered, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "skl2onnx", None)
    with pytest.raises(MissingExtraError, match=r'RandomForestClassifier .* pip install "headstart\[sklearn-heads\]"'):
        train(clustered(60), tmp_path / "c.onnx", head=RandomForestClassifier(5))


def test_settings_of_our_heads_are_refused(clustered, tmp_path):
    with pytest.raises(HeadError, match="C does nothing for the head LogisticRegression; leave it out"):
        train(clustered(60), tmp_path / "c.onnx", head=LogisticRegression(), options=HeadOptions(c=1.0))


def test_balanced_classes_reach_the_classifier(clustered, tmp_path):
    plain, balanced = (
        train(clustered(60), tmp_path / "c.onnx", head=LogisticRegression(), options=HeadOptions(class_weight=weight))
        for weight in ("none", "balanced")
    )
    assert balanced.classifier.model.metadata["head"]["class_weight"] == "balanced"
    assert plain.classifier.model.metadata["head"]["class_weight"] == "none"


# Classifiers that were fitted elsewhere


def test_a_head_fitted_to_names_is_written(clustered, tmp_path):
    store = clustered(60)
    X, y = store.xy()
    written = write_classifier(tmp_path / "c.onnx", LogisticRegression().fit(X, y), store)
    assert np.array(written.classes)[written.probabilities(X).argmax(axis=1)].tolist() == y.tolist()


@pytest.mark.parametrize("names", [["cedar", "ash", "birch"], [1, 2, 3], ["x", "y", "z"]])
def test_a_head_of_other_classes_or_another_order_is_refused(clustered, tmp_path, names):
    store = clustered(60)
    X, _ = store.xy()
    labels = np.array(names)[store.labels]
    head = LogisticRegression().fit(X, labels)
    if head.classes_.tolist() != store.classes:
        with pytest.raises(ClassifierError, match="expected a head fitted to the class names"):
            write_classifier(tmp_path / "c.onnx", head, store)
