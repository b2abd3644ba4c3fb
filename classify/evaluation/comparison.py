"""Is one classifier better than another? A paired comparison on the same images."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import LabelError
from headstart.classify.evaluation.intervals import mean_interval, paired_interval
from headstart.classify.heads.candidate import Candidate, Search

SURE = 0.05
"""A difference with a p-value below this is called clear."""


@dataclass(frozen=True)
class Comparison:
    """A new classifier against an old one on n images; differences are new - old, intervals are 95 % ones.

    Attributes
    ----------
    images
        n.
    accuracy_new, accuracy_old
        0..1.
    accuracy_difference, accuracy_interval
        Above 0 the new one is better.
    wins, losses
        Images that only the new one classifies correctly, and only the old one.
    p_value
        McNemar's test, exact and two-sided: the probability that `wins` and `losses` differ at least this much if both
        classifiers are equally good.
    log_loss_difference, log_loss_interval
        In nats; below 0 the new one is better.
    verdict
        The result in one sentence.
    """

    images: int
    accuracy_new: float
    accuracy_old: float
    accuracy_difference: float
    accuracy_interval: tuple[float, float]
    wins: int
    losses: int
    p_value: float
    log_loss_difference: float
    log_loss_interval: tuple[float, float]
    verdict: str


@dataclass(frozen=True)
class ComparedHead:
    """The best setting of a head, out of fold on the training images, each head with its own temperature.

    Attributes
    ----------
    candidate
        The setting; its log loss is the one without a temperature.
    log_loss
        With it, in nats.
    difference
        This head against the chosen one, on the same images; None for that one, or if the images differ.
    """

    candidate: Candidate
    log_loss: float
    difference: Comparison | None

    @property
    def words(self) -> str:
        """The head and its settings."""
        return self.candidate.words if self.candidate.settings else f"{self.candidate.head} as it was tuned"

    @property
    def is_clearly_worse(self) -> bool:
        """Whether the interval of the difference in log loss lies above 0."""
        return self.difference is not None and self.difference.log_loss_interval[0] > 0


def compare_heads(search: Search, groups: NDArray[np.int64]) -> list[ComparedHead]:
    """Compare the heads that ``auto`` tried with the chosen one; the least log loss first.

    Parameters
    ----------
    groups
        int64, (n,), of the searched images, as for `compare`.
    """
    known, best = search.rows.folds >= 0, search.probabilities if search.contenders else None

    def difference(one: Search) -> Comparison | None:
        is_same = len(one.rows) == len(search.rows) and np.array_equal(one.rows.folds, search.rows.folds)
        if one.chosen is search.chosen or best is None or not is_same or not known.any():
            return None
        return compare(one.probabilities, best, search.rows.labels[known], groups[known])

    compared = [ComparedHead(one.chosen, one.calibrated_loss, difference(one)) for one in search.contenders]
    return sorted(compared, key=lambda one: one.log_loss)


def compare(
    probabilities_new: NDArray[np.floating],
    probabilities_old: NDArray[np.floating],
    labels: NDArray[np.integer],
    groups: NDArray[np.int64] | None = None,
) -> Comparison:
    """Compare two classifiers, image by image: images that are hard for both cancel out.

    See `headstart.classify.evaluation.intervals` for the intervals, and `mcnemar` for the test.

    Parameters
    ----------
    probabilities_new, probabilities_old
        (n, k), rows summing to 1; row i of both belongs to the same image.
    labels
        (n,): column numbers.
    groups
        int64, (n,): the same number for images that are not independent, such as duplicates; all are by default.

    Raises
    ------
    LabelError
        If there are no images, or the three have different lengths.
    """
    _check(probabilities_new, probabilities_old, labels)
    new, old = probabilities_new.argmax(axis=1) == labels, probabilities_old.argmax(axis=1) == labels
    wins, losses = int((new & ~old).sum()), int((old & ~new).sum())
    p_value = mcnemar(wins, losses)
    differences = _log_loss(probabilities_new) - _log_loss(probabilities_old)
    loss = differences[np.arange(len(labels)), labels]
    return Comparison(
        images=len(labels),
        accuracy_new=float(new.mean()),
        accuracy_old=float(old.mean()),
        accuracy_difference=(wins - losses) / len(labels),
        accuracy_interval=paired_interval(new, old, groups),
        wins=wins,
        losses=losses,
        p_value=p_value,
        log_loss_difference=float(loss.mean()),
        log_loss_interval=mean_interval(loss, _expected(differences, probabilities_new, probabilities_old), groups),
        verdict=_verdict(len(labels), wins, losses, p_value),
    )


def mcnemar(wins: int, losses: int) -> float:
    """Return the exact two-sided p-value that wins and losses are equally likely.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions", with the binomial
    distribution in place of the chi-squared; for classifiers: Dietterich 1998.
    """
    from scipy.special import bdtr  # scipy.stats takes longer to import than an evaluation

    return min(1.0, 2 * float(bdtr(min(wins, losses), wins + losses, 0.5)))


def _check(new: NDArray[np.floating], old: NDArray[np.floating], labels: NDArray[np.integer]) -> None:
    if new.shape != old.shape or len(new) != len(labels):
        raise LabelError(
            f"expected probabilities for the same images and classes from both classifiers, found {new.shape} and "
            f"{old.shape} for {len(labels)} labels; evaluate both on the same rows"
        )
    if not len(labels):
        raise LabelError("found no labelled images to compare the classifiers on")


def _log_loss(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the log loss (nats), (n, k), that each class would have as the label."""
    loss: NDArray[np.float64] = -np.log(np.clip(probabilities.astype(np.float64), np.finfo(np.float64).tiny, 1))
    return loss


def _expected(
    differences: NDArray[np.float64], new: NDArray[np.floating], old: NDArray[np.floating]
) -> tuple[float, float]:
    """Return mean and mean square of the difference if labels were drawn from the mean of both predictions."""
    drawn = (new + old) / 2
    return float((drawn * differences).sum(axis=1).mean()), float((drawn * differences**2).sum(axis=1).mean())


def _verdict(images: int, wins: int, losses: int, p_value: float) -> str:
    on = f"on these {images:,} image{'s' * (images != 1)}"
    if not wins + losses:
        return f"no difference {on}: both misclassify the same ones"
    better = "better" if wins > losses else "worse"
    verdict = "no clear difference" if p_value >= SURE else f"the new one is clearly {better}"
    p = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"
    return f"{verdict} {on}: only the new one is correct on {wins:,}, only the old one on {losses:,} ({p})"
