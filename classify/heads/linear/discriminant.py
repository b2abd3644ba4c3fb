"""Linear discriminants: Gaussian classes around their means with one covariance in common.

An image x belongs to class c with a probability proportional to p_c exp(-s/2 (x - m_c)' V^-1 (x - m_c)), which is the
softmax of affine functions of x (Hastie, Tibshirani and Friedman 2009, sections 4.3 and 18.2). The shares p_c, the
means m_c and the covariance within the classes follow from sums over the rows, which add up over blocks and folds.

V is that covariance, shrunk towards a multiple of the identity. A covariance of few rows makes their classes look far
further apart than they are: the factor s corrects this, and is fitted out of fold.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import HeadError
from headstart.classify.heads.layers import Layer
from headstart.classify.heads.linear.axes import Axes
from headstart.classify.heads.rows import blocks_of

SEPARATION = 12.0
"""The mean squared distance between two class means, s (m_a - m_b)' V^-1 (m_a - m_b), before s is fitted: the
likeliest for flowers and for cats and dogs lay between 9 and 27, whatever the shrinkage and the number of photos."""
TINY = float(np.finfo(np.float32).tiny)
ROUNDING = 1e-5
"""A variance within the classes of at most this share of the whole variance is rounding."""


@dataclass(frozen=True)
class Moments:
    """Weighted sums over rows.

    Attributes
    ----------
    totals, sums
        float64, (k,) and (k, r): of the weights, and of the weighted rows, in each class.
    products
        float64, (r, r): of the weighted outer products of the rows with themselves; 0 if they are not needed.
    """

    totals: NDArray[np.float64]
    sums: NDArray[np.float64] = field(repr=False)
    products: Any = field(repr=False)

    @classmethod
    def of(
        cls,
        rows: NDArray[np.floating],
        labels: NDArray[np.integer],
        weights: NDArray[np.floating],
        classes: int,
        *,
        with_products: bool,
    ) -> "Moments":
        """Sum over rows, (n, r), of labels and weights, (n,), in the precision of the rows, block by block."""
        total = cls.none(classes, rows.shape[1])
        blocks = blocks_of(rows)
        ends = np.cumsum([len(block) for block in blocks])[:-1]
        for block, codes, shares in zip(blocks, np.split(labels, ends), np.split(weights, ends), strict=True):
            member = np.zeros((len(block), classes), rows.dtype)
            member[np.arange(len(block)), codes] = shares
            products = (block * shares.astype(rows.dtype)[:, None]).T @ block if with_products else np.zeros(())
            total += cls(member.sum(axis=0, dtype=np.float64), member.T @ block, products.astype(np.float64))
        return total

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.totals + other.totals, self.sums + other.sums, self.products + other.products)

    @classmethod
    def none(cls, classes: int, axes: int) -> "Moments":
        """Return those of no rows."""
        return cls(np.zeros(classes), np.zeros((classes, axes)), np.zeros(()))

    def rescaled(self, factors: NDArray[np.floating]) -> "Moments":
        """Return those of the rows times a factor for each axis, (r,)."""
        return Moments(self.totals, self.sums * factors, self.products * np.outer(factors, factors))

    def __sub__(self, other: "Moments") -> "Moments":
        return Moments(self.totals - other.totals, self.sums - other.sums, self.products - other.products)

    @property
    def shares(self) -> NDArray[np.float64]:
        """Each class' share of the weight, float64 (k,)."""
        shares: NDArray[np.float64] = self.totals / self.totals.sum()
        return shares

    @property
    def means(self) -> NDArray[np.float64]:
        """The class means, float64 (k, r); 0 for a class without rows."""
        means: NDArray[np.float64] = self.sums / np.maximum(self.totals, TINY)[:, None]
        return means

    def shrunk(self, shrinkage: float, dim: int) -> NDArray[np.float64]:
        """Return a multiple of the covariance within the classes shrunk towards the identity, float64 (r, r).

        It is (1 - shrinkage) C / t + shrinkage I, where t is the mean of the diagonal of C, in `dim` dimensions.
        """
        within: NDArray[np.float64] = self.products - (self.means.T * self.totals) @ self.means
        trace = np.trace(within)
        if trace <= ROUNDING * np.trace(self.products):  # one row per class, or copies of it
            return np.eye(len(within))
        within *= (1 - shrinkage) * dim / trace
        np.einsum("ii->i", within)[...] += shrinkage
        return within


@dataclass(frozen=True)
class Discriminants:
    """The scores s (m' V^-1 x - m' V^-1 m / 2) of rows x.

    The logits are the scores plus the logarithms of the classes' shares.

    Attributes
    ----------
    means, directions
        float64, (k, r) and (r, k): the class means m, and V^-1 m.
    factor
        s.
    """

    means: NDArray[np.float64] = field(repr=False)
    directions: NDArray[np.float64] = field(repr=False)
    factor: float

    @classmethod
    def of(cls, moments: Moments, shrinkage: float | None, dim: int) -> "Discriminants":
        """Find the directions, and the factor that gives `SEPARATION`.

        Parameters
        ----------
        shrinkage
            0..1; None for V = I, which needs no products.
        dim
            Number of features; the rows may have fewer axes, which span them.

        Raises
        ------
        HeadError
            If the covariance is shrunk too little to be inverted.
        """
        from scipy.linalg import LinAlgError, cho_factor, cho_solve

        means = moments.means
        directions, k = means.T, len(means)
        if shrinkage is not None:
            shrunk = moments.shrunk(shrinkage, dim)
            try:
                factor = cho_factor(shrunk, lower=True, overwrite_a=True, check_finite=False)
            except LinAlgError:
                raise HeadError(
                    f"the covariance of these images cannot be inverted with a shrinkage of {shrinkage:g}, as features "
                    "depend on each other; use more, for example 0.1"
                ) from None
            directions = cho_solve(factor, directions, check_finite=False)
        inner = means @ directions
        distance = 2 * (k * np.trace(inner) - inner.sum()) / (k * (k - 1))
        return cls(means, directions, SEPARATION / distance if distance > TINY else 0.0)

    def unprojected(self, axes: Axes) -> "Discriminants":
        """Return those of scaled embeddings instead of rows on axes, which span all means."""
        if axes.rotation is None:
            return self
        rotation = axes.rotation.astype(np.float64)
        return replace(self, means=self.means @ rotation.T, directions=rotation @ self.directions)

    def layer(self) -> Layer:
        """Return the layer of the scores."""
        weights = self.factor * self.directions
        return Layer(weights, -np.einsum("kr,rk->k", self.means, weights) / 2)


def log_shares(moments: Moments) -> NDArray[np.float64]:
    """Return the logarithms of the classes' shares, float64 (k,); of a class without rows, a very small one."""
    logarithms: NDArray[np.float64] = np.log(np.maximum(moments.shares, TINY))
    return logarithms
