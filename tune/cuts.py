"""How much to unfreeze: a few cuts tried on a sample of the images, accuracy against time and disk."""

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.export import blocks_of, export_backbone
from headstart.extract.pipeline import embed
from headstart.extract.sources.find import find_images
from headstart.extract.store.merging import Share
from headstart.tune.errors import TuneError
from headstart.tune.pipeline import tune_backbone
from headstart.tune.recipe import Recipe

SAMPLE = 800
"""Images, about, that each cut is tried on."""
TRIED = (-5, -3, -1)
"""Blocks, counted from the end, after which the network is cut."""
WORTH = 0.01
"""Log loss (nats) that an earlier cut, which costs more, must gain."""
QUICK = Recipe(epochs=5, learning_rate=3e-4)


@dataclass(frozen=True)
class Trial:
    """What a cut gave on a sample.

    Attributes
    ----------
    block
        After which the network was cut.
    log_loss, accuracy
        On held-out images of the sample, in nats and 0..1, once the tail was tuned.
    frozen
        The same two before.
    seconds
        Of an epoch, an image.
    bytes
        Of the tensors of an image, one view.
    images
        How many were trained on and held out.
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
    recipe: Recipe | None = None,
    tell: Callable[[str], None] | None = None,
    **options: Any,
) -> list[Trial]:
    """Tune behind a few cuts on a sample of labelled images.

    Parameters
    ----------
    images
        A folder or manifest, as for `headstart.extract.embed`.
    sample
        How many of them, about.
    recipe
        A short one by default.
    tell
        Told what is being done.
    **options
        Of `headstart.export.export_backbone`.

    Returns
    -------
    The trials, the earliest cut first; the last blocks of a backbone alone are tried.

    Raises
    ------
    TuneError, ExportError, ExtractError, ClassifyError
        As `tune` and `export_backbone`.
    """
    say, total = tell or (lambda _what: None), len(find_images(images).items)
    blocks = blocks_of(backbone, width)
    if not blocks:
        raise TuneError(f"{backbone} has no block to be cut after")
    tried = [blocks[place] for place in TRIED if len(blocks) + place >= 0]
    share = Share(1, max(1, round(total / sample)))
    return list(_trials(images, tried, share, recipe or QUICK, say, backbone=backbone, width=width, **options))


def _trials(
    images: str | os.PathLike[str], blocks: list[str], share: Share, recipe: Recipe, say: Callable[[str], None],
    **options: Any,
) -> Iterator[Trial]:  # fmt: skip
    for block in blocks:
        say(f"trying a cut after {block}")
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            export_backbone(place / "trunk.onnx", cut=block, **options)
            store, _ = embed(images, place / "trunk.onnx", place / "tensors.h5", share=share)
            made = tune_backbone(store, place / "tuned.onnx", recipe=recipe)
        seconds = sum(epoch.seconds for epoch in made.history) / len(made.history) / made.images
        yield Trial(
            block, made.best.log_loss, made.best.accuracy, made.frozen, seconds, 2 * store.header.dim,
            (made.images, made.held_out),
        )  # fmt: skip


def best_cut(trials: list[Trial]) -> Trial:
    """Choose the latest cut that loses less than `WORTH` in log loss against the best one."""
    least = min(trial.log_loss for trial in trials)
    return [trial for trial in trials if trial.log_loss <= least + WORTH][-1]
