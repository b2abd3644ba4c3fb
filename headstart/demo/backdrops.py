"""What stands behind a drawn flower: grass, sky, soil, a studio, a wall, lights out of focus."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from headstart.demo.flowers import Array, ink, pick

Size: TypeAlias = tuple[int, int]
Field: TypeAlias = NDArray[np.floating[Any]]


def softened(image: Image.Image, radius: float) -> Image.Image:
    """Blur an image by `radius` pixels of a picture 375 high."""
    return image.filter(ImageFilter.BoxBlur(radius * image.height / 375)) if radius else image


def grid(size: Size) -> tuple[Field, Field]:
    """Give y, float32 (h, 1), and x, float32 (1, w), from -1 to 1."""
    y, x = np.linspace(-1, 1, size[1], dtype=np.float32), np.linspace(-1, 1, size[0], dtype=np.float32)
    return y[:, None], x[None]


def greys(field: Field) -> Image.Image:
    """Make a field of levels, float32 (h, w), into a mode L image, held to 0-255."""
    return Image.fromarray(np.clip(field, 0, 255).astype(np.uint8))


def noise(rng: np.random.Generator, size: Size, cells: tuple[float, float]) -> Field:
    """Give smooth noise, float32 (h, w), 0-1, with about `cells` bumps across and down."""
    across, down = (max(2, round(count)) for count in cells)
    bumps = Image.fromarray(rng.integers(0, 256, (down, across), dtype=np.uint8))
    return np.asarray(bumps.resize(size, Image.Resampling.BICUBIC), dtype=np.float32) / 255


def blend(dark: Array, pale: Array, amount: Field) -> Image.Image:
    """Mix two RGB colours by a field, float32 (h, w), 0 for `dark` and 1 for `pale`."""
    low, high = (Image.new("RGB", (amount.shape[1], amount.shape[0]), ink(colour[None])[0]) for colour in (dark, pale))
    return Image.composite(high, low, greys(amount * 255))


def grass(rng: np.random.Generator, size: Size) -> Image.Image:
    """Draw a lawn: patches of green under many single blades."""
    dark, pale = pick([(28, 58, 22), (45, 70, 30)], rng), pick([(105, 145, 60), (130, 150, 75)], rng)
    image = blend(dark, pale, 0.5 * noise(rng, size, (6, 4)) + 0.4 * noise(rng, size, (120, 40)))
    draw = ImageDraw.Draw(image)
    high = size[1] / 9
    blades = rng.random((420, 3)) * (size[0], size[1] * 1.1, high) - (0, 0, high / 2)
    colours = dark * 0.8 + (pale * 1.1 - dark * 0.8) * rng.random((420, 1))
    for (x, y, lean), colour in zip(blades.tolist(), ink(colours), strict=True):
        draw.line([x, y, x + lean / 2, y - high * 0.6, x + lean, y - high], colour, 1 + size[0] // 400)
    return image


def sky(rng: np.random.Generator, size: Size) -> Image.Image:
    """Draw a sky that pales towards the horizon, with clouds, and often a strip of field below."""
    fall = np.linspace(0, 0.7, size[1], dtype=np.float32)[:, None]
    cloud = np.clip(noise(rng, size, (5, 5)) + 0.5 * noise(rng, size, (16, 14)) - 0.75, 0, 1)
    blue = pick([(60, 120, 200), (90, 145, 210), (125, 150, 180)], rng)
    image = blend(blue, np.array([238.0, 240, 243]), fall + cloud)
    if rng.random() < 0.6:
        top = round(size[1] * rng.uniform(0.65, 0.9))
        image.paste(grass(rng, (size[0], size[1] - top)), (0, top))
    return image


def soil(rng: np.random.Generator, size: Size) -> Image.Image:
    """Draw bare earth: brown crumbs of three sizes."""
    crumbs = 0.4 * noise(rng, size, (9, 7)) + 0.4 * noise(rng, size, (70, 55)) + 0.3 * noise(rng, size, (200, 150))
    return blend(pick([(42, 28, 20), (60, 42, 30)], rng), pick([(140, 105, 75), (120, 98, 80)], rng), crumbs)


def studio(rng: np.random.Generator, size: Size) -> Image.Image:
    """Draw a dark cloth with one pool of light."""
    y, x = grid(size)
    pool = np.exp(-((x - rng.normal(0, 0.4)) ** 2)) * np.exp(-((y - rng.normal(0, 0.3)) ** 2))
    weave = 0.75 + 0.25 * noise(rng, size, (size[0] / 3, size[1] / 3))
    return blend(np.array([12.0, 12, 14]), pick([(75, 75, 85), (85, 60, 55), (50, 70, 80)], rng), pool * weave)


def wall(rng: np.random.Generator, size: Size) -> Image.Image:
    """Draw plaster, or boards with grain and dark gaps."""
    boards = rng.random() < 0.5
    fine = noise(rng, size, (size[0] / 3, 6) if boards else (size[0] / 3, size[1] / 3))
    amount = 0.35 + 0.3 * noise(rng, size, (5, 4)) + 0.35 * fine
    if boards:
        amount[:, np.arange(size[0]) % (size[0] // 6 + 1) < 1 + size[0] // 250] -= 0.6
    pale = pick([(225, 215, 195), (200, 205, 210), (190, 120, 90), (150, 175, 165), (165, 130, 95)], rng)
    return blend(pale * 0.4, pale * 1.05, amount)


def bokeh(rng: np.random.Generator, size: Size) -> Image.Image:
    """Draw a garden far out of focus: soft patches and discs of light."""
    dark, pale = pick([(30, 55, 30), (60, 60, 40), (35, 52, 52)], rng), pick([(130, 160, 90), (170, 160, 110)], rng)
    small = (size[0] // 3 + 1, size[1] // 3 + 1)
    image = blend(dark, pale, noise(rng, small, (4, 3)))
    draw = ImageDraw.Draw(image, "RGBA")
    for x, y, scale in rng.random((26, 3)) * (*small, 1):
        red, green, blue = pick([(230, 225, 170), (170, 200, 120), (240, 190, 190)], rng).astype(int).tolist()
        draw.circle((x, y), small[1] * (0.02 + 0.07 * scale), (red, green, blue, int(rng.integers(30, 110))))
    return softened(image, 3).resize(size, Image.Resampling.BICUBIC)


BACKDROPS: tuple[Callable[[np.random.Generator, Size], Image.Image], ...] = (grass, sky, soil, studio, wall, bokeh)
