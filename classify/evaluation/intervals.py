"""95 % confidence intervals: Wilson's for a share, a bootstrap for a mean."""

import numpy as np
from numpy.typing import NDArray

SAMPLES = 2000
VALUES_PER_BATCH = 2_000_000
"""Values resampled at a time: 16 MB of them."""


def share_interval(right: int, n: int) -> tuple[float, float]:
    """Return Wilson's score interval of the share `right` / `n` (Wilson 1927; Brown, Cai and DasGupta 2001).

    It is never empty: 20 of 20 give (0.84, 1), where resampling would give (1, 1).
    """
    from scipy.stats import binomtest

    low, high = binomtest(right, n).proportion_ci(method="wilson")
    return float(low), float(high)


def mean_interval(values: NDArray[np.floating] | NDArray[np.integer], seed: int = 0) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean of `values`, (n,) (Efron 1979, "Bootstrap methods")."""
    from scipy.stats import bootstrap

    if len(values) < 2:
        return float(values[0]), float(values[0])
    batch = max(1, VALUES_PER_BATCH // len(values))
    found = bootstrap((values,), np.mean, n_resamples=SAMPLES, batch=batch, method="percentile", rng=seed)
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
