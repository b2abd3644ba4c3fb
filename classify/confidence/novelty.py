"""When an image is unknown: it is farther from the training images than new images of their classes are.

The distance is the sum of the two of `Subspace`, each standardised on images that its subspace was not fitted on.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headstart.classify.confidence.subspace import Subspace, rooted_units
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.split.folds import spread_over_classes

LEAST_REFERENCES, REFERENCES, MOST_REFERENCES, REFERENCES_PER_CLASS = 500, 1000, 2000, 20
LEAST_OTHERS = 400
"""With so many training images besides the references, distances are standardised and judged on these alone."""
LEAST_DEVIATION = 1e-4
"""Images that differ less than this from one another, as copies do, are taken to differ by it."""


@dataclass(frozen=True)
class Novelty:
    """A distance from the training images, and the threshold beyond which an image is unknown.

    Attributes
    ----------
    subspace
        Of the references: training images.
    references
        How many there are.
    mean, deviation
        float32, (2,): of the subspace's two distances, over training images that are no references.
    distance
        The threshold.
    false_alarm_rate
        Share of known images that the threshold was set to mark.
    measured
        Share of the test images that it does mark; NaN before that is known.
    """

    subspace: Subspace = field(repr=False)
    references: int
    mean: NDArray[np.float32] = field(repr=False)
    deviation: NDArray[np.float32] = field(repr=False)
    distance: float
    false_alarm_rate: float
    measured: float = float("nan")

    def distances(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the distances of embeddings, (n, d): float32, (n,); 0 is that of an average training image."""
        return _summed(self.subspace.distances(rooted_units(embeddings)), self.mean, self.deviation)

    def marks(self, embeddings: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Tell which images are unknown: embeddings (n, d) -> bool (n,)."""
        result: NDArray[np.bool_] = self.distances(embeddings) > self.distance
        return result


def fit_novelty(
    rows: TrainingRows, draws: NDArray[np.float64], false_alarm_rate: float, seed: int = 0
) -> Novelty | None:
    """Set the threshold so that this share of new images of the same classes would be marked.

    Parameters
    ----------
    rows
        The training images.
    draws
        float64, (n,): the same number for duplicates, at random otherwise.
    false_alarm_rate
        Above 0, below 1.

    Returns
    -------
    None if there are too few images to measure such a share.
    """
    judged = np.flatnonzero(rows.folds >= 0)
    if len(judged) * false_alarm_rate < 1:
        return None
    images = rooted_units(rows.embeddings)
    wanted = int(np.clip(REFERENCES_PER_CLASS * rows.classes, REFERENCES, MOST_REFERENCES))
    wanted = min(wanted, max(LEAST_REFERENCES, len(rows) - LEAST_OTHERS))
    chosen = spread_over_classes(rows.labels, wanted, seed)
    others = judged[~np.isin(draws[judged], draws[chosen])]
    if len(others) >= LEAST_OTHERS:
        subspace = Subspace.of(images[chosen], rows.labels[chosen])
        pairs = subspace.distances(images[others])
    else:
        subspace, pairs, chosen = _cross_fitted(images, rows)
    mean, deviation = pairs.mean(axis=0), np.maximum(pairs.std(axis=0), np.float32(LEAST_DEVIATION))
    threshold = _threshold(_summed(pairs, mean, deviation), false_alarm_rate)
    return Novelty(subspace, len(chosen), mean, deviation, threshold, false_alarm_rate)


def _cross_fitted(
    images: NDArray[np.float32], rows: TrainingRows
) -> tuple[Subspace, NDArray[np.float32], NDArray[np.int64]]:
    """Return a subspace, the distances of images that were held out, (j, 2), and the numbers of the references.

    An image is nearer on axes that it helped to find, so each is held out once (Stone 1974, "Cross-validatory choice
    and assessment of statistical predictions"). The subspace is that of the last fold: one of all images would be
    nearer to new images than those of the folds are to the images held out.
    """
    pairs = np.empty((len(rows), 2), np.float32)
    for fold in range(rows.fold_count):
        held_out = rows.folds == fold
        subspace = Subspace.of(images[~held_out], rows.labels[~held_out])
        pairs[held_out] = subspace.distances(images[held_out])
    return subspace, pairs[rows.folds >= 0], np.flatnonzero(~held_out)


def _summed(
    pairs: NDArray[np.float32], mean: NDArray[np.float32], deviation: NDArray[np.float32]
) -> NDArray[np.float32]:
    result: NDArray[np.float32] = ((pairs - mean) / deviation).sum(axis=1)
    return result


def _threshold(distances: NDArray[np.float32], rate: float) -> float:
    """Return the k-th largest of n distances, for k = rate * (n + 1), interpolated.

    A new image is beyond the k-th largest with probability k / (n + 1) (conformal prediction, Vovk et al. 2005).
    """
    far = np.sort(distances)[::-1]
    places = np.arange(1, len(far) + 1)
    return float(np.interp(rate * (len(far) + 1), places, far))
