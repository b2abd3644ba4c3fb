"""Every kind of head: on the photos, from process start to file, and on many rows of 100 classes."""

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np

from bench.heads.data import Photos, loss_of, mixture, say, timed


def lines(photos: Photos) -> list[str]:
    """Return both tables; neural networks are not fitted to many rows, as they take minutes."""
    from headstart.classify.heads.registry import AUTO, HEADS

    table = [
        f"`headstart train --head` on {len(photos.store)} photos, with all its steps, from process start to file",
        "",
        "| head | seconds | accuracy | log loss | calibration error |",
        "|---|---:|---:|---:|---:|",
        *(_of_photos(photos, name) for name in (*HEADS, AUTO)),
        "",
    ]
    n = int(os.environ.get("BENCH_ROWS", "50000"))
    rows, unseen = mixture(photos.store, n, 1), mixture(photos.store, 5000, 2)
    return [
        *table,
        f"{n} x {rows[0].shape[1]}, 100 classes (mixtures of real embeddings)",
        "",
        "| head | search, s | fit, s | held-out log loss |",
        "|---|---:|---:|---:|",
        *(_of_many(name, rows, unseen) for name in HEADS if name != "mlp"),
    ]


def _of_photos(photos: Photos, name: str) -> str:
    command = [sys.executable, "-m", "headstart", "train", str(photos.store.location), "--head", name, "--json"]
    command += ["-o", str(photos.folder / "kinds.onnx")]
    output: list[str] = []
    seconds = timed(
        lambda: output.append(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    )
    result = json.loads(output[0])
    figures, chosen = result["evaluation"], result["search"]["chosen"]["head"]
    shown = name if chosen == name else f"{name}: {chosen}"
    error = figures["calibration_error"]
    line = f"| {shown} | {seconds:.1f} | {figures['accuracy']:.4f} | {figures['log_loss']:.4f} | {error:.4f} |"
    say(line)
    return line


def _of_many(name: str, drawn: tuple[Any, Any], unseen: tuple[Any, Any]) -> str:
    """Search and fit as training does, in memory, with probabilities of the calibrated head."""
    from dataclasses import replace

    from headstart.classify.confidence.calibration import fit_temperature
    from headstart.classify.heads.loss import softmax
    from headstart.classify.heads.options import HeadOptions
    from headstart.classify.heads.registry import HEADS
    from headstart.classify.heads.rows import TrainingRows
    from headstart.classify.heads.search import search_head

    embeddings, labels = drawn
    rows, kind, options = TrainingRows(embeddings, labels, _folds(labels), 100), HEADS[name], HeadOptions()
    found: list[Any] = []
    searching = timed(lambda: found.append(search_head(name, rows, options)))
    search, chosen = found[0], replace(options, **found[0].chosen.settings)
    fitting = timed(lambda: found.append(kind.fit(kind, search, rows, chosen)))
    temperature = fit_temperature(search.logits, rows.labels[search.images]).temperature
    loss = loss_of(softmax(found[1].logits(unseen[0]) / temperature), unseen[1])
    line = f"| {name} | {searching:.1f} | {fitting:.1f} | {loss:.4f} |"
    say(line)
    return line


def _folds(labels: Any) -> Any:
    from headstart.classify.split.folds import draw_folds

    return draw_folds(labels, np.random.default_rng(0).random(len(labels)))
