"""95 % confidence intervals: of a share, of the difference of two paired shares, and of a mean with a heavy tail.

Images of one group (duplicates, a burst) are not independent. n images then tell as much as n / deff independent ones,
and each interval is computed for so many (Kish 1965, Survey Sampling; for shares: Korn and Graubard 1998). `make
bench-coverage` simulates how often each interval holds the truth.
"""

import numpy as np
from numpy.typing import NDArray

from headstart.classify.bisection import find_root

Z = 1.959964
PRIOR_GROUPS = 1
"""So many groups count as wholly alike inside, beside those that were seen to differ from the mean."""
PRIOR_IMAGES = 4
"""So many images count as expected, beside those that were seen (Agresti and Coull 1998, who add two of each kind)."""
LEAST_GROUPS = 10
"""Fewer groups have no interval of a mean: if a classifier names four groups correctly, nothing tells how large a rare
mistake would be, and Student's interval held the truth in 87 % of simulations."""


def share_interval(right: NDArray[np.bool_], groups: NDArray[np.int64] | None = None) -> tuple[float, float]:
    """Return Wilson's score interval of the share of True (Wilson 1927; Brown, Cai and DasGupta 2001).

    It is never empty: 20 of 20 give (0.84, 1), where resampling would give (1, 1).
    """
    n, share = _like_normal(effective_size(right.astype(np.float64), groups), groups), float(right.mean())
    centre, scale = share + Z**2 / (2 * n), 1 + Z**2 / n
    half = Z * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, float((centre - half) / scale)), min(1.0, float((centre + half) / scale))


def paired_interval(
    new: NDArray[np.bool_], old: NDArray[np.bool_], groups: NDArray[np.int64] | None = None
) -> tuple[float, float]:
    """Return Tango's score interval of mean(new) - mean(old), for two results per image.

    Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design". It inverts a test, so it holds 0 if the test finds no difference, even with a single different image.
    """
    n = _like_normal(effective_size(new.astype(np.float64) - old, groups), groups)
    wins, losses = n * float((new & ~old).mean()), n * float((old & ~new).mean())

    def score(difference: float) -> float:
        """Squared standardised distance, with the likeliest share of losses if this were the difference; less Z^2."""
        b = (2 * n - wins + losses) * difference - wins - losses
        c = -losses * difference * (1 - difference)
        loss = (np.sqrt(max(b**2 - 8 * n * c, 0)) - b) / (4 * n)
        variance = n * (2 * loss + difference * (1 - difference))
        return float((wins - losses - n * difference) ** 2 - Z**2 * variance)

    found, step = (wins - losses) / n, 1e-9  # at `found` itself, an image that never differs gives a score of 0
    low = -1.0 if found - step <= -1 else find_root(score, -1.0, found - step)
    high = 1.0 if found + step >= 1 else find_root(score, found + step, 1.0)
    return low, high


def mean_interval(
    values: NDArray[np.floating],
    expected: tuple[float, float] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> tuple[float, float]:
    """Return Student's interval of a mean, with groups - 1 degrees of freedom.

    A sample of a heavy tail often lacks the rare large values, and looks too sure. If the values' distribution is known
    roughly, `PRIOR_IMAGES` images of it are added, as Agresti and Coull (1998) do for shares.

    Parameters
    ----------
    values
        (n,).
    expected
        Mean and mean square of a value according to a model of it.
    groups
        int64, (n,): the same number for values that are not independent.

    Returns
    -------
    Minus and plus infinity if there are fewer than `LEAST_GROUPS` groups.
    """
    from scipy.special import stdtrit  # scipy.stats takes longer to import than an evaluation

    count = len(values if groups is None else np.unique(groups))
    if count < LEAST_GROUPS:
        return -np.inf, np.inf
    mean, square, added = float(values.mean()), float((values**2).mean()), PRIOR_IMAGES
    if expected is None:
        expected, added = (mean, square), 0
    # What is added are groups, as large as those seen: mistakes are rare in groups, not in images.
    mean, square = (
        (count * own + added * other) / (count + added) for own, other in zip((mean, square), expected, strict=True)
    )
    n = effective_size(values, groups) * (count + added - 1) / count
    half = stdtrit(count - 1, 0.975) * np.sqrt(max(square - mean**2, 0) / n)
    return mean - half, mean + half


def effective_size(values: NDArray[np.floating], groups: NDArray[np.int64] | None) -> float:
    """Return the number of independent values that tell as much about the mean as these, (n,), do in their groups.

    Few different values tell little about how alike a group is inside, so `PRIOR_GROUPS` that are wholly alike are
    added to those seen.
    """
    n = len(values)
    _, group = np.unique(np.arange(n) if groups is None else groups, return_inverse=True)
    sizes = np.bincount(group)
    if len(sizes) == n:
        return float(n)
    most = float((sizes**2).sum() / n)
    deviations = values - values.mean()
    squares = np.bincount(group, deviations) ** 2
    variance = float((deviations**2).sum())
    seen = float(squares.sum() ** 2 / (squares**2).sum()) if squares.any() else 0.0
    effect = squares.sum() / variance * len(sizes) / max(len(sizes) - 1, 1) if variance else most
    effect = min(max((seen * effect + PRIOR_GROUPS * most) / (seen + PRIOR_GROUPS), 1.0), n)
    return float(n / effect)


def _like_normal(n: float, groups: NDArray[np.int64] | None) -> float:
    """Reduce an effective size, so that an interval from `Z` is as wide as from Student's distribution for the groups.

    Korn and Graubard 1998, "Confidence intervals for proportions with small expected number of positive counts".
    """
    from scipy.special import stdtrit  # scipy.stats takes longer to import than an evaluation

    return n if groups is None else float(n * (Z / stdtrit(max(len(np.unique(groups)) - 1, 1), 0.975)) ** 2)
