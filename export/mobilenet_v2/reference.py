"""MobileNetV2 in numpy, which the ONNX graph is compared with: nothing folded or fused."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from headstart.export.mobilenet_v2.units import EPSILON, Norm, Unit, Weights, paddings

Maps = NDArray[np.floating]
"""(n, h, w, c); float32 gives embeddings that are right to 2e-4, float64 costs five times as much."""


def forward(
    units: Sequence[Unit], weights: Weights, pixels: Maps, norm: Callable[[int, Maps], Maps] | None = None
) -> tuple[Maps, dict[str, Maps]]:
    """Run the network on scaled pixels.

    Parameters
    ----------
    units, weights
        The network.
    pixels : ndarray of floats, (n, h, w, 3)
        -1 to 1.
    norm : callable or None
        Normalises the output of the unit of a number; by default its batch norm does.

    Returns
    -------
    maps : ndarray of floats, (n, h, w, c)
        The output of the last unit, whose mean over height and width is the embedding.
    blocks : dict
        The output of each block.
    """
    # One thread: the sums of linear algebra depend on their number, and equal seeds give equal files.
    with threadpool_limits(1, "blas"):
        return _forward(units, weights, pixels, norm)


def _forward(
    units: Sequence[Unit], weights: Weights, pixels: Maps, norm: Callable[[int, Maps], Maps] | None
) -> tuple[Maps, dict[str, Maps]]:
    normalise = norm or (lambda number, maps: normalised(maps, weights.norms[number]))
    maps = block_input = pixels
    blocks: dict[str, Maps] = {}
    for number, (unit, kernel) in enumerate(zip(units, weights.kernels, strict=True)):
        maps = normalise(number, _convolved(maps, kernel, unit))
        if unit.is_clipped:
            maps = np.clip(maps, 0, 6)
        if unit.adds_block_input:
            maps = maps + block_input
        if unit.ends:
            block_input = blocks[unit.ends] = maps
    return maps, blocks


def normalised(maps: Maps, norm: Norm) -> Maps:
    """Apply a batch norm with its moving statistics (Ioffe & Szegedy 2015, arXiv:1502.03167)."""
    centred = (maps - norm.mean) / np.sqrt(norm.variance + EPSILON)
    return np.asarray(centred * norm.gamma + norm.beta)


def _convolved(maps: Maps, kernel: NDArray[np.float32], unit: Unit) -> Maps:
    if unit.kernel[:2] == (1, 1):
        return np.asarray(maps @ kernel[0, 0])
    height, width = maps.shape[1:3]
    around = [(0, 0), paddings(height, unit.stride), paddings(width, unit.stride), (0, 0)]
    padded = np.pad(maps, around)
    rows, columns = -(-height // unit.stride), -(-width // unit.stride)
    result: Any = 0
    for row in range(3):
        for column in range(3):
            down, right = (slice(at, None, unit.stride) for at in (row, column))
            window = padded[:, down, right][:, :rows, :columns]
            part = kernel[row, column]
            result = result + (window * part[:, 0] if unit.is_depthwise else window @ part)
    return np.asarray(result)
