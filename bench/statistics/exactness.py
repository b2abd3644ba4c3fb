"""``make bench-exactness``: compare logistic regression fits with those of scikit-learn, solved until nothing changes.

Settings come from the environment: BENCH_STORE (an embedding store; by default random features), BENCH_ROWS (numbers of
rows), BENCH_CLASSES (numbers of classes) and BENCH_C (penalties), each a list with commas.
"""

import os
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

UNSEEN, ANCHORS = 1000, 6
TOLERANCE, MOST_PASSES = 1e-10, 3000
"""scikit-learn stops once no entry of its gradient exceeds this; at 1e-7 it is the less exact of the two, by the loss
that both minimise. Where classes cannot be told apart (random features, a hundred classes, C = 1000), answers are ties:
a solution within 1 % of the optimum's weights may differ in 4 % of them."""


@dataclass(frozen=True)
class Agreement:
    """How one fit compares with scikit-learn's on unseen rows.

    Attributes
    ----------
    same
        Share of rows with the same answer, 0..1.
    loss
        Log loss divided by scikit-learn's, less 1.
    excess
        The loss that both minimise, with its penalty, divided by scikit-learn's, less 1. Below 0, scikit-learn's
        solution is the less exact of the two.
    passes
        Those of scikit-learn; `MOST_PASSES` if it stopped there.
    seconds
        CPU time of the fit and of scikit-learn's.
    """

    same: float
    loss: float
    excess: float
    passes: int
    seconds: tuple[float, float]


def main() -> None:
    """Run the comparison, and print a Markdown table as it grows."""
    from headstart import open_store
    from headstart.classify.heads.threads import blas_threads

    store = os.environ.get("BENCH_STORE")
    rng = np.random.default_rng(0)
    real = open_store(store).embeddings() if store else np.maximum(rng.normal(0, 1, (2500, 1280)), 0)
    rows, classes = (_numbers(name, text) for name, text in (("ROWS", "50,300,900,2500"), ("CLASSES", "2,5,40,120")))
    with blas_threads(0):
        for line in _lines(real.astype(np.float32), rows, classes, _numbers("C", "0.01,1,100,1000")):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()


def _numbers(name: str, default: str) -> list[float]:
    return [float(part) for part in os.environ.get(f"BENCH_{name}", default).split(",")]


def _lines(real: NDArray[np.float32], rows: list[float], classes: list[float], cs: list[float]) -> Iterator[str]:
    yield "| rows | classes | C | same | excess log loss | excess minimised loss | passes | CPU s | its CPU s |"
    yield "|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    for n, k, c in product(rows, classes, cs):
        if n >= 2 * k:
            found = agreement(*mixture(real, int(n) + UNSEEN, int(k)), int(n), c)
            ours, theirs = found.seconds
            yield (
                f"| {n:.0f} | {k:.0f} | {c:g} | {found.same:.3f} | {found.loss:+.4f} | {found.excess:+.1e} | "
                f"{found.passes} | {ours:.2f} | {theirs:.1f} |"
            )


def mixture(real: NDArray[np.float32], n: int, k: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Draw mixtures of one of a class's anchors and any other row: float32 (n, d), and labels (n,) of k classes."""
    rng, labels = np.random.default_rng(1), (np.arange(n) % k).astype(np.int32)
    anchors, share = rng.integers(0, len(real), (k, ANCHORS)), rng.beta(2, 2, (n, 1)).astype(np.float32)
    own, other = real[anchors[labels, rng.integers(0, ANCHORS, n)]], real[rng.integers(0, len(real), n)]
    return share * own + (1 - share) * other, labels


def agreement(points: NDArray[np.float32], labels: NDArray[np.int32], n: int, c: float) -> Agreement:
    """Fit to the first n rows, and compare on the others with scikit-learn on the same axes, in float64."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    from headstart.classify.heads.linear.axes import Axes
    from headstart.classify.heads.linear.logreg import LOGREG
    from headstart.classify.heads.linear.problem import Problem
    from headstart.classify.heads.linear.solver import solve_path
    from headstart.classify.heads.loss import log_loss, softmax

    axes, k = Axes.of(points[:n]), int(labels.max()) + 1
    rows, strengths = axes.project(points), LOGREG.penalties((c,), 1.0, k)
    started = time.process_time()
    problem = Problem(rows[:n], labels[:n], np.ones((1, n), np.float32), axes.covariance, k)
    fits = next(solve_path(problem, strengths))
    between = time.process_time()
    model = LogisticRegression(C=c, tol=TOLERANCE, max_iter=MOST_PASSES)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(rows[:n].astype(np.float64), labels[:n])
    seconds = between - started, time.process_time() - between
    their_weights, their_bias = model.coef_.T, model.intercept_
    if k == 2:  # one vector, the difference of the two
        their_weights, their_bias = their_weights * [-0.5, 0.5], their_bias * [-0.5, 0.5]
    logits, losses, minimised = [], [], []
    for weights, bias in ((fits.weights[:, 0], fits.bias[0]), (their_weights, their_bias)):
        logits.append(rows.astype(np.float64) @ weights.astype(np.float64) + bias)
        trained, unseen = (log_loss(softmax(logits[-1][part]), labels[part]) for part in (slice(n), slice(n, None)))
        losses.append(unseen)
        minimised.append(trained + float((weights.astype(np.float64) ** 2).sum()) / (2 * strengths[0] * n))
    same = float((logits[0].argmax(axis=1) == logits[1].argmax(axis=1)).mean())
    passes = int(model.n_iter_.max())
    return Agreement(same, losses[0] / losses[1] - 1, minimised[0] / minimised[1] - 1, passes, seconds)


if __name__ == "__main__":
    main()
