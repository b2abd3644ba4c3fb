"""The photos, backbones and stores that the tables of ``make bench-heads`` share, each made when first asked for."""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Photos:
    """Labelled photos, embedded with ImageNet weights.

    Attributes
    ----------
    folder
        Where files may be written.
    """

    folder: Path

    @cached_property
    def images(self) -> str:
        """Class folders: BENCH_IMAGES, or else drawn pictures."""
        from headstart.demo.pictures import draw_pictures

        drawn = self.folder / "photos"
        given = os.environ.get("BENCH_IMAGES")
        return given or str(draw_pictures(drawn, per_class=100, broken=False).folder)

    @property
    def weights(self) -> str:
        """BENCH_WEIGHTS: a Keras weights file, or else those that Keras publishes."""
        return os.environ.get("BENCH_WEIGHTS") or "imagenet"

    @cached_property
    def backbone(self) -> Path:
        """MobileNetV2 at 224 pixels."""
        from headstart.export import export_backbone

        return export_backbone(self.folder / "backbone.onnx", weights=self.weights).path

    @cached_property
    def store(self) -> Any:
        """The photos through the backbone."""
        return self.embedded(self.images, self.backbone)[0]

    @cached_property
    def others(self) -> Any:
        """The store of BENCH_OTHERS, photos of none of the classes; None if it names no folder."""
        others = os.environ.get("BENCH_OTHERS")
        return self.embedded(others, self.backbone)[0] if others else None

    def embedded(self, images: str, model: Path) -> tuple[Any, float]:
        """Embed images into a new store, and return it with the seconds that this took."""
        from headstart.extract import embed

        number = len(list(self.folder.glob("*.h5")))
        started = time.perf_counter()
        store, summary = embed(images, model, self.folder / f"{number}.h5")
        seconds = time.perf_counter() - started
        say(f"embedded {summary.embedded} of {images} with {model.name}, {seconds:.0f} s")
        return store, seconds


def say(text: str) -> None:
    """Report progress on stderr."""
    sys.stderr.write(text + "\n")


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def mixture(store: Any, n: int, seed: int) -> tuple[Any, Any]:
    """Draw mixtures of a class's 8 anchors and any other photo: float32 (n, d), and labels (n,) of 100 classes."""
    rng, anchors = np.random.default_rng(seed), np.random.default_rng(0)
    real = store.embeddings(store.is_embedded)
    of_class = anchors.integers(0, len(real), (100, 8))
    labels = rng.integers(0, 100, n).astype(np.int32)
    share = rng.beta(2, 2, (n, 1)).astype(np.float32)
    own, other = real[of_class[labels, rng.integers(0, 8, n)]], real[rng.integers(0, len(real), n)]
    return share * own + (1 - share) * other, labels


def loss_of(probabilities: Any, labels: Any) -> float:
    """Return the log loss (nats) of probabilities, (n, k)."""
    return float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())
