"""The architecture of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) as a list of units, as Keras builds it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

EPSILON: Final = 1e-3
"""Keras adds it to the variances of the batch norms."""

_STAGES: Final = (
    # expansion, channels, blocks, stride of the first block
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM, _TOP = 32, 1280


@dataclass(frozen=True)
class Unit:
    """A convolution without bias, the batch norm behind it, and what follows.

    Attributes
    ----------
    name : str
        As Keras names the convolution.
    kernel : tuple of 4 ints
        Shape of its kernel in Keras: height, width, channels in, channels out; of a depthwise one the last is 1.
    stride : int
        1 or 2.
    is_depthwise : bool
        Whether each channel is convolved by itself.
    is_clipped : bool
        Whether ReLU6 follows the batch norm.
    adds_block_input : bool
        Whether the input of its block is added to its result.
    ends : str or None
        Name of the block whose output it gives.
    """

    name: str
    kernel: tuple[int, int, int, int]
    stride: int = 1
    is_depthwise: bool = False
    is_clipped: bool = True
    adds_block_input: bool = False
    ends: str | None = None

    @property
    def channels(self) -> int:
        """Number of channels of its output."""
        return self.kernel[2] if self.is_depthwise else self.kernel[3]


@dataclass(frozen=True)
class Norm:
    """The parameters of a batch norm, float32 (channels,) each."""

    gamma: NDArray[np.float32]
    beta: NDArray[np.float32]
    mean: NDArray[np.float32]
    variance: NDArray[np.float32]

    @property
    def scale(self) -> NDArray[np.float64]:
        """What the centred input is multiplied by, float64 (channels,)."""
        return self.gamma.astype(np.float64) / np.sqrt(self.variance.astype(np.float64) + EPSILON)

    @property
    def shift(self) -> NDArray[np.float64]:
        """What is added to the scaled input, float64 (channels,)."""
        return self.beta.astype(np.float64) - self.mean.astype(np.float64) * self.scale


@dataclass(frozen=True)
class Weights:
    """The arrays of a network of `units_of`: a kernel and a batch norm for each unit, and those of the top, if known.

    Attributes
    ----------
    kernels : list of ndarray
        float32, of the units' shapes.
    norms : list of Norm
        One for each unit.
    top : tuple of 2 ndarrays or None
        Kernel (d, 1000) and bias (1000,) of the layer that gives the logits of ImageNet's classes.
    """

    kernels: list[NDArray[np.float32]]
    norms: list[Norm]
    top: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None


def units_of(width: float) -> list[Unit]:
    """List the units of the network for a width multiplier, first to last."""
    return [*_units(width)]


def _units(width: float) -> Iterator[Unit]:
    channels = _rounded(_STEM * width)
    yield Unit("Conv1", (3, 3, 3, channels), stride=2)
    number = 0
    for expansion, base, blocks, first_stride in _STAGES:
        for index in range(blocks):
            block = f"block_{number}" if number else "expanded_conv"
            stride, out = first_stride if index == 0 else 1, _rounded(base * width)
            wide = channels * expansion
            if number:
                yield Unit(f"{block}_expand", (1, 1, channels, wide))
            yield Unit(f"{block}_depthwise", (3, 3, wide, 1), stride, is_depthwise=True)
            is_residual = stride == 1 and channels == out
            yield Unit(
                f"{block}_project", (1, 1, wide, out), is_clipped=False, adds_block_input=is_residual, ends=block
            )
            channels, number = out, number + 1
    yield Unit("Conv_1", (1, 1, channels, _rounded(_TOP * max(width, 1.0))))


def _rounded(channels: float, divisor: int = 8) -> int:
    """Round to a multiple of 8, but not down by more than a tenth."""
    near = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return near + divisor if near < 0.9 * channels else near


def paddings(size: int, stride: int) -> tuple[int, int]:
    """Return the pixels before and after an axis of `size` that a 3 x 3 convolution pads with zeros, as Keras does."""
    return (1, 1) if stride == 1 or size % 2 else (0, 1)
