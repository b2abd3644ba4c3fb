"""A fitted scikit-learn pipeline -> the few layers of ONNX that compute the same.

Standardisation is affine, so it goes into the first layer: ((x - m) / s) W + b = x (W / s) + (b - (m / s) W). The
arithmetic is float64; only the result is rounded to float32.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import HeadError


@dataclass(frozen=True)
class Layer:
    """One affine layer, x W + b: weights float64, (inputs, units); bias float64, (units,)."""

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]


def to_layers(head: Any) -> list[Layer]:
    """Give the layers of a pipeline; ReLU belongs between them, softmax after the last.

    Parameters
    ----------
    head
        A fitted pipeline of any number of ``StandardScaler`` and one ``LogisticRegression`` or ``MLPClassifier``
        (hidden activation ``relu``).

    Raises
    ------
    HeadError
        Where it holds another kind of step.
    """
    steps = [step for _, step in head.steps] if hasattr(head, "steps") else [head]
    last = type(steps[-1]).__name__
    if last not in _LAYERS:
        raise HeadError(f"a {last} cannot be written as ONNX; expected one of {', '.join(_LAYERS)}")
    layers = _LAYERS[last](steps[-1])
    for step in reversed(steps[:-1]):
        if type(step).__name__ != "StandardScaler":
            raise HeadError(
                f"a {type(step).__name__} cannot be written as ONNX; expected only StandardScaler before it"
            )
        layers[0] = _standardised(layers[0], step)
    layers[-1] = _with_column_for_each_class(layers[-1])
    return layers


def _standardised(layer: Layer, scaler: Any) -> Layer:
    inputs = layer.weights.shape[0]
    # A scaler that only divides knows the mean as well.
    mean = np.asarray(scaler.mean_, np.float64) if scaler.with_mean else np.zeros(inputs)
    scale = np.ones(inputs) if scaler.scale_ is None else np.asarray(scaler.scale_, np.float64)
    weights = layer.weights / scale[:, None]
    return Layer(weights, layer.bias - mean @ weights)


def _with_column_for_each_class(layer: Layer) -> Layer:
    """Turn a two-class logit z into the pair (0, z), whose softmax is the logistic function of z."""
    if len(layer.bias) > 1:
        return layer
    return Layer(np.hstack([np.zeros_like(layer.weights), layer.weights]), np.append(0.0, layer.bias))


def _logreg_layers(model: Any) -> list[Layer]:
    return [Layer(np.asarray(model.coef_, np.float64).T, np.asarray(model.intercept_, np.float64))]


def _mlp_layers(model: Any) -> list[Layer]:
    if model.activation != "relu":
        raise HeadError(f"an MLPClassifier with activation {model.activation!r} cannot be written; expected 'relu'")
    pairs = zip(model.coefs_, model.intercepts_, strict=True)
    return [Layer(np.asarray(weights, np.float64), np.asarray(bias, np.float64)) for weights, bias in pairs]


_LAYERS = {"LogisticRegression": _logreg_layers, "MLPClassifier": _mlp_layers}
