import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from headstart.classify.errors import HeadError
from headstart.classify.heads.registry import logits_of, to_layers


def fit(pipeline, points, codes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return pipeline.fit(points, codes)


def run(layers, points: np.ndarray) -> np.ndarray:
    """Affine layers with ReLU between them and softmax after the last, in float64."""
    for layer in [layer.uncentred() for layer in layers[:-1]]:
        points = np.maximum(points @ layer.weights + layer.bias, 0)
    last = layers[-1].uncentred()
    logits = points @ last.weights + last.bias
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def difference(head, points: np.ndarray) -> float:
    return float(np.abs(run(to_layers(head), points) - head.predict_proba(points)).max())


MODELS = {
    "logreg": lambda: LogisticRegression(C=1.0),
    "logreg without intercept": lambda: LogisticRegression(fit_intercept=False),
    "mlp": lambda: MLPClassifier((8,), max_iter=3),
    "mlp of three hidden layers": lambda: MLPClassifier((8, 9, 7), max_iter=3),
}
SCALERS = {
    "none": (),
    "standard": (StandardScaler(),),
    "mean only": (StandardScaler(with_std=False),),
    "scale only": (StandardScaler(with_mean=False),),
    "neither": (StandardScaler(with_mean=False, with_std=False),),
    "twice": (StandardScaler(), StandardScaler()),
}


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("scaler", SCALERS)
@pytest.mark.parametrize("model", MODELS)
def test_folded_layers_are_the_pipeline(model, scaler, k):
    rng = np.random.default_rng(0)
    points, codes = rng.normal(3, 2, (24, 5)), np.arange(24) % k
    points[:, 1] = 0.3  # a feature that never changes
    head = fit(make_pipeline(*SCALERS[scaler], MODELS[model]()), points, codes)
    assert difference(head, rng.normal(3, 2, (50, 5))) < 1e-9


@settings(deadline=None, max_examples=30)
@given(
    data=st.data(),
    k=st.integers(2, 5),
    d=st.integers(1, 6),
    model=st.sampled_from(sorted(MODELS)),
    shift=st.floats(-100, 100),
    scale=st.floats(0.01, 100),
)
def test_folding_holds_for_any_shape_and_range(data, k, d, model, shift, scale):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    points, codes = rng.normal(shift, scale, (4 * k, d)), np.arange(4 * k) % k
    head = fit(make_pipeline(StandardScaler(), MODELS[model]()), points, codes)
    assert difference(head, rng.normal(shift, scale, (20, d))) < 1e-9


def test_a_bare_classifier_folds_too():
    points, codes = np.eye(4), np.array([0, 0, 1, 1])
    assert difference(LogisticRegression().fit(points, codes), points) < 1e-9


def test_a_model_of_two_classes_has_a_column_for_each():
    layers = to_layers(LogisticRegression().fit(np.eye(4), [0, 0, 1, 1]))
    assert [(layer.weights.shape, layer.bias.shape) for layer in layers] == [((4, 2), (2,))]


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        (make_pipeline(PCA(2), LogisticRegression()), "a PCA cannot be written as ONNX; expected only StandardScaler"),
        (make_pipeline(RandomForestClassifier(2)), "a RandomForestClassifier cannot .* expected one of LogisticRegr"),
        (make_pipeline(MLPClassifier((3,), activation="tanh", max_iter=2)), "activation 'tanh' .* expected 'relu'"),
    ],
)
def test_what_cannot_be_folded_is_refused(pipeline, message):
    with pytest.raises(HeadError, match=message):
        to_layers(fit(pipeline, np.eye(4), [0, 0, 1, 1]))


@pytest.mark.parametrize(
    "model", [LogisticRegression(C=1e6, max_iter=10_000), MLPClassifier((8,), max_iter=500, random_state=0)]
)
def test_logits_of_two_classes_keep_their_precision_however_sure_the_head_is(model):
    points = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
    head = fit(make_pipeline(StandardScaler(), model), points, (points[:, 0] > 0).astype(int))
    far = np.float32([[-3000.0], [3000.0]])
    logits = logits_of(head, far)
    assert np.isfinite(logits).all()
    assert np.abs(logits[:, 1] - logits[:, 0]).min() > 709  # where the probabilities of float64 are 0 and 1
