"""The axes that logistic regression is solved on: the standardised features, or the fewer directions the rows span.

If there are fewer rows than features, the rows are rotated onto the directions that they span. That is exact, since the
L2 penalty is invariant to rotation.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Axes:
    """Axes of standardised embeddings.

    Attributes
    ----------
    mean, scale
        float32, (d,): as in scikit-learn's ``StandardScaler``.
    rotation
        float32, (d, r): orthonormal columns, r <= n; None if all d features are kept as they are.
    covariance
        float32: of the rows on these axes, (r, r); after a rotation only its diagonal, (r,), as the rest is zero.
    """

    mean: Floats
    scale: Floats
    rotation: Floats | None
    covariance: Floats

    @classmethod
    def of(cls, embeddings: Floats) -> "Axes":
        """Find the axes of rows, float32 (n, d)."""
        # A float32 sum over many rows is so inexact that a constant column would seem to vary.
        mean: Floats = embeddings.mean(axis=0, dtype=np.float64).astype(np.float32)
        rows: Floats = embeddings - mean
        scale: Floats = np.sqrt((rows**2).mean(axis=0, dtype=np.float64)).astype(np.float32)
        # Relative to the mean, as is the rounding of a constant feature; a feature may well be tiny.
        scale[scale <= np.finfo(np.float32).eps * np.abs(mean)] = 1
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
        """Return the rows on the axes: float32, (n, r)."""
        rows: Floats = embeddings - self.mean
        rows /= self.scale
        if self.rotation is not None:
            rows = rows @ self.rotation
        return rows

    def unproject(self, weights: Floats) -> Floats:
        """Turn weights on the axes, (r, k), into weights on the standardised features, (d, k)."""
        return weights if self.rotation is None else self.rotation @ weights
