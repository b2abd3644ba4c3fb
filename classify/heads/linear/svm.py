"""Linear support vector machines: one per class against the others, and the softmax of their scaled margins."""

from typing import Any

import numpy as np

from headstart.classify.heads.layers import Layer
from headstart.classify.heads.linear.objective import SQUARED_HINGE, Objective
from headstart.classify.heads.linear.pipeline import scaled_pipeline
from headstart.classify.heads.options import HeadOptions

DEFAULT_C = 3e-4
FACTOR = 4.0
"""Of the margins, before it is fitted: the likeliest for flowers and for cats and dogs lay between 2 and 7."""


def make_svm(options: HeadOptions) -> Any:
    """Return unfitted support vector machines on scaled embeddings."""
    from headstart.classify.heads.linear.estimators import SoftmaxSVC

    model = SoftmaxSVC(C=options.c or DEFAULT_C, factor=FACTOR, random_state=options.seed)
    return scaled_pipeline(model, options)


def svm_layers(model: Any) -> list[Layer]:
    """Return the one layer of a fitted `SoftmaxSVC`."""
    factor = model.factor * (2 if len(model.intercept_) == 1 else 1)
    return [Layer(factor * model.coef_.T, factor * model.intercept_)]


def _fitted(layer: Layer, factor: float) -> dict[str, Any]:
    coefficients, intercepts = layer.weights.T, layer.bias
    if len(intercepts) == 2:  # scikit-learn has one machine; the other's margins are its negatives
        coefficients, intercepts = np.diff(coefficients, axis=0) / 2, np.diff(intercepts) / 2
    return {"coef_": coefficients, "intercept_": intercepts, "factor": factor}


SVM = Objective(SQUARED_HINGE, DEFAULT_C, make_svm, _fitted, FACTOR)
