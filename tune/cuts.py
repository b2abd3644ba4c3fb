"""How much to tune: a few cuts are tried on a sample of the images, for accuracy, time and disk space."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.export import blocks_of, export_backbone
from headstart.extract.pipeline import embed
from headstart.extract.sources.find import find_images
from headstart.extract.store.merging import Share
from headstart.files.errors import OptionError
from headstart.files.progress import ProgressCallback, announcer
from headstart.tune.pipeline import tune_backbone
from headstart.tune.recipe import Recipe

SAMPLE = 800
"""About how many images each cut is tried on."""
TRIED = (-5, -3, -1)
"""Blocks, counted from the end, after which the network is cut."""
WORTH = 0.01
"""Log loss (nats) that an earlier cut, which costs more, must gain at least."""
QUICK = Recipe(epochs=5, learning_rate=3e-4)


@dataclass(frozen=True)
class Trial:
    """The result of tuning behind a cut on a sample.

    Attributes
    ----------
    block
        The block after which the network was cut.
    log_loss, accuracy
        On held-out images of the sample, in nats and 0..1.
    frozen
        The same two before tuning.
    seconds
        Per image and epoch.
    bytes
        Size of the tensors of an image.
    images
        How many images were trained on and held out.
    """

    block: str
    log_loss: float
    accuracy: float
    frozen: tuple[float, float]
    seconds: float
    bytes: int
    images: tuple[int, int]


def try_cuts(
    images: str | os.PathLike[str],
    *,
    backbone: str = "mobilenet_v2",
    width: float = 1.0,
    sample: int = SAMPLE,
    recipe: Recipe = QUICK,
    progress: ProgressCallback | None = None,
    **options: Any,
) -> list[Trial]:
    """Tune behind a few late cuts on a sample of labelled images.

    Parameters
    ----------
    images
        A folder or manifest, as for `headstart.extract.embed`.
    sample
        About how many of them to use.
    progress
        Called as each trial begins.
    **options
        Passed to `headstart.export.export_backbone`.

    Returns
    -------
    The trials, the earliest cut first.

    Raises
    ------
    OptionError
        If the backbone has no blocks.
    TuneError, ExportError, ExtractError, ClassifyError
        As `tune_backbone`, `export_backbone` and `embed`.
    """
    total, blocks = len(find_images(images).items), blocks_of(backbone, width)
    if not blocks:
        raise OptionError(f"{backbone} has no block to cut after")
    share = Share(1, max(1, round(total / sample)))
    trials, announce = [], announcer(progress)
    for block in [blocks[number] for number in TRIED if len(blocks) + number >= 0]:
        announce(f"trying a cut after {block}")
        trials.append(_try(images, share, recipe, backbone=backbone, width=width, cut=block, **options))
    return trials


def _try(images: str | os.PathLike[str], share: Share, recipe: Recipe, **options: Any) -> Trial:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export_backbone(folder / "trunk.onnx", **options)
        store, _ = embed(images, folder / "trunk.onnx", folder / "tensors.h5", share=share)
        tuned = tune_backbone(store, folder / "tuned.onnx", recipe=recipe)
    return Trial(
        block=tuned.block,
        log_loss=tuned.best.log_loss,
        accuracy=tuned.best.accuracy,
        frozen=tuned.frozen,
        seconds=sum(epoch.seconds for epoch in tuned.history) / len(tuned.history) / tuned.images,
        bytes=2 * store.header.dim,
        images=(tuned.images, tuned.held_out),
    )


def best_cut(trials: list[Trial]) -> Trial:
    """Choose the latest cut whose log loss is within `WORTH` of the best, or within its standard error if that is more.

    The loss of an image is about as spread as it is large, so that the standard error is loss / sqrt(held-out images).
    """
    best = min(trials, key=lambda trial: trial.log_loss)
    worth = max(WORTH, best.log_loss / best.images[1] ** 0.5)
    return [trial for trial in trials if trial.log_loss <= best.log_loss + worth][-1]
