"""``make bench-heads``: compare the speed and quality of heads with plain scikit-learn and with fine-tuning.

Settings come from the environment: BENCH_IMAGES (class folders; by default drawn pictures), BENCH_OTHERS (a folder of
other things that a classifier should flag as unknown; by default none), BENCH_WEIGHTS (a Keras weights file; by default
random weights, whose figures mean nothing), BENCH_FINETUNE (number of folds to fine-tune in Keras, minutes each; 0),
BENCH_ROWS (rows of the synthetic large fit; 50000).
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FOLDS = 5
GRID = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
IMAGE_SIZE = 256
ALL_BLOCKS = f"all blocks, {IMAGE_SIZE} pixels"


def main() -> None:
    """Run the benchmark, and print Markdown tables."""
    from rich.console import Console

    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        stores, others, seconds = _stores(folder, console)
        lines = [*_speed(folder, stores["top, 224 pixels"]), "", *_large(stores["top, 224 pixels"]), ""]
        lines += [*_quality(stores, seconds, console), "", *_unknown(folder, stores["top, 224 pixels"], others)]
    sys.stdout.write("\n".join(lines) + "\n")


def _stores(folder: Path, console: Any) -> tuple[dict[str, Any], Any, dict[str, float]]:
    """Embed the photos with each kind of features, and the other images; also return the seconds of each run."""
    from headstart.demo.pictures import draw_pictures
    from headstart.export import export_backbone
    from headstart.extract import embed

    images = os.environ.get("BENCH_IMAGES")
    if not images:
        images = str(draw_pictures(folder / "photos", per_class=100, broken=False).folder)
    weights = os.environ.get("BENCH_WEIGHTS") or "random"
    top, blocks = folder / "top.onnx", folder / "blocks.onnx"
    export_backbone(top, weights=weights)
    export_backbone(blocks, weights=weights, image_size=IMAGE_SIZE, features="all-blocks")
    stores: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    two_views = export_backbone(folder / "views.onnx", weights=blocks, views=2).path
    kinds = {"top, 224 pixels": top, ALL_BLOCKS: blocks, f"{ALL_BLOCKS}, 2 views": two_views}
    for name, model in kinds.items():
        started = time.perf_counter()
        stores[name], _ = embed(images, model, folder / f"{len(stores)}.h5")
        seconds[name] = time.perf_counter() - started
        console.print(f"embedded: {name}, {seconds[name]:.0f} s")
    others = os.environ.get("BENCH_OTHERS")
    return stores, embed(others, top, folder / "others.h5")[0] if others else None, seconds


def _speed(folder: Path, store: Any) -> list[str]:
    """Time `headstart train` in its own process, and the grid search that it replaces."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    command = [sys.executable, "-m", "headstart", "train", str(store.location), "-o", str(folder / "c.onnx")]
    ours = min(_timed(lambda: subprocess.run(command, check=True, capture_output=True)) for _ in range(3))
    rows = np.flatnonzero(store.is_embedded & (store.labels >= 0))
    embeddings, labels = store.embeddings(rows), store.labels[rows]
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    grid = GridSearchCV(pipeline, {"logisticregression__C": GRID}, scoring="neg_log_loss", cv=folds)
    plain = _timed(lambda: grid.fit(embeddings, labels))
    return [
        f"Search: {embeddings.shape}, {len(store.classes)} classes, {len(GRID)} values of C, {FOLDS} folds",
        "",
        "| what | seconds | ratio |",
        "|---|---:|---:|",
        f"| scikit-learn's GridSearchCV alone | {plain:.1f} | 1 |",
        f"| `headstart train` with all its steps, from process start to file | {ours:.1f} | {plain / ours:.1f} |",
    ]


