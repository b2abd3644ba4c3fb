"""Linear discriminant analysis with a shrunk covariance."""

from functools import partial
from typing import Any

import numpy as np

from headstart.classify.heads.linear.gaussian import Gaussian, fit_gaussian, fit_gaussian_by_blocks
from headstart.classify.heads.linear.pipeline import scaled_pipeline
from headstart.classify.heads.options import HeadOptions

DEFAULT_SHRINKAGE = 0.9


def make_lda(options: HeadOptions) -> Any:
    """Return an unfitted discriminant analysis on scaled embeddings."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    shrinkage = DEFAULT_SHRINKAGE if options.shrinkage is None else options.shrinkage
    return scaled_pipeline(LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage), options)


def _build(fitted: Gaussian, options: HeadOptions) -> Any:
    coefficients, intercepts = fitted.layer.weights.T, fitted.layer.bias
    if len(intercepts) == 2:  # scikit-learn stores their difference alone
        coefficients, intercepts = np.diff(coefficients, axis=0), np.diff(intercepts)
    return fitted.pipeline(make_lda(options), coef_=coefficients, intercept_=intercepts)


fit_lda = partial(fit_gaussian, _build)
fit_lda_by_blocks = partial(fit_gaussian_by_blocks, _build)
