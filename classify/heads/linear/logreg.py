"""The logistic regression head."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.layers import FittedHead, Layer
from headstart.classify.heads.linear.objective import SOFTMAX, Objective
from headstart.classify.heads.linear.penalised import build_pipeline
from headstart.classify.heads.linear.pipeline import scaled_pipeline
from headstart.classify.heads.options import HeadOptions

DEFAULT_C = 0.01


def make_logreg(options: HeadOptions) -> Any:
    """Return an unfitted logistic regression on scaled embeddings."""
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=options.c or DEFAULT_C, max_iter=1000, random_state=options.seed)
    return scaled_pipeline(model, options)


def from_weights(
    weights: NDArray[np.float32], bias: NDArray[np.float32], options: HeadOptions, images: int
) -> FittedHead:
    """Return the fitted head of weights, (d, k), and bias, (k,), on embeddings as they are."""
    layer, unscaled = Layer(weights.astype(np.float64), bias.astype(np.float64)), np.zeros(len(weights))
    build = partial(build_pipeline, LOGREG, layer, (unscaled, unscaled + 1), 1.0, options, images)
    return FittedHead([layer], build)


def _fitted(layer: Layer, _factor: float) -> dict[str, Any]:
    weights, bias = layer.weights - layer.weights.mean(axis=1, keepdims=True), layer.bias - layer.bias.mean()
    coefficients, intercepts = weights.T, bias
    if len(intercepts) == 2:  # scikit-learn stores their difference alone
        coefficients, intercepts = np.diff(coefficients, axis=0), np.diff(intercepts)
    # Of float32 as the embeddings are, so that it keeps them so.
    return {"coef_": coefficients.astype(np.float32), "intercept_": intercepts.astype(np.float32)}


LOGREG = Objective(SOFTMAX, DEFAULT_C, make_logreg, _fitted)
