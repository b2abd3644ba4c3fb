"""How often a class threshold promises a precision that it does not keep, by simulation: `make bench-precision`."""

import sys

import numpy as np
from numpy.typing import NDArray

from headstart.classify.confidence.precision import fit_thresholds
from headstart.classify.heads.candidate import Candidate, Search
from headstart.classify.heads.rows import TrainingRows

SIZES, TARGETS, TIMES = (100, 200, 500, 1000, 2000), (0.9, 0.95, 0.98), 300
NOISE = {"calibrated": 0.0, "1 % of labels wrong": 0.01}
CLASSES, FRESH = 5, 100_000


def drawn(rng: np.random.Generator, n: int, noise: float) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Draw calibrated probabilities of n images, (n, k), and their labels, of which a share `noise` is any class."""
    logits = rng.gumbel(0, 1, (n, CLASSES)) * rng.gamma(2, 2, (n, 1))
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = (probabilities.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=CLASSES - 1)
    return probabilities, np.where(rng.random(n) < noise, rng.integers(0, CLASSES, n), labels).astype(np.int32)


def search_of(probabilities: NDArray[np.float64], labels: NDArray[np.int32]) -> Search:
    """Return a search whose out-of-fold probabilities are these, at temperature 1."""
    rows = TrainingRows(np.zeros((len(labels), 1), np.float32), labels, np.arange(len(labels)) % 5, CLASSES)
    logits = np.log(np.maximum(probabilities, 1e-300))
    return Search.of_one(Candidate("logreg", {}, *rows.judge(logits)), rows, logits)


def measured_promises(n: int, target: float, noise: float, times: int) -> tuple[float, float, float, float]:
    """Return shares of simulated trainings on n images, and means over those that promise the target.

    Returns
    -------
    Trainings that promise the target, and that do so without keeping it; mean precision, and mean share of predictions
    of the class that are answered.
    """
    rng = np.random.default_rng(0)
    fresh, truth = drawn(rng, FRESH, noise)
    is_class, is_predicted = truth == 0, fresh.argmax(axis=1) == 0
    kept = []
    for _ in range(times):
        probabilities, labels = drawn(rng, n, noise)
        found = fit_thresholds(search_of(probabilities, labels), rng.random(n), 1.0, {"a": target}, list("abcde"))["a"]
        if found.promised >= target:
            answered = is_predicted & (fresh[:, 0] >= found.probability)
            kept.append((is_class[answered].mean(), answered.sum() / is_predicted.sum()))
    precision, share = np.array(kept or [(np.nan, np.nan)]).T
    return len(kept) / times, float((precision < target).sum() / times), float(precision.mean()), float(share.mean())


if __name__ == "__main__":
    print(f"{CLASSES} classes: trainings that promise a precision of one, and that do not keep it; then means")
    for name, noise in NOISE.items():
        for target in TARGETS:
            for n in SIZES:
                times = TIMES * int(sys.argv[1] if len(sys.argv) > 1 else 1)
                promising, broken, precision, share = measured_promises(n, target, noise, times)
                means = f"precision {precision:.3f}, answered {share:.0%}" if promising else ""
                print(f"{name:20} {target:.2f} n={n:4}: {promising:6.1%}, broken {broken:5.1%} {means}", flush=True)
