"""The untrained baseline: random weights with which every layer still has a useful output."""

from typing import Any

import numpy as np

from headstart.export.backbones import Plan
from headstart.export.conversion.frameworks import Frameworks
from headstart.export.conversion.images import calibration_images
from headstart.export.conversion.network import preprocess


def initialise(network: Any, plan: Plan, seed: int, frameworks: Frameworks) -> None:
    """Draw He-normal kernels and calibrate the batch norms of a network of the plan, in place.

    The same seed gives the same weights. He normal: variance 2 / fan-in (He et al. 2015, arXiv:1502.01852).
    """
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        if weight.name == "kernel":
            weight.assign(he_normal(rng, tuple(weight.shape)))
    _calibrate(network, plan, frameworks)


def he_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Draw a kernel of Keras' shape, float32; of a depthwise one, the batch norm behind it corrects the variance."""
    fan_in = int(np.prod(shape[:-1]))
    return rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)


def _calibrate(network: Any, plan: Plan, frameworks: Frameworks) -> None:
    """Set each batch norm's mean and variance from one batch.

    In training mode a batch norm passes on what it normalised by the statistics of this batch, so that with momentum 0
    one pass sets all of them in order. Without it, signals shrink by orders of magnitude from layer to layer. The batch
    contains extremes because a deep random network amplifies values outside of it: calibrated on colour fields alone,
    ResNet50 embeds a black image a hundred times larger than the rest.
    """
    kinds = frameworks.keras.layers
    momenta = [(layer, "momentum", layer.momentum) for layer in _layers(network, kinds.BatchNormalization)]
    if not momenta:
        return
    rates = [(layer, "rate", layer.rate) for layer in _layers(network, kinds.Dropout)]  # which is random in training
    for layer, name, _ in momenta + rates:
        setattr(layer, name, 0.0)
    try:
        network(preprocess(calibration_images(plan.image_size), plan), training=True)
    finally:
        for layer, name, value in momenta + rates:
            setattr(layer, name, value)


def _layers(network: Any, kind: type) -> list[Any]:
    return [layer for layer in network.layers if isinstance(layer, kind)]
