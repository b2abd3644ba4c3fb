"""Is one classifier better than another? Both judged on the very same images, in pairs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import LabelError
from headstart.classify.evaluation.intervals import mean_interval, share_interval

SURE = 0.05
"""The p-value below which a difference is called clear."""


@dataclass(frozen=True)
class Comparison:
    """A new classifier against an old one on n images; differences are new - old, intervals hold 95 %.

    Attributes
    ----------
    images
        n.
    accuracy_new, accuracy_old
        0..1.
    accuracy_difference, accuracy_interval
        Above 0 the new one is better.
    wins, losses
        Images that only the new one gets right, and only the old one.
    p_value
        McNemar's test, exact and two-sided: how often `wins` and `losses` would differ at least so much if both
        classifiers were equally good.
    log_loss_difference, log_loss_interval
        In nats; below 0 the new one is better.
    verdict
        The same in one sentence.
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


def compare(
    probabilities_new: NDArray[np.floating],
    probabilities_old: NDArray[np.floating],
    labels: NDArray[np.integer],
    seed: int = 0,
) -> Comparison:
    """Compare two classifiers, image by image.

    The intervals are percentile bootstraps over images (Efron 1979), each drawn with what both classifiers said of it:
    what is hard for both cancels out. See `mcnemar` for the test.

    Parameters
    ----------
    probabilities_new, probabilities_old
        (n, k), rows summing to 1; row i of both is of one image.
    labels
        (n,): codes into the columns.

    Raises
    ------
    LabelError
        Where there are no images, or the three are not of the same ones.
    """
    _check(probabilities_new, probabilities_old, labels)
    new, old = (given.argmax(axis=1) == labels for given in (probabilities_new, probabilities_old))
    wins, losses = int((new & ~old).sum()), int((old & ~new).sum())
    p_value = mcnemar(wins, losses)
    loss = _log_loss(probabilities_new, labels) - _log_loss(probabilities_old, labels)
    return Comparison(
        images=len(labels),
        accuracy_new=float(new.mean()),
        accuracy_old=float(old.mean()),
        accuracy_difference=(wins - losses) / len(labels),
        accuracy_interval=_accuracy_interval(new.astype(np.int64) - old, seed),
        wins=wins,
        losses=losses,
        p_value=p_value,
        log_loss_difference=float(loss.mean()),
        log_loss_interval=mean_interval(loss, seed=seed),
        verdict=_verdict(len(labels), wins, losses, p_value),
    )


def mcnemar(wins: int, losses: int) -> float:
    """Give the exact two-sided p-value that wins and losses are equally likely.

    McNemar 1947, "Note on the sampling error of the difference between correlated proportions", with the binomial
    distribution in place of the chi-squared; for classifiers: Dietterich 1998.
    """
    from scipy.stats import binomtest

    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def _check(new: NDArray[np.floating], old: NDArray[np.floating], labels: NDArray[np.integer]) -> None:
    if new.shape != old.shape or len(new) != len(labels):
        raise LabelError(
            f"expected probabilities of the same images and classes from both classifiers, found {new.shape} and "
            f"{old.shape} for {len(labels)} labels; judge both on the same rows"
        )
    if not len(labels):
        raise LabelError("expected labelled images to compare the classifiers on, found none")


def _log_loss(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> NDArray[np.float64]:
    of_label = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    loss: NDArray[np.float64] = -np.log(np.clip(of_label, np.finfo(np.float64).tiny, 1))
    return loss


def _accuracy_interval(differences: NDArray[np.int64], seed: int) -> tuple[float, float]:
    if differences.any():
        return mean_interval(differences, seed=seed)
    # Never a difference: resampling would call that certain. What a share of 0 in n may be, it may be either way.
    most = share_interval(0, len(differences))[1]
    return -most, most


def _verdict(images: int, wins: int, losses: int, p_value: float) -> str:
    on = f"on these {images:,} image{'s' * (images != 1)}"
    if not wins + losses:
        return f"no difference {on}: both are right and wrong on the same ones"
    better = "better" if wins > losses else "worse"
    found = "no clear difference" if p_value >= SURE else f"the new one is clearly {better}"
    p = "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"
    return f"{found} {on}: new right where old wrong {wins:,}, old right where new wrong {losses:,}, {p}"
