"""The affine layers that a fitted classifier amounts to, as they are written to ONNX."""

from collections.abc import Sequence
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


def linear_layers(model: Any) -> list[Layer]:
    """Return the one layer of a fitted linear classifier of scikit-learn."""
    return [Layer(np.asarray(model.coef_, np.float64).T, np.asarray(model.intercept_, np.float64))]


def network_layers(model: Any) -> list[Layer]:
    """Return the layers of a fitted ``MLPClassifier``.

    Raises
    ------
    HeadError
        If its activation is not ``relu``.
    """
    if model.activation != "relu":
        raise HeadError(f"an MLPClassifier with activation {model.activation!r} cannot be written; expected 'relu'")
    pairs = zip(model.coefs_, model.intercepts_, strict=True)
    return [Layer(np.asarray(weights, np.float64), np.asarray(bias, np.float64)) for weights, bias in pairs]


def standardised(layer: Layer, scaler: Any) -> Layer:
    """Put a ``StandardScaler`` into the layer behind it: ((x - m) / s) W + b = x (W / s) + (b - (m / s) W)."""
    inputs = layer.weights.shape[0]
    # A scaler that only divides stores the mean as well.
    mean = np.asarray(scaler.mean_, np.float64) if scaler.with_mean else np.zeros(inputs)
    scale = np.ones(inputs) if scaler.scale_ is None else np.asarray(scaler.scale_, np.float64)
    weights = layer.weights / scale[:, None]
    return Layer(weights, layer.bias - mean @ weights)


def with_column_per_class(layer: Layer) -> Layer:
    """Turn a two-class logit z into the pair (0, z), whose softmax is the logistic function of z."""
    if len(layer.bias) > 1:
        return layer
    return Layer(np.hstack([np.zeros_like(layer.weights), layer.weights]), np.append(0.0, layer.bias))


def apply_layers(layers: Sequence[Layer], embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the logits, float64 (n, k), of embeddings, (n, d): the layers, with ReLU between them."""
    values = embeddings.astype(np.float64)
    for number, layer in enumerate(layers):
        values = (np.maximum(values, 0) if number else values) @ layer.weights + layer.bias
    return values
