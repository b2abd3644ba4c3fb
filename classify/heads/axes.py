"""The axes on which a path of penalties is solved: the standardised features, or the fewer that the rows span.

Fewer rows than features are turned to the few axes that they span, which is exact: the L2 penalty does not see a
rotation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Axes:
    """Standardised embeddings; of fewer rows than features, on the axes that they span.

    Attributes
    ----------
    mean, scale
        float32, (d,): subtracted, then divided by; as scikit-learn's ``StandardScaler`` has them.
    rotation
        float32, (d, r): orthonormal columns, r <= n; None where all d features are kept as they are.
    covariance
        float32: of the rows, on these axes, (r, r); of spanned axes (r,), the diagonal, for the rest is zero.
    """

    mean: Floats
    scale: Floats
    rotation: Floats | None
    covariance: Floats

    @classmethod
    def of(cls, embeddings: Floats) -> "Axes":
        """Find the axes of rows, float32 (n, d)."""
        # A sum of many float32 is so far off that a constant column would seem to vary.
        mean: Floats = embeddings.mean(axis=0, dtype=np.float64).astype(np.float32)
        rows: Floats = embeddings - mean
        scale: Floats = np.sqrt(np.einsum("nd,nd->d", rows, rows) / np.float32(len(rows)))
        scale[scale < 10 * np.finfo(np.float32).eps * np.maximum(1, np.abs(mean))] = 1
        rows /= scale
        n, d = rows.shape
        if n >= d:
            return cls(mean, scale, None, rows.T @ rows / np.float32(n))
        variance, sides = np.linalg.eigh(rows @ rows.T / n)
        kept = variance > 1e-6 * variance[-1]
        variance, sides = variance[kept], sides[:, kept]
        rotation = (rows.T @ (sides / np.sqrt(n * variance))).astype(np.float32)
        return cls(mean, scale, rotation, variance.astype(np.float32))

    def project(self, embeddings: Floats) -> Floats:
        """Give float32, (n, r): rows on the axes."""
        rows: Floats = embeddings - self.mean
        rows /= self.scale
        if self.rotation is not None:
            rows = rows @ self.rotation
        return rows

    def unproject(self, weights: Floats) -> Floats:
        """Give weights, (r, k), on the standardised features: (d, k)."""
        return weights if self.rotation is None else self.rotation @ weights
