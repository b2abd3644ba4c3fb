"""The affine layers that a fitted classifier amounts to, as they are written to ONNX."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import HeadError
from headstart.classify.heads.rows import blocks_of


@dataclass(frozen=True)
class Layer:
    """One affine layer, (x - c) W + b.

    Attributes
    ----------
    weights, bias
        float64, (inputs, units) and (units,).
    centre
        float32, (inputs,): c; None for 0. A product with inputs far from 0 would lose in float32 what they differ in.
    """

    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    centre: NDArray[np.float32] | None = None

    def uncentred(self) -> "Layer":
        """Return the same layer with its centre in its bias."""
        return self if self.centre is None else Layer(self.weights, self.bias - self.centre @ self.weights)


@dataclass(frozen=True)
class FittedHead:
    """A fitted head.

    Attributes
    ----------
    layers
        What it computes: these, with ReLU between them and softmax after the last.
    build
        Gives the scikit-learn pipeline that computes the same.
    """

    layers: list[Layer] = field(repr=False)
    build: Callable[[], Any] = field(repr=False)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.layers[-1].bias)

    def logits(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return its logits, float64 (n, k), for embeddings, (n, d)."""
        return np.concatenate([apply_layers(self.layers, block) for block in blocks_of(embeddings)])

    @cached_property
    def pipeline(self) -> Any:
        """The scikit-learn pipeline. It is built when first needed: its import takes longer than the search."""
        return self.build()


def linear_layers(model: Any) -> list[Layer]:
    """Return the one layer of a fitted linear classifier of scikit-learn."""
    weights = np.atleast_2d(np.asarray(model.coef_, np.float64))
    return [Layer(weights.T, np.broadcast_to(np.asarray(model.intercept_, np.float64), len(weights)))]


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


def with_scaler(layer: Layer, scaler: Any) -> Layer:
    """Put a ``StandardScaler`` into the layer behind it."""
    inputs = layer.weights.shape[0]
    # A scaler that only divides stores the mean as well.
    mean = np.asarray(scaler.mean_, np.float64) if scaler.with_mean else np.zeros(inputs)
    return standardised(layer, mean, np.ones(inputs) if scaler.scale_ is None else scaler.scale_)


def standardised(layer: Layer, mean: NDArray[np.floating], scale: NDArray[np.floating]) -> Layer:
    """Put a standardisation into the layer behind it: ((x - m) / s - c) W + b = (x - (m + s c)) (W / s) + b."""
    mean, scale = mean.astype(np.float64), np.asarray(scale, np.float64)
    if layer.centre is not None:
        mean = mean + scale * layer.centre
    centre, weights = mean.astype(np.float32), layer.weights / scale[:, None]
    return Layer(weights, layer.bias - (mean - centre) @ weights, centre)


def with_column_per_class(layer: Layer) -> Layer:
    """Turn a two-class logit z into the pair (0, z), whose softmax is the logistic function of z."""
    if len(layer.bias) > 1:
        return layer
    weights = np.hstack([np.zeros_like(layer.weights), layer.weights])
    return Layer(weights, np.append(0.0, layer.bias), layer.centre)


def apply_layers(layers: Sequence[Layer], embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the logits, float64 (n, k), of embeddings, (n, d): the layers, with ReLU between them."""
    values = embeddings.astype(np.float64)
    for number, layer in enumerate(layers):
        values = np.maximum(values, 0) if number else values
        values = (values if layer.centre is None else values - layer.centre) @ layer.weights + layer.bias
    return values
