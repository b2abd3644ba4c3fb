"""Backdrops of drawn flowers: two colours mixed by smooth noise, coarse for clouds and fine for grass or soil."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from headstart.demo.flowers import Colours, ink, pick

Size: TypeAlias = tuple[int, int]
Field: TypeAlias = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Backdrop:
    """Two lists of colours to choose from, and layers of noise to mix them by: (weight, bumps across, bumps down).

    Flowers cast no shadow on a far backdrop.
    """

    dark: Colours
    pale: Colours
    noise: tuple[tuple[float, int, int], ...]
    is_far: bool = False


LAWN, SOIL, CLOTH, BOARDS, SKY, TREES = BACKDROPS = (
    Backdrop(((28, 58, 22), (45, 70, 30)), ((120, 165, 60), (150, 165, 85)), ((0.5, 6, 4), (0.6, 150, 20))),
    Backdrop(((42, 28, 20), (60, 42, 30)), ((140, 105, 75), (120, 98, 80)), ((0.5, 9, 7), (0.6, 130, 100))),
    Backdrop(((12, 12, 14), (20, 16, 14)), ((85, 85, 95), (95, 70, 65)), ((0.7, 2, 2), (0.3, 160, 120))),
    Backdrop(((100, 85, 70), (85, 50, 36)), ((225, 215, 195), (200, 130, 95)), ((0.4, 5, 4), (0.6, 160, 3))),
    Backdrop(((90, 145, 210), (125, 150, 180)), ((238, 240, 243),), ((0.7, 4, 5), (0.4, 16, 14)), is_far=True),
    Backdrop(((30, 55, 30), (35, 52, 52)), ((150, 175, 100), (190, 180, 130)), ((1.0, 5, 4),), is_far=True),
)


def draw_backdrop(backdrop: Backdrop, rng: np.random.Generator, size: Size) -> Image.Image:
    """Draw a backdrop, mode RGB."""
    amount = np.sum([weight * noise(rng, size, (across, down)) for weight, across, down in backdrop.noise], axis=0)
    ends = (pick(colours, rng) for colours in (backdrop.dark, backdrop.pale))
    dark, pale = (Image.new("RGB", size, ink(colour[None])[0]) for colour in ends)
    return Image.composite(pale, dark, greys(amount * 255))


def noise(rng: np.random.Generator, size: Size, cells: tuple[int, int]) -> Field:
    """Return smooth noise, float32 (h, w), 0-1, with `cells` bumps across and down."""
    bumps = Image.fromarray(rng.integers(0, 256, cells[::-1], dtype=np.uint8))
    return np.asarray(bumps.resize(size, Image.Resampling.BICUBIC), dtype=np.float32) / 255


def grid(size: Size) -> tuple[Field, Field]:
    """Return y, float32 (h, 1), and x, float32 (1, w), from -1 to 1."""
    y, x = np.linspace(-1, 1, size[1], dtype=np.float32), np.linspace(-1, 1, size[0], dtype=np.float32)
    return y[:, None], x[None]


def greys(field: Field) -> Image.Image:
    """Convert levels, float32 (h, w), to a mode L image, clipped to 0-255."""
    return Image.fromarray(np.clip(field, 0, 255).astype(np.uint8))


def blurred(image: Image.Image, radius: float) -> Image.Image:
    """Blur an image by `radius` pixels per 375 of its height."""
    return image.filter(ImageFilter.BoxBlur(radius * image.height / 375)) if radius else image
