"""Pipelines of scikit-learn for heads of one layer: a scaler, then the classifier."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.options import RAW, HeadOptions


def scaled_pipeline(classifier: Any, options: HeadOptions) -> Any:
    """Return an unfitted pipeline of a classifier on scaled embeddings."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from headstart.classify.heads.linear.estimators import CommonScaler

    return make_pipeline(CommonScaler() if options.scaling == RAW else StandardScaler(), classifier)


def fill_pipeline(
    head: Any, mean: NDArray[np.floating], scale: NDArray[np.floating], images: int, **fitted: Any
) -> Any:
    """Give a pipeline its fitted state: mean and scale, (d,), of embeddings, and the classifier's attributes."""
    scaler, model = head[0], head[-1]
    scaler.mean_, scaler.scale_ = mean.astype(np.float64), scale.astype(np.float64)
    scaler.var_, scaler.n_samples_seen_ = scaler.scale_**2, images
    scaler.n_features_in_ = model.n_features_in_ = len(mean)
    for name, value in fitted.items():
        setattr(model, name, value)
    return head
