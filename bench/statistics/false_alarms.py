"""How many new images of known classes are marked unknown, by simulation: `make bench-alarms`."""

import sys

import numpy as np
from numpy.typing import NDArray

from headstart.classify.confidence.novelty import fit_novelty
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.split.folds import draw_folds

SIZES = {50: 200, 100: 100, 200: 100, 300: 60, 500: 40, 1000: 20, 2000: 20}
"""Simulations for each number of training images."""
DECAYS = {"flat": 0.0, "falling": 0.5}
"""Spread of the i-th feature: i to the power of minus this."""
CLASSES, DIM, FRESH, RATE = 5, 300, 1000, 0.05


def drawn(
    rng: np.random.Generator, n: int, means: NDArray[np.float64], spread: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Draw n images of Gaussian classes: embeddings (n, d) and labels (n,)."""
    labels = np.arange(n, dtype=np.int32) % CLASSES
    points = means[labels] + rng.normal(0, 1, (n, DIM)) * spread
    return (points + 0.3).astype(np.float32), labels


def measured_alarms(n: int, times: int, decay: float) -> tuple[float, float]:
    """Return the share of new images that are marked by thresholds for `RATE`, and its standard error."""
    shares = []
    for seed in range(times):
        rng = np.random.default_rng(seed)
        spread = np.arange(1, DIM + 1, dtype=np.float64) ** -decay
        spread *= 4 / float(np.linalg.norm(spread))
        means = rng.normal(0, 0.8, (CLASSES, DIM)) * spread
        points, labels = drawn(rng, n, means, spread)
        draws = rng.random(n)
        found = fit_novelty(TrainingRows(points, labels, draw_folds(labels, draws), CLASSES), draws, RATE)
        fresh, _ = drawn(rng, FRESH, means, spread)
        shares.append(found.marks(fresh).mean() if found else 0.0)
    return float(np.mean(shares)), float(np.std(shares) / np.sqrt(times))


if __name__ == "__main__":
    print(f"share of {FRESH:,} new images marked, thresholds for {RATE:.0%}, mean and standard error")
    for name, decay in DECAYS.items():
        for n, times in SIZES.items():
            rate, error = measured_alarms(n, times * int(sys.argv[1] if len(sys.argv) > 1 else 1), decay)
            print(f"{name:7} n={n:4}: {rate:.4f} +- {error:.4f}", flush=True)
