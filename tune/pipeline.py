"""A store of tensors to a backbone with a tuned tail, in one call."""

import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.classify.heads.tuned import note_tuned_head, note_tuned_on
from headstart.classify.split.classes import left_out_classes, require_min_photos
from headstart.classify.split.holdout import digest_of_rows
from headstart.classify.stores import opened_store
from headstart.export.conversion.frameworks import load_frameworks
from headstart.export.conversion.parity import compare
from headstart.extract.engines.tail import open_tail, require_trunk
from headstart.extract.inference.model import Model, parse_model, trunk_of
from headstart.extract.inference.subgraph import tail, uncut
from headstart.extract.store.lock import locked
from headstart.extract.store.store import Store
from headstart.extract.store.writer import lock_of
from headstart.files.atomic import check_model_output, remove_unfinished_of, write_file
from headstart.files.progress import Progress, ProgressCallback, announcer
from headstart.files.seal import METADATA_KEY, sealed
from headstart.files.urls import local_path
from headstart.tune.checkpoint import Epoch
from headstart.tune.fitting import Training
from headstart.tune.recipe import Recipe
from headstart.tune.start import Start, prepare
from headstart.tune.tail import build_tail, with_weights

CHECKPOINT = ".tuning"
COMPARED = 64
"""Number of rows on which the written tail is compared with Keras."""


@dataclass(frozen=True)
class TuneResult:
    """The result of a tuning.

    Attributes
    ----------
    path
        The backbone that was written.
    block
        The block after which the network is cut.
    images, held_out
        How many images were trained on, and how many chose the epoch.
    history
        All epochs.
    best
        The epoch whose weights were kept.
    frozen
        Log loss (nats) and accuracy (0..1), on the held-out images, of a head on the untuned tail.
    max_difference
        Largest absolute difference between the written tail's embeddings and Keras'.
    warnings
        Doubts about the figures.
    seconds
        Wall time of this run.
    """

    path: Path
    block: str
    images: int
    held_out: int
    history: list[Epoch] = field(repr=False)
    best: Epoch
    frozen: tuple[float, float]
    max_difference: float
    warnings: list[str]
    seconds: float


def tune_backbone(
    tensors: str | os.PathLike[str] | Store,
    output: str | os.PathLike[str] = "tuned.onnx",
    *,
    recipe: Recipe | None = None,
    holdout: float = 0.2,
    min_photos: int | None = None,
    progress: ProgressCallback | None = None,
) -> TuneResult:
    """Train the tail of a network on cached tensors of labelled images, and write trunk and tail as a backbone.

    The images on which `headstart.classify.train` would evaluate are left out. A tenth of the others chooses the epoch;
    the rest train the tail, starting from a linear head on the untuned tail (Kumar et al. 2022). An interrupted run
    resumes after its last epoch. If another run is writing the same output, this one is refused.

    Parameters
    ----------
    tensors
        A store that ``headstart embed`` made with a backbone of ``headstart export --cut``.
    output
        ``*.onnx``. Until it is written, the state of the run lies beside it.
    holdout
        Share of images to leave out if the store has no val or test split.
    min_photos
        Leave out the classes with fewer different images to train on than this, as `headstart.classify.train` does.
    progress
        Called as each stage begins, and after every epoch (see `headstart.files.progress`).

    Raises
    ------
    TuneError, ExportError, ExtractError, ClassifyError, OutputError
        If the store or its labels cannot be used, Keras is missing, the output cannot be written, or another run is
        writing it.
    """
    started = time.monotonic()
    plan, path, announce = recipe or Recipe(), local_path(output), announcer(progress)

    def report(epoch: Epoch) -> None:
        if progress:
            progress(Progress("tuning", epoch.number, plan.epochs, note=epoch.describe()))

    require_min_photos(min_photos)
    check_model_output(path, "backbone")
    checkpoint = path.with_name(path.name + CHECKPOINT)
    with locked(lock_of(path), path):
        for file in (path, checkpoint):
            remove_unfinished_of(file)
        store = opened_store(tensors)
        trunk = store.model()
        require_trunk(store, trunk)
        frameworks = load_frameworks(with_gpu=True)
        announce("embedding with the untuned tail")
        start = prepare(store, trunk, path, plan, holdout, min_photos)
        announce("tuning")
        training = Training.start(build_tail(tail(trunk, one_view=True), frameworks), start.head, plan, frameworks)
        training.run(start.train, start.held_out, checkpoint, _key(start.train.store, plan, holdout), report)
        announce("writing")
        difference = _write(path, trunk, training, start)
        checkpoint.unlink(missing_ok=True)
    return TuneResult(
        path=path,
        block=trunk.metadata["cut"]["block"],
        images=len(start.train),
        held_out=len(start.held_out),
        history=training.history,
        best=training.best,
        frozen=start.frozen,
        max_difference=difference,
        warnings=[*_warnings(training.best, start), *left_out_classes(store, start.train.store)],
        seconds=time.monotonic() - started,
    )


