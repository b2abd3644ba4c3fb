"""How far forecasts of the learning curve are from heads trained on twice the images: `make bench-forecast`."""

import os
import sys

import numpy as np
from numpy.typing import NDArray

from headstart.classify.evaluation.learning_curve import learning_curve
from headstart.classify.heads.fitting import fit_rows
from headstart.classify.heads.loss import log_loss, softmax
from headstart.classify.heads.options import HeadOptions
from headstart.classify.heads.rows import TrainingRows
from headstart.classify.split.duplicates import find_duplicates
from headstart.classify.split.folds import draw_folds
from headstart.classify.split.holdout import draws_of
from headstart.extract.store.store import Store, open_store

SIZES, SEEDS, TESTED = (125, 250, 500, 1000), 12, 500


def forecast_errors(store: Store, n: int, seeds: int) -> NDArray[np.float64]:
    """Return forecast minus truth of accuracy (0..1) and log loss (nats), (seeds, 2), from n images for 2n."""
    rows = np.flatnonzero(store.is_embedded & (store.labels >= 0))
    embeddings, labels = store.embeddings(rows), store.labels[rows]
    groups = find_duplicates(store).group_of_rows(len(store))
    errors = []
    for seed in range(seeds):
        draws = draws_of(store, seed, groups)[rows]
        order = np.argsort(draws, kind="stable")
        test, options = order[-TESTED:], HeadOptions(seed=seed)

        def rows_of(chosen: NDArray[np.int64], draws: NDArray[np.float64] = draws) -> TrainingRows:
            folds = draw_folds(labels[chosen], draws[chosen])
            return TrainingRows(embeddings[chosen], labels[chosen], folds, len(store.classes))

        search, _, chosen = fit_rows(rows_of(order[:n]), "logreg", options)
        forecast = learning_curve(search, chosen, embeddings[test], labels[test]).forecast
        logits = fit_rows(rows_of(order[: 2 * n]), "logreg", options)[1].logits(embeddings[test])
        if forecast:
            accuracy, loss = (logits.argmax(axis=1) == labels[test]).mean(), log_loss(softmax(logits), labels[test])
            errors.append((forecast.accuracy - accuracy, forecast.log_loss - loss))
    return np.array(errors).reshape(-1, 2)


if __name__ == "__main__":
    if "BENCH_STORE" not in os.environ:
        sys.exit("BENCH_STORE: expected an embedding store of labelled images")
    print(f"forecast for twice n images, less what {SEEDS} heads trained on these reach; mean, and mean size")
    for n in SIZES:
        found = forecast_errors(open_store(os.environ["BENCH_STORE"]), n, SEEDS)
        for name, values in zip(("accuracy", "log loss"), found.T, strict=True):
            print(f"n={n:4} {name}: {values.mean():+.4f}, {np.abs(values).mean():.4f}", flush=True)
