"""The nearest class mean: one photo per class is enough."""

from functools import partial
from typing import Any

import numpy as np

from headstart.classify.heads.layers import Layer
from headstart.classify.heads.linear.gaussian import Gaussian, fit_gaussian, fit_gaussian_by_blocks
from headstart.classify.heads.linear.pipeline import scaled_pipeline
from headstart.classify.heads.options import HeadOptions


def make_prototype(options: HeadOptions) -> Any:
    """Return an unfitted nearest class mean on scaled embeddings, in favour of common classes."""
    from sklearn.neighbors import NearestCentroid

    return scaled_pipeline(
        NearestCentroid(priors="empirical" if options.class_weight == "none" else "uniform"), options
    )


def prototype_layers(model: Any) -> list[Layer]:
    """Return the one layer of a fitted ``NearestCentroid``: -|(x - m) / s|^2 + 2 ln p, without |x / s|^2.

    scikit-learn counts the squared distance and the logarithm of the share twice (Hastie et al. 2009, equation 18.2).
    """
    deviations = np.where(model.within_class_std_dev_ == 0, 1, model.within_class_std_dev_)
    scaled = model.centroids_ / deviations
    return [Layer((2 * scaled / deviations).T, 2 * np.log(model.class_prior_) - (scaled**2).sum(axis=1))]


def _build(fitted: Gaussian, options: HeadOptions) -> Any:
    found, shares = fitted.discriminants, np.exp(fitted.log_shares / 2)
    deviations = np.full(len(fitted.mean), np.sqrt(2 / found.factor) if found.factor else np.inf)
    return fitted.pipeline(
        make_prototype(options),
        centroids_=found.means,
        within_class_std_dev_=deviations,
        class_prior_=shares / shares.sum(),
    )


fit_prototype = partial(fit_gaussian, _build)
fit_prototype_by_blocks = partial(fit_gaussian_by_blocks, _build)