def _key(store: Store, recipe: Recipe, holdout: float) -> str:
    """Identify what a checkpoint belongs to: the rows, the trunk and the recipe."""
    parts = json.dumps([digest_of_rows(store), store.header.model_sha256, asdict(recipe), holdout])
    return hashlib.sha256(parts.encode()).hexdigest()


def _write(path: Path, trunk: Model, training: Training, start: Start) -> float:
    """Write the trunk with the tuned tail; return its largest difference from Keras."""
    import onnx

    tuned = with_weights(onnx.load_model_from_string(uncut(trunk).data), training.tail)
    del tuned.metadata_props[:]
    note_tuned_on(tuned, start.train.store, start.train.numbers, start.held_out.numbers)
    temperature = np.float32(training.best.temperature)
    head = (weights / temperature for weights in training.network.layers[-1].get_weights())
    note_tuned_head(tuned, start.train.store.classes, *head)
    metadata = _metadata(trunk, training, start)
    entry = tuned.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(metadata, sort_keys=True)
    model = parse_model(tuned.SerializeToString(deterministic=True), str(path))
    tensors = next(start.held_out.all_views(COMPARED))
    tensors = tensors.reshape(-1, *tensors.shape[2:])
    difference = compare(open_tail(model, one_view=True).run(tensors), training.embeddings(tensors)).max_difference
    metadata |= {"sealed": True, "parity": {"max_abs_difference": float(f"{difference:.0e}")}}
    entry.value = json.dumps(metadata, sort_keys=True)
    data = tuned.SerializeToString(deterministic=True)
    write_file(path, sealed(data))
    return difference


def _metadata(trunk: Model, training: Training, start: Start) -> dict[str, Any]:
    best = training.best
    epochs = [
        {"epoch": epoch.number}
        | {name: round(getattr(epoch, name), 4) for name in ("training_loss", "log_loss", "accuracy")}
        for epoch in training.history
    ]
    kept = {name: value for name, value in trunk.metadata.items() if name not in ("parity", "sealed")}
    return kept | {
        "trunk_sha256": trunk_of(trunk.metadata, trunk.sha256),
        "tuned": {
            "block": trunk.metadata["cut"]["block"],
            "images": len(start.train),
            "held_out": len(start.held_out),
            "recipe": asdict(training.recipe),
            "kept_epoch": best.number,
            "log_loss": round(best.log_loss, 4),
            "accuracy": round(best.accuracy, 4),
            "frozen_log_loss": round(start.frozen[0], 4),
            "frozen_accuracy": round(start.frozen[1], 4),
            "epochs": epochs,
        },
    }


def _warnings(best: Epoch, start: Start) -> list[str]:
    warnings = []
    if best.log_loss >= start.frozen[0]:
        warnings.append(
            f"tuning did not help: log loss {best.log_loss:.4f} on the held-out images, {start.frozen[0]:.4f} before; "
            "keep the untuned backbone"
        )
    if len(start.held_out) < 50:
        warnings.append(f"only {len(start.held_out)} images chose the epoch, so that the choice is uncertain")
    return warnings
