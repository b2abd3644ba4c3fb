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
LEAST_OTHERS = 400
"""With so many training images besides the references, thresholds are set on these alone."""
AXES = 128
FOLDS = 3
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
        Thresholds, of the distance (0..2) and of the likeliest class' calibrated probability (0..1). The latter is 0,
        which marks none, if there were too few images for both.
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
    """Set the thresholds so that this share of new images of the same classes would be marked.

    Parameters
    ----------
    rows
        The training images.
    draws
        float64, (n,): the same number for duplicates, at random otherwise.
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
    wanted = int(np.clip(REFERENCES_PER_CLASS * rows.classes, LEAST_REFERENCES, MOST_REFERENCES))
    wanted = min(wanted, max(LEAST_REFERENCES, len(rows) - LEAST_OTHERS))
    chosen = spread_over_classes(rows.labels, wanted, seed)
    others = judged[~np.isin(draws[judged], draws[chosen])]
    judged = others if len(others) >= LEAST_OTHERS else judged
    units = unit_rows(rows.embeddings)
    gram = units[chosen] @ units[chosen].T
    thresholds = _thresholds(
        _distances_as_new(units, draws, chosen, gram, judged), probabilities[judged].max(axis=1), false_alarm_rate
    )
    axes: NDArray[np.float32] = units[chosen].T @ _weights_of_axes(gram)
    return thresholds and Novelty(axes, units[chosen] @ axes, NEIGHBOURS, *thresholds, false_alarm_rate)


def _distances_as_new(
    units: NDArray[np.float32],
    draws: NDArray[np.float64],
    chosen: NDArray[np.int64],
    gram: NDArray[np.float32],
    judged: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Return the distances of judged images from the references, as far as they would be if they were new.

    An image is nearer on axes that it helped to choose. If references are judged, or duplicates of them, it is against
    the other folds on the axes of these (Stone 1974, "Cross-validatory choice and assessment of statistical
    predictions"), whose 3 nearest are about as far as the 5 nearest of all. Axes that span all references change no
    cosine to one. No image is compared with itself and its duplicates.
    """
    parts = [(np.arange(len(judged)), chosen, gram)]
    if len(chosen) > AXES and np.isin(draws[judged], draws[chosen]).any():
        fold, parts = np.unique(draws, return_inverse=True)[1] % FOLDS, []
        for own in range(FOLDS):
            kept = fold[chosen] != own
            parts.append((np.flatnonzero(fold[judged] == own), chosen[kept], gram[np.ix_(kept, kept)]))
    result = np.empty(len(judged), np.float32)
    for held_out, others, own_gram in parts:
        weights, neighbours = _weights_of_axes(own_gram), round(NEIGHBOURS * len(others) / len(chosen))
        axes, references = units[others].T @ weights, own_gram @ weights
        for part in np.array_split(held_out, 1 + len(held_out) // BLOCK):
            cosines = units[judged[part]] @ axes @ references.T
            cosines[draws[judged[part]][:, None] == draws[others]] = -1
            result[part] = _distances(cosines, neighbours)
    return result


def _thresholds(
    distances: NDArray[np.float32], probabilities: NDArray[np.float64], rate: float
) -> tuple[float, float] | None:
    """Return the k-th largest distance and the k-th least probability, for the k that marks the share `rate`.

    An image that is left out is beyond a threshold of the other n if at most k of all n + 1 are as far as it (conformal
    prediction, Vovk et al. 2005). The share of such images is that of a new one too; k is interpolated to meet `rate`.
    """
    far, unsure = np.sort(distances)[::-1], np.sort(probabilities)
    n = len(far)
    ranks = np.minimum(n - np.searchsorted(far[::-1], distances), np.searchsorted(unsure, probabilities, "right"))
    marked = np.searchsorted(np.sort(ranks), np.arange(n + 1), "right")  # for each k
    k = int(np.searchsorted(marked, rate * (n + 1), "right")) - 1
    if not k and probabilities.any():  # one threshold marks half as many: so few images have that of the distance alone
        return _thresholds(distances, np.zeros(n), rate)
    if not 0 < k < n:
        return None
    part = (rate * (n + 1) - marked[k]) / max(marked[k + 1] - marked[k], 1)
    distance, probability = (float(ends[k - 1] + part * (ends[k] - ends[k - 1])) for ends in (far, unsure))
    return distance, probability


def _weights_of_axes(gram: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the weights, (m, q), of m rows in the axes of their largest singular values, from their Gram matrix."""
    from scipy.linalg import eigh

    m = len(gram)
    squares, sides = eigh(gram, subset_by_index=[max(0, m - AXES), m - 1], check_finite=False)
    kept = squares > 1e-6 * squares[-1]
    weights: NDArray[np.float32] = sides[:, kept] / np.sqrt(squares[kept])
    return weights


def _distances(cosines: NDArray[np.float32], neighbours: int) -> NDArray[np.float32]:
    nearest = np.partition(cosines, -neighbours, axis=1)[:, -neighbours:]
    result: NDArray[np.float32] = 1 - nearest.mean(axis=1)
    return result
