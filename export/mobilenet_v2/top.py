"""The layer behind MobileNetV2's embedding, which gives the probabilities of ImageNet's 1,000 classes."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.export.backbones import Plan
from headstart.export.conversion.images import probe_images
from headstart.export.conversion.parity import run_onnx
from headstart.export.errors import WeightsError
from headstart.export.mobilenet_v2.read import read_weights
from headstart.export.mobilenet_v2.units import units_of
from headstart.export.weights.load import check_weights, find_weights
from headstart.files.errors import OptionError

_CLASSES = Path(__file__).with_name("imagenet_classes.txt")


@dataclass(frozen=True)
class Top:
    """A layer whose softmax gives the probabilities of ImageNet's classes.

    Attributes
    ----------
    weights, bias : ndarray
        float32, (d, 1000) and (1000,).
    classes : list of str
        The first lemma of each class in WordNet, made unique, in the order of the columns.
    """

    weights: NDArray[np.float32] = field(repr=False)
    bias: NDArray[np.float32] = field(repr=False)
    classes: list[str] = field(repr=False)


def read_top(plan: Plan, weights: str | os.PathLike[str], announce: Callable[[str], None]) -> Top:
    """Read the top from the published weights, or from a weight file of the older layout.

    Raises
    ------
    OptionError
        If the plan or the weights are none with a top.
    WeightsError
        If they cannot be found, or the file has no top with 1,000 classes.
    """
    if not plan.backbone.is_built_from_arrays or plan.features != "top" or plan.cut is not None:
        raise OptionError("only mobilenet_v2 with the features of its top and without a cut has ImageNet's classes")
    if weights == "random" or os.fspath(weights).endswith((".onnx", ".weights.h5")):
        raise OptionError(f"weights {os.fspath(weights)!r} hold no ImageNet classes: give imagenet or a .h5 file")
    check_weights(weights)
    path = find_weights(weights, plan, 0, announce).path
    top = read_weights(path, units_of(plan.width), plan.describe()).top if path else None
    classes = _CLASSES.read_text(encoding="utf-8").splitlines()
    if top is None or len(top[1]) != len(classes):
        raise WeightsError(
            f"{path}: expected weights with the layer of ImageNet's {len(classes)} classes, found "
            f"{'none' if top is None else len(top[1])}: give the file that includes the top"
        )
    return Top(*top, classes)


def probe_embeddings(backbone: bytes, image_size: tuple[int, int]) -> NDArray[np.float32]:
    """Embed the probe images, float32 (n, d), to compare a layer behind the embedding on."""
    return run_onnx(backbone, probe_images(image_size))
