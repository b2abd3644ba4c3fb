"""Estimators of ours in the manner of scikit-learn, which the pipelines of heads of one layer consist of."""

from typing import Any, Self

import numpy as np
from scipy.special import log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.validation import check_is_fitted, validate_data

INTERCEPT_SCALING = 30.0
"""With 1, the penalty would draw the intercepts towards 0 as it does the weights."""


class CommonScaler(StandardScaler):  # type: ignore[misc]  # scikit-learn has no types
    """Centre features, and divide all by one number, the root of their mean variance.

    This changes no distance between embeddings but its unit, so that a penalty means the same for any backbone.
    """

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Update the mean and the number from more rows, (n, d)."""
        super().partial_fit(X, y, sample_weight)
        self.scale_: Any = np.full_like(self.var_, np.sqrt(self.var_.mean()) or 1.0)
        return self


class SoftmaxSVC(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A linear support vector machine per class against the others, and the softmax of their scaled margins.

    Parameters
    ----------
    C
        Inverse strength of the L2 penalty, as for ``LinearSVC``; the loss is the squared hinge.
    factor
        Multiplies the margins. Fit it out of fold: with the right one, probabilities are calibrated (Guo et al. 2017).
    random_state
        Seed of the solver.

    Attributes
    ----------
    coef_, intercept_
        float64, (k, d) and (k,), of the margins of each class; (1, d) and (1,) if there are two.
    classes_
        The labels.
    """

    def __init__(self, C: float = 1.0, *, factor: float = 4.0, random_state: Any = None):
        self.C = C
        self.factor = factor
        self.random_state = random_state

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "SoftmaxSVC":
        """Fit with scikit-learn's ``LinearSVC``, whose penalty on the intercept is made to hardly count."""
        X, y = validate_data(self, X, y)
        svc = LinearSVC(C=self.C, intercept_scaling=INTERCEPT_SCALING, random_state=self.random_state, max_iter=10_000)
        svc.fit(X, y, sample_weight=sample_weight)
        self.classes_, self.coef_, self.intercept_ = svc.classes_, svc.coef_, svc.intercept_
        return self

    def decision_function(self, X: Any) -> Any:
        """Return the scaled margins: (n, k), or (n,) with two classes."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        margins = self.factor * (X @ self.coef_.T + self.intercept_)
        # Each of two classes has a margin: they lie twice as far apart as one does from 0.
        return 2 * margins[:, 0] if margins.shape[1] == 1 else margins

    def predict_log_proba(self, X: Any) -> Any:
        """Return the logarithms of the probabilities, (n, k)."""
        logits = self.decision_function(X)
        return log_softmax(np.column_stack([np.zeros_like(logits), logits]) if logits.ndim == 1 else logits, axis=1)

    def predict_proba(self, X: Any) -> Any:
        """Return probabilities, (n, k)."""
        return np.exp(self.predict_log_proba(X))

    def predict(self, X: Any) -> Any:
        """Return the likeliest labels, (n,)."""
        likeliest = self.predict_log_proba(X).argmax(axis=1)
        return self.classes_[likeliest]
