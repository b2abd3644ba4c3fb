"""How often the 95 % intervals of an evaluation hold the truth, by simulation: `make bench-coverage`."""

import sys
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from headstart.classify.evaluation.comparison import compare
from headstart.classify.evaluation.intervals import share_interval
from headstart.classify.heads.loss import softmax

SIZES = (20, 50, 100, 500)
CLASSES, MANY = 5, 400_000
CASES = {"hard": (2.0, 0.5), "usual": (8.0, 1.0), "easy": (16.0, 1.0), "noisy": (8.0, 2.0)}
"""Spread of the logits, and the noise that the new classifier sees in them; the old one sees half as much again."""


def drawn(
    rng: np.random.Generator, n: int, spread: float, noise: float, alike: float = 0.0, burst: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Draw n images in bursts: probabilities of two classifiers (n, k), labels (n,) and groups (n,).

    In a burst, all share the scene and its label; of what a classifier sees wrongly, the share `alike` is the same.
    """
    groups = np.arange(n) // burst
    scenes = int(groups[-1]) + 1
    logits = rng.normal(0, spread, (scenes, CLASSES))
    labels = (softmax(logits).cumsum(axis=1) > rng.random((scenes, 1))).argmax(axis=1)
    seen = []
    for factor in (1.0, 1.5):
        shared = rng.normal(0, noise * factor, (scenes, CLASSES))[groups]
        own = rng.normal(0, noise * factor, (n, CLASSES))
        seen.append(softmax(logits[groups] + np.sqrt(alike) * shared + np.sqrt(1 - alike) * own))
    return seen[0], seen[1], labels[groups], groups


def coverage(
    spread: float, noise: float, n: int, alike: float = 0.0, burst: int = 1, times: int = 2000, many: int = MANY
) -> list[float]:
    """Return the share of simulations in which the intervals of accuracy and of both differences hold the truth.

    It is NaN if there is no interval for so few groups.
    """
    rng = np.random.default_rng(0)
    new, old, labels, _ = drawn(rng, many, spread, noise, alike, burst)
    right, was = new.argmax(axis=1) == labels, old.argmax(axis=1) == labels
    rows = np.arange(many)
    loss = np.log(np.maximum(old[rows, labels], 1e-300)) - np.log(np.maximum(new[rows, labels], 1e-300))
    truth = (right.mean(), right.mean() - was.mean(), loss.mean())
    hits = np.zeros(3)
    for _ in range(times):
        scenes = rng.integers(0, many // burst, n // burst)
        chosen = (scenes[:, None] * burst + np.arange(burst)).ravel()
        own = None if burst == 1 else np.repeat(np.arange(len(scenes)), burst)
        found = compare(new[chosen], old[chosen], labels[chosen], own)
        intervals = (share_interval(right[chosen], own), found.accuracy_interval, found.log_loss_interval)
        hits += [
            low <= true <= high if np.isfinite(high) else np.nan
            for (low, high), true in zip(intervals, truth, strict=True)
        ]
    return list(hits / times)


def rows(times: int) -> Iterator[str]:
    """Give one line per case, size and kind of groups."""
    for alike, burst in ((0.0, 1), (0.0, 5), (0.9, 5)):
        for name, (spread, noise) in CASES.items():
            for n in SIZES:
                found = coverage(spread, noise, n, alike, burst, times)
                yield f"{name:6} n={n:3} groups of {burst}, alike {alike:.1f}:" + "".join(
                    "  none" if np.isnan(x) else f" {x:.3f}" for x in found
                )


if __name__ == "__main__":
    print("share of intervals that hold the truth: accuracy, accuracy difference, log-loss difference")
    for line in rows(int(sys.argv[1]) if len(sys.argv) > 1 else 2000):
        print(line, flush=True)