def _large(store: Any) -> list[str]:
    """Fit many rows once: mixtures of real embeddings in 100 classes."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from headstart.classify.heads.options import HeadOptions
    from headstart.classify.heads.registry import HEADS
    from headstart.classify.heads.rows import TrainingRows
    from headstart.classify.heads.search import search_head

    n, options = int(os.environ.get("BENCH_ROWS", "50000")), HeadOptions(c=0.01)
    embeddings, labels = _mixture(store, n, 1)
    unseen, right = _mixture(store, 5000, 2)
    folds = np.random.default_rng(0).integers(0, FOLDS, n)
    rows = TrainingRows(embeddings, labels, folds, 100)
    search = search_head("logreg", rows, options)
    kind, fitted = HEADS["logreg"], []
    ours = _timed(lambda: fitted.append(kind.fit(kind, search, rows, options).pipeline))
    scaler = StandardScaler().fit(embeddings)
    plain = LogisticRegression(C=0.01, max_iter=1000)
    theirs = _timed(lambda: plain.fit(scaler.transform(embeddings), labels))
    losses = [
        _loss(fitted[0].predict_proba(unseen), right),
        _loss(plain.predict_proba(scaler.transform(unseen)), right),
    ]
    return [
        f"One fit, {n} x {embeddings.shape[1]}, 100 classes (mixtures of real embeddings)",
        "",
        "| what | seconds | ratio | held-out log loss |",
        "|---|---:|---:|---:|",
        f"| scikit-learn's LogisticRegression | {theirs:.1f} | 1 | {losses[1]:.4f} |",
        f"| Headstart, started from the search's solution | {ours:.1f} | {theirs / ours:.1f} | {losses[0]:.4f} |",
    ]


def _quality(stores: dict[str, Any], seconds: dict[str, float], console: Any) -> list[str]:
    """Measure accuracy, log loss and calibration error in folds, each searched and calibrated on its training rows."""
    lines = [
        f"Quality, {FOLDS}-fold, each fold searched and calibrated on its own training photos",
        "",
        "| features | accuracy | log loss | calibration error, pooled | embedding, s | search and fit per fold, s |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, store in stores.items():
        accuracy, loss, error, spent = _folds(store)
        lines.append(f"| {name} | {accuracy:.4f} | {loss:.4f} | {error:.4f} | {seconds[name]:.1f} | {spent:.1f} |")
        console.print(lines[-1])
    count = int(os.environ.get("BENCH_FINETUNE", "0"))
    if count:
        from bench.quality.finetune import fine_tune

        first = next(iter(stores.values()))
        accuracy, loss, spent = fine_tune(first, list(_split(first))[:count], os.environ.get("BENCH_WEIGHTS") or None)
        lines.append(f"| Keras, fine-tuned ({count} of the folds) | {accuracy:.4f} | {loss:.4f} | | | {spent:.1f} |")
    return lines


def _folds(store: Any) -> tuple[float, float, float, float]:
    from headstart.classify.confidence.calibration import fit_temperature, reliability
    from headstart.classify.heads.fitting import fit_rows
    from headstart.classify.heads.loss import log_loss, softmax
    from headstart.classify.heads.options import HeadOptions
    from headstart.classify.heads.registry import logits_of
    from headstart.classify.heads.rows import TrainingRows
    from headstart.classify.split.folds import draw_folds

    found, answers, spent = [], [], []
    for train, test in _split(store):
        started = time.perf_counter()
        labels = store.labels[train]
        draws = np.random.default_rng(0).random(len(train))
        rows = TrainingRows(store.embeddings(train), labels, draw_folds(labels, draws), len(store.classes))
        search, head, _ = fit_rows(rows, "logreg", HeadOptions())
        temperature = fit_temperature(search.logits, rows.labels).temperature
        spent.append(time.perf_counter() - started)
        found.append(softmax(logits_of(head, store.embeddings(test)) / temperature))
        answers.append(store.labels[test])
    right = [float((p.argmax(axis=1) == y).mean()) for p, y in zip(found, answers, strict=True)]
    losses = [log_loss(p, y) for p, y in zip(found, answers, strict=True)]
    error = reliability(np.concatenate(found), np.concatenate(answers)).error
    return float(np.mean(right)), float(np.mean(losses)), error, float(np.mean(spent))


def _split(store: Any) -> Any:
    from sklearn.model_selection import StratifiedKFold

    rows = np.flatnonzero(store.is_embedded & (store.labels >= 0))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return ((rows[train], rows[test]) for train, test in folds.split(rows, store.labels[rows]))


def _unknown(folder: Path, store: Any, others: Any) -> list[str]:
    """Measure the share of other images, and of held-out known photos, that a classifier flags as unknown."""
    from headstart.classify import train

    result = train(store, folder / "unknown.onnx")
    if others is None or result.unknown is None:
        return []
    rows = np.flatnonzero(others.is_embedded)
    flagged = result.classifier.predictions(others.embeddings(rows))[:, -1].mean()
    alarms = result.unknown.measured
    return [f"Unknown: {flagged:.1%} of {len(rows)} other photos flagged, and {alarms:.1%} of held-out known photos"]


def _mixture(store: Any, n: int, seed: int) -> tuple[Any, Any]:
    """Draw mixtures of a class's 8 anchors and any other photo: float32 (n, d), and labels (n,) of 100 classes."""
    rng, anchors = np.random.default_rng(seed), np.random.default_rng(0)
    real = store.embeddings(store.is_embedded)
    of_class = anchors.integers(0, len(real), (100, 8))
    labels = rng.integers(0, 100, n).astype(np.int32)
    share = rng.beta(2, 2, (n, 1)).astype(np.float32)
    own, other = real[of_class[labels, rng.integers(0, 8, n)]], real[rng.integers(0, len(real), n)]
    return share * own + (1 - share) * other, labels


def _loss(probabilities: Any, labels: Any) -> float:
    return float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())


def _timed(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
