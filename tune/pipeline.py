"""Store of tensors -> backbone with a tuned tail, in one call."""

import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from headstart.classify.heads.fitting import opened_store
from headstart.classify.heads.tuned import note_tuned_head, note_tuned_on
from headstart.classify.split.holdout import digest_of_rows
from headstart.export.conversion.frameworks import load_frameworks
from headstart.export.conversion.parity import compare
from headstart.export.output import check_output
from headstart.extract.engines.tail import open_tail, require_trunk
from headstart.extract.inference.model import Model, parse_model, seal
from headstart.extract.inference.subgraph import tail, uncut
from headstart.extract.inference.views import without_views
from headstart.extract.store.lock import locked
from headstart.extract.store.store import Store
from headstart.extract.store.writer import lock_of, remove_unfinished_of
from headstart.files.atomic import atomic_file, write_all
from headstart.files.progress import Progress, ProgressCallback, announcer
from headstart.files.urls import local_path
from headstart.tune.batches import Rows
from headstart.tune.checkpoint import Epoch
from headstart.tune.fitting import Course, epochs_of
from headstart.tune.recipe import Recipe
from headstart.tune.start import begin
from headstart.tune.tail import build_tail, with_weights

CHECKPOINT = ".tuning"
COMPARED = 64
"""Rows on which the written tail is compared with Keras."""


@dataclass(frozen=True)
class TuneResult:
    """What came of a tuning.

    Attributes
    ----------
    path
        The backbone that was written.
    block
        After which the network is cut.
    images, held_out
        How many were trained on, and how many chose the epoch.
    history
        The epochs.
    best
        The one that was kept.
    frozen
        Log loss (nats) and accuracy (0..1), on the held-out images, of the head on the tail as it was.
    max_difference
        Largest absolute difference of the written tail's embeddings from Keras'.
    warnings
        What the reader of the figures should know.
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
    progress: ProgressCallback | None = None,
) -> TuneResult:
    """Train the tail of a network on what its trunk gave for labelled images, and write trunk and tail as a backbone.

    Images that `headstart.classify.train` would judge on are left alone. Of the others a tenth chooses the epoch; on
    the rest the tail is trained, from a linear head on the tail as it is (Kumar et al. 2022). A run that was killed
    resumes after its last epoch. Of two runs that would write one output, the second is told at once who does.

    Parameters
    ----------
    tensors
        A store that ``headstart embed`` made with a backbone of ``headstart export --cut``.
    output
        ``*.onnx``. Beside it, until it is written, lies the state of the run.
    holdout
        Share of images to leave alone where the store has no val or test split.
    progress
        Called as each stage begins, and after every epoch (see `headstart.files.progress`).

    Raises
    ------
    TuneError, ExportError, ExtractError, ClassifyError
        Where the store, its labels or the recipe do not allow it, Keras is missing, nothing can be written, or another
        run is writing it.
    """
    started = time.monotonic()
    recipe, place, say = recipe or Recipe(), local_path(output), announcer(progress)
    check_output(place)
    state = place.with_name(place.name + CHECKPOINT)
    with locked(lock_of(place), place):
        for file in (place, state):
            remove_unfinished_of(file)
        store = opened_store(tensors)
        trunk = without_views(store.model())
        trunk = replace(trunk, sha256=str(store.header.model.get("one_view_sha256", trunk.sha256)))
        require_trunk(store, trunk)
        frameworks = load_frameworks(with_gpu=True)
        say("carrying the rows through the tail as it is")
        train, held_out, head, frozen = begin(store, trunk, place, recipe, holdout)
        say("tuning")
        course = Course.begin(build_tail(tail(trunk), frameworks), head, recipe, frameworks)
        course.run(train, held_out, state, _of(store, recipe, holdout), _reporter(progress, recipe))
        say("writing")
        difference = _write(place, trunk, course, train, held_out, frozen)
        state.unlink(missing_ok=True)
    return TuneResult(
        place, trunk.metadata["cut"]["block"], len(train), len(held_out), course.history, course.best, frozen,
        difference, _warnings(course.best, frozen, len(held_out)), time.monotonic() - started,
    )  # fmt: skip


def _reporter(progress: ProgressCallback | None, recipe: Recipe) -> Callable[[Epoch], None]:
    def report(epoch: Epoch) -> None:
        if progress:
            progress(Progress("tuning", epoch.number, recipe.epochs, note=epoch.describe()))

    return report


def _of(store: Store, recipe: Recipe, holdout: float) -> str:
    """Name what a state is of: the rows, the trunk and the recipe."""
    said = json.dumps([digest_of_rows(store), store.header.model_sha256, asdict(recipe), holdout])
    return hashlib.sha256(said.encode()).hexdigest()


def _write(
    place: Path, trunk: Model, course: Course, train: Rows, held_out: Rows, frozen: tuple[float, float]
) -> float:
    """Write the trunk with the tuned tail, once ONNX has shown that it does what Keras does."""
    import onnx

    tuned = with_weights(onnx.load_model_from_string(uncut(trunk).data), course.tail)
    best = course.best
    said = {name: value for name, value in trunk.metadata.items() if name not in ("parity", "sealed")} | {
        "trunk_sha256": trunk.sha256,
        "tuned": {
            "block": trunk.metadata["cut"]["block"],
            "images": len(train),
            "held_out": len(held_out),
            "recipe": asdict(course.recipe),
            "kept_epoch": best.number,
            "log_loss": round(best.log_loss, 4),
            "accuracy": round(best.accuracy, 4),
            "frozen_log_loss": round(frozen[0], 4),
            "frozen_accuracy": round(frozen[1], 4),
            "epochs": list(epochs_of(course.history)),
        },
    }
    del tuned.metadata_props[:]
    note_tuned_on(tuned, train.store, train.numbers)
    head = (weights / np.float32(best.temperature) for weights in course.whole.layers[-1].get_weights())
    note_tuned_head(tuned, train.store.classes, *head)
    entry = tuned.metadata_props.add()
    entry.key, entry.value = "headstart", json.dumps(said, sort_keys=True)
    model = parse_model(tuned.SerializeToString(deterministic=True), str(place))
    difference = _difference(model, course, held_out)
    said |= {"sealed": True, "parity": {"max_abs_difference": float(f"{difference:.0e}")}}
    entry.value = json.dumps(said, sort_keys=True)
    data = tuned.SerializeToString(deterministic=True)
    with atomic_file(place) as file:
        write_all(file, data + seal(data))
    return difference


def _difference(model: Model, course: Course, rows: Rows) -> float:
    tensors = next(rows.in_order(COMPARED))
    flat = tensors.reshape(-1, *tensors.shape[2:])
    return compare(open_tail(model).run(flat), course.embeddings(flat)).max_difference


def _warnings(best: Epoch, frozen: tuple[float, float], images: int) -> list[str]:
    warnings = []
    if best.log_loss >= frozen[0]:
        warnings.append(
            f"tuning did not help: log loss {best.log_loss:.4f} on the held-out images, {frozen[0]:.4f} before; "
            "keep the backbone as it was"
        )
    if images < 50:
        warnings.append(f"only {images} images chose the epoch: which one is best is hardly known")
    return warnings
