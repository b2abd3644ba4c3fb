"""When an image is unknown: it is far from the training images, or no class is likely.

The distance is that to the k nearest neighbours (Sun et al. 2022, "Out-of-distribution detection with deep nearest
neighbors"): one minus the mean cosine to the nearest of some training images, the references. To keep the classifier
file small, the references are stored on their leading axes. An image keeps its full length there, so that one outside
of their span is far.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headstart.classify.heads.rows import TrainingRows
from headstart.classify.split.duplicates import unit_rows
from headstart.classify.split.folds import spread_over_classes

NEIGHBOURS = 5
LEAST_REFERENCES, MOST_REFERENCES, REFERENCES_PER_CLASS = 500, 2000, 20
AXES = 128
BLOCK = 4096


@dataclass(frozen=True)
class Novelty:
    """References and two thresholds: an image is unknown beyond that distance, or below that probability.

    Attributes
    ----------
    axes
        float32, (d, q): the leading axes of the references.
    references
        float32, (m, q): training images of length 1, on these axes.
    neighbours
        How many of the nearest references count.
    distance, probability
        Thresholds, of the distance (0..2) and of the likeliest class' calibrated probability (0..1).
    false_alarm_rate
        Share of known images that the thresholds were set to mark.
    measured
        Share of the test images that they do mark; NaN before that is known.
    """

    axes: NDArray[np.float32] = field(repr=False)
    references: NDArray[np.float32] = field(repr=False)
    neighbours: int
    distance: float
    probability: float
    false_alarm_rate: float
    measured: float = float("nan")

    def distances(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the distances of embeddings, (n, d): float32, (n,)."""
        on_axes: NDArray[np.float32] = unit_rows(embeddings) @ self.axes
        cosines: NDArray[np.float32] = on_axes @ self.references.T
        return _distances(cosines, self.neighbours)

    def marks(self, embeddings: NDArray[np.float32], probabilities: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Tell which images are unknown: embeddings (n, d), probabilities (n, k) -> bool (n,)."""
        blocks = [self.distances(embeddings[i : i + BLOCK]) for i in range(0, len(embeddings), BLOCK)]
        far = np.concatenate(blocks) > self.distance
        result: NDArray[np.bool_] = far | (probabilities.max(axis=1) < self.probability)
        return result


def fit_novelty(
    rows: TrainingRows,
    draws: NDArray[np.float64],
    probabilities: NDArray[np.float64],
    false_alarm_rate: float,
    seed: int = 0,
) -> Novelty | None:
    """Set the thresholds so that a share of the training images would be marked, none compared with its duplicates.

    Parameters
    ----------
    rows
        The training images.
    draws
        float64, (n,): the same number for duplicates.
    probabilities
        (n, k): calibrated, out of fold; NaN for an image that was never held out.
    false_alarm_rate
        Above 0, below 1.

    Returns
    -------
    None if there are too few images to measure such a share.
    """
    judged = np.flatnonzero(rows.folds >= 0)
    if len(judged) * false_alarm_rate < 1 or len(rows) <= 2 * NEIGHBOURS:
        return None
    units = unit_rows(rows.embeddings)
    wanted = int(np.clip(REFERENCES_PER_CLASS * rows.classes, LEAST_REFERENCES, MOST_REFERENCES))
    chosen = spread_over_classes(rows.labels, wanted, seed)
    axes = _leading_axes(units[chosen])
    references = units[chosen] @ axes
    found = np.empty(len(judged), np.float32)
    for start in range(0, len(judged), BLOCK):
        block = judged[start : start + BLOCK]
        cosines = units[block] @ axes @ references.T
        cosines[draws[block][:, None] == draws[chosen]] = -1  # itself, and its duplicates
        found[start : start + BLOCK] = _distances(cosines, NEIGHBOURS)
    distance, probability = _thresholds(found, probabilities[judged].max(axis=1), false_alarm_rate)
    return Novelty(axes, references, NEIGHBOURS, distance, probability, false_alarm_rate)


def _thresholds(distances: NDArray[np.float32], probabilities: NDArray[np.float64], rate: float) -> tuple[float, float]:
    """Return each threshold the same share of alarms, so that together they mark the share `rate`."""
    low, high = rate / 2, rate
    for _ in range(30):
        share = (low + high) / 2
        distance, probability = np.quantile(distances, 1 - share), np.quantile(probabilities, share)
        # One more image has to be expected beyond the thresholds (conformal prediction, Vovk et al. 2005).
        marked = ((distances > distance) | (probabilities < probability)).sum()
        alarms = (marked + 1) / (len(distances) + 1)
        low, high = (low, share) if alarms > rate else (share, high)
    return float(distance), float(probability)


def _leading_axes(units: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the right singular vectors of the largest singular values, (d, q), from the m x m Gram matrix."""
    squares, sides = np.linalg.eigh(units @ units.T)
    count = min(AXES, int((squares > 1e-6 * squares[-1]).sum()))
    axes: NDArray[np.float32] = units.T @ (sides[:, -count:] / np.sqrt(squares[-count:]))
    return axes


def _distances(cosines: NDArray[np.float32], neighbours: int) -> NDArray[np.float32]:
    nearest = np.partition(cosines, -neighbours, axis=1)[:, -neighbours:]
    result: NDArray[np.float32] = 1 - nearest.mean(axis=1)
    return result
