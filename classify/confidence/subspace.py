"""How unlike the training images an image is: how much of it they do not show, and how little a class claims the rest.

The principal axes of the training images span what varies among them. What an image has beside these axes is its
residual (Wang et al. 2022, "ViM: Out-of-distribution with virtual-logit matching"). On the axes, its relative
Mahalanobis distance (Ren et al. 2021, "A simple fix to Mahalanobis distance for improving near-OOD detection") compares
the nearest class with all training images together. An image from another camera or collection has a larger residual
than the training images, but a class still claims it; an image of something else has both against it.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.rows import blocks_of
from headstart.classify.split.duplicates import unit_rows

Floats = NDArray[np.float32]

MOST_AXES, ROWS_PER_AXIS = 64, 4
PRIOR_ROWS = 8
"""Variances are averages with a prior that counts as this many rows: equal variances on all axes, and within classes
the variances of all rows. So one image per class is enough."""
TINY = 1e-12


def rooted_units(embeddings: Floats) -> Floats:
    """Return the signed square roots of embeddings, (n, d), at length 1, so that no few features prevail."""
    return unit_rows(np.copysign(np.sqrt(np.abs(embeddings)), embeddings))


@dataclass(frozen=True)
class Subspace:
    """The q principal axes of m images, and their c classes on these axes.

    Attributes
    ----------
    centre
        float32, (d,): mean of the images.
    axes
        float32, (d, q): orthonormal.
    turn
        float32, (q, q): makes the within-class covariance the identity, and that of all images diagonal.
    shares
        float32, (q,): the variance within classes as a share of that of all images, after this turn.
    means
        float32, (c, q): of the classes, after this turn.
    """

    centre: Floats = field(repr=False)
    axes: Floats = field(repr=False)
    turn: Floats = field(repr=False)
    shares: Floats = field(repr=False)
    means: Floats = field(repr=False)

    @classmethod
    def of(cls, images: Floats, labels: NDArray[np.int32]) -> "Subspace":
        """Find the axes and classes of images of length 1, (m, d), with labels (m,)."""
        centre: Floats = images.mean(axis=0)
        axes, coordinates = _principal(images - centre)
        m, q = coordinates.shape
        squares = (coordinates**2).sum(axis=0)
        deviations = np.sqrt((squares + PRIOR_ROWS * squares.mean() / m) / (m + PRIOR_ROWS) + TINY)
        whitened = coordinates / deviations
        codes, numbers = np.unique(labels, return_inverse=True)
        means = np.stack([whitened[numbers == number].mean(axis=0) for number in range(len(codes))])
        errors = whitened - means[numbers]
        scatter = errors.T @ errors + PRIOR_ROWS * np.eye(q)
        shares, rotation = np.linalg.eigh(scatter / (max(m - len(codes), 0) + PRIOR_ROWS))
        rotation /= np.sqrt(shares)
        turned = (rotation / deviations[:, None], shares, means @ rotation)
        return cls(centre, axes, *(array.astype(np.float32) for array in turned))

    def distances(self, images: Floats) -> Floats:
        """Return the residual and the relative Mahalanobis distance of images of length 1: (n, d) -> float32 (n, 2)."""
        return np.concatenate([self._distances(block) for block in blocks_of(images)])

    def _distances(self, images: Floats) -> Floats:
        centred = images - self.centre
        coordinates = centred @ self.axes
        residual = np.linalg.norm(centred - coordinates @ self.axes.T, axis=1)
        turned = coordinates @ self.turn
        # The squared length on the axes, which both distances contain, cancels up to the shares.
        nearest = ((self.means**2).sum(axis=1) - 2 * turned @ self.means.T).min(axis=1)
        return np.column_stack([residual, nearest + turned**2 @ (1 - self.shares)])


def _principal(rows: Floats) -> tuple[Floats, NDArray[np.float64]]:
    """Return the principal axes of centred rows, (m, d) -> (d, q), and the rows on them, (m, q), by the Gram matrix."""
    from scipy.linalg import eigh

    m, d = rows.shape
    most = max(1, min(MOST_AXES, m // ROWS_PER_AXIS, d // 2))
    squares, sides = eigh(rows @ rows.T, subset_by_index=[m - most, m - 1], check_finite=False)
    kept = squares > 1e-6 * squares[-1]
    kept[-1] = True
    lengths = np.sqrt(np.maximum(squares[kept], TINY))
    return rows.T @ (sides[:, kept] / lengths), (sides[:, kept] * lengths).astype(np.float64)
