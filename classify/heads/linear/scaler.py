"""The scaler of heads on raw embeddings."""

from typing import Any, Self

import numpy as np
from sklearn.preprocessing import StandardScaler


class CommonScaler(StandardScaler):  # type: ignore[misc]  # scikit-learn has no types
    """Centre features, and divide all by one number, the root of their mean variance.

    This changes no distance between embeddings but its unit, so that a penalty means the same for any backbone.
    """

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Update the mean and the number from more rows, (n, d)."""
        super().partial_fit(X, y, sample_weight)
        self.scale_: Any = np.full_like(self.var_, np.sqrt(self.var_.mean()) or 1.0)
        return self
