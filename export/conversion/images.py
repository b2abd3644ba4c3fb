"""Synthetic images on which networks are calibrated and compared: structured, extreme, and fixed by their seed."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]
CALIBRATION_FIELDS: Final = 8


def structured_images(count: int, size: tuple[int, int], seed: int = 0) -> Pictures:
    """Draw smooth colour fields with a little noise, which excite a network more like photos than noise alone does.

    Parameters
    ----------
    count : int
        Number of images, at least 1.
    size : tuple of 2 ints
        Height and width.
    seed : int
        Other seeds give other images.

    Returns
    -------
    ndarray of uint8, (count, h, w, 3), RGB, 0-255
    """
    rng = np.random.default_rng([seed, *size])
    return np.stack([_colour_field(rng, size, cells=2 + index % 7) for index in range(count)])


def probe_images(size: tuple[int, int]) -> Pictures:
    """Draw the eight images on which ONNX and Keras are compared: extremes, edges, a gradient, colour fields.

    Returns uint8, (8, h, w, 3), RGB, 0-255, for a `size` of height and width.
    """
    height, width = size
    row, column = np.mgrid[0:height, 0:width]
    black = np.zeros((height, width, 3), np.uint8)
    checks = np.where(((row // 8 + column // 8) % 2)[..., None], [255, 0, 255], [0, 255, 0])
    ramp = np.stack([255 * row / (height - 1), 255 * column / (width - 1), np.full(row.shape, 64)], axis=-1)
    drawn = [black, 255 - black, checks.astype(np.uint8), ramp.astype(np.uint8)]
    return np.concatenate([np.stack(drawn), structured_images(4, size, seed=1)])


def calibration_images(size: tuple[int, int]) -> Pictures:
    """Draw the images on which the batch norms of untrained networks are calibrated, as `probe_images`."""
    return np.concatenate([probe_images(size), structured_images(CALIBRATION_FIELDS, size)])


def _colour_field(rng: np.random.Generator, size: tuple[int, int], cells: int) -> Pictures:
    grid = rng.uniform(-40, 295, (cells + 1, cells + 1, 3))
    rows, columns = (_between_cells(side, cells) for side in size)
    field: NDArray[np.float64] = np.einsum("hi,wj,ijc->hwc", rows, columns, grid)
    noisy: NDArray[np.float64] = np.clip(field + rng.normal(0, 12, field.shape), 0, 255)
    return noisy.astype(np.uint8)


def _between_cells(side: int, cells: int) -> NDArray[np.float64]:
    """Return the (side, cells + 1) matrix that interpolates linearly between grid points."""
    at = np.linspace(0, cells, side)
    nearness: NDArray[np.float64] = np.clip(1 - np.abs(at[:, None] - np.arange(cells + 1)), 0, 1)
    return nearness
