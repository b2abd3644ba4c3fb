"""Draw one flower on a canvas: a stem, leaves, and the head of a daisy, dandelion, rose, sunflower or tulip."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array: TypeAlias = NDArray[np.float64]
Colours: TypeAlias = tuple[tuple[int, int, int], ...]
GOLDEN_ANGLE = np.pi * (3 - 5**0.5)
# A petal is these shapes over one another: length, width, brightness.
LAYERS = np.array([[1, 1, 0.82], [0.98, 0.84, 0.96], [0.97, 0.62, 1.03], [0.6, 0.3, 0.9], [0.96, 0.16, 1.1]])
# A rose petal likewise: size, shift outward, brightness; first its shadow, then the pale rim, then the hollow.
ROLLS = np.array([[1.05, 0, 0.62], [1, 0, 1.12], [0.93, -0.03, 1], [0.8, -0.08, 0.91], [0.6, -0.13, 0.8]])


def pick(colours: Colours, rng: np.random.Generator, spread: float = 9) -> Array:
    """Choose one RGB colour, float64 (3,), 0-255, and vary it a little."""
    chosen = np.array(colours[int(rng.integers(len(colours)))], dtype=np.float64)
    return np.clip(chosen + rng.normal(0, spread, 3), 0, 255)


def ink(colours: Array) -> list[tuple[int, int, int]]:
    """Convert colours, (n, 3), to tuples for Pillow, clipped to 0-255."""
    return [(red, green, blue) for red, green, blue in np.clip(colours, 0, 255).astype(int).tolist()]


def turned(angle: float | Array) -> Array:
    """Return the (2, 2) matrix that turns row vectors by `angle` radians, or (n, 2, 2) for n angles."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.moveaxis(np.array([[cos, sin], [-sin, cos]]), (0, 1), (-2, -1))


def circle(points: int = 24) -> Array:
    """Outline a circle of radius 1, float64 (points, 2)."""
    around = np.linspace(0, 2 * np.pi, points)
    return np.stack([np.cos(around), np.sin(around)], axis=1)


def petal(length: float, width: float, fullness: float = 1.5, bluntness: float = 0.7) -> Array:
    """Outline a petal from the origin along +x, float64 (18, 2); more `fullness` moves the widest part to the tip."""
    along = np.linspace(0, 1, 9)
    half = width / 2 * np.maximum(np.sin(np.pi * along**fullness), 0) ** bluntness
    upper = np.stack([along * length, half], axis=1)
    return np.concatenate([upper, upper[::-1] * (1, -1)])


@dataclass(frozen=True)
class Pen:
    """Draws in a flower's own units: its centre is the origin, its head has radius 1, and y points down."""

    canvas: ImageDraw.ImageDraw
    rng: np.random.Generator
    centre: Array
    turn: Array
    light: float

    def fill(self, outlines: Array, colours: Array) -> None:
        """Fill polygons, (n, points, 2), each in its RGB colour, (n, 3) or (3,) for all."""
        flat = (outlines @ self.turn + self.centre).reshape(len(outlines), -1).tolist()
        for outline, colour in zip(flat, ink(np.broadcast_to(colours, (len(outlines), 3))), strict=True):
            self.canvas.polygon(outline, fill=colour)

    def petal(self, outline: Array, angle: float, colour: Array, base: Array | tuple[float, float] = (0, 0)) -> None:
        """Draw one shaded petal that leaves `base` at `angle`."""
        shade = 0.9 + 0.13 * np.cos(angle - self.light) + self.rng.normal(0, 0.035)
        self.fill((outline * LAYERS[:, None, :2]) @ turned(angle) + base, colour * shade * LAYERS[:, 2:])

    def ring(self, count: int, outline: Array, colour: Array, wobble: float = 0.07) -> None:
        """Draw `count` petals round the centre, in random order and not quite alike."""
        start = self.rng.uniform(0, 2 * np.pi)
        for i in self.rng.permutation(count):
            angle = start + 2 * np.pi * i / count + self.rng.normal(0, wobble)
            self.petal(outline * self.rng.normal(1, 0.05, 2), float(angle), colour)

    def seeds(self, count: int, radius: float, inner: Array, outer: Array) -> None:
        """Fill a disc with seeds, spread as in a real head (Vogel 1979), coloured from `inner` to `outer`."""
        far, angles = np.sqrt((np.arange(count) + 0.5) / count)[:, None], np.arange(count) * GOLDEN_ANGLE
        spots = np.stack([np.cos(angles), np.sin(angles)], axis=1) * far * radius
        colours = (inner + (outer - inner) * far) * self.rng.uniform(0.75, 1.2, (count, 1))
        self.fill(circle()[None] * radius * 1.04, outer * 0.55)
        self.fill(spots[:, None] + circle(6) * radius * 1.2 / np.sqrt(count), colours)


def daisy(pen: Pen, colour: Array) -> None:
    """Draw narrow blunt petals round a small yellow button."""
    count = int(pen.rng.integers(13, 25))
    outline = petal(1, pen.rng.uniform(4.2, 5.6) / count, 1.5, 0.55)
    pen.ring(count, outline, colour * 0.9)
    pen.ring(count, outline * 0.97, colour)
    button = pick(((240, 190, 40), (225, 165, 30), (200, 175, 50)), pen.rng)
    pen.seeds(90, pen.rng.uniform(0.2, 0.33), button, button * 0.82)


def dandelion(pen: Pen, colour: Array) -> None:
    """Draw a head of many thin straps."""
    for reach, count in ((1.0, 60), (0.84, 52), (0.66, 42), (0.46, 30), (0.27, 18)):
        angles = pen.rng.uniform(0, 2 * np.pi, count)
        straps = petal(reach, 0.11, 2.4, 0.5) * pen.rng.normal(1, 0.08, (count, 1, 1)) @ turned(angles)
        shade = (0.93 + 0.1 * np.cos(angles - pen.light) + pen.rng.normal(0, 0.05, count)) * (1.1 - 0.22 * reach)
        pairs = np.stack([straps, straps * 0.97 + 0.012], axis=1).reshape(2 * count, -1, 2)
        pen.fill(pairs, colour * np.outer(shade, (0.78, 1.04)).reshape(-1, 1))


def rose(pen: Pen, colour: Array) -> None:
    """Draw round petals wound inward at the golden angle, each with a shadow and a pale rolled rim."""
    count = int(pen.rng.integers(20, 30))
    for i in range(count):
        reach, angle = (1 - i / count) ** 0.85, i * GOLDEN_ANGLE + pen.rng.normal(0, 0.12)
        tone = (0.8 + 0.3 * reach) * (0.95 + 0.12 * np.cos(angle - pen.light)) + pen.rng.normal(0, 0.02)
        shift = np.stack([(0.48 + ROLLS[:, 1]) * reach, np.zeros(len(ROLLS))], axis=1)[:, None]
        outlines = circle() * (0.5, 0.66) * pen.rng.normal(1, 0.04, 2) * (reach + 0.06) * ROLLS[:, None, :1] + shift
        pen.fill(outlines @ turned(angle), colour * tone * ROLLS[:, 2:])


def sunflower(pen: Pen, colour: Array) -> None:
    """Draw two rows of pointed petals round a wide brown disc of seeds."""
    count = int(pen.rng.integers(15, 24))
    outline = petal(1, pen.rng.uniform(4.8, 6.5) / count, 1.15, 1.1)
    pen.ring(count, outline, colour * 0.85, 0.09)
    pen.ring(count, outline * 0.94, colour, 0.09)
    inner, outer = ((70, 45, 25), (105, 95, 40), (45, 30, 25)), ((95, 58, 28), (125, 75, 30), (60, 38, 28))
    pen.seeds(170, pen.rng.uniform(0.42, 0.58), pick(inner, pen.rng), pick(outer, pen.rng))


def tulip(pen: Pen, colour: Array) -> None:
    """Draw an upright cup of six broad petals, seen from the side."""
    wide, tall, lean = pen.rng.uniform(0.8, 1.15), pen.rng.uniform(1.85, 2.2), pen.rng.uniform(0.16, 0.34)
    plan = ((0.5, 0.95, 0.72), (-0.5, 0.95, 0.72), (0, 1, 0.8), (1, 0.98, 0.95), (-1, 0.98, 0.95), (0.06, 0.92, 1.06))
    for side, reach, gain in plan:
        outline = petal(tall * reach * pen.rng.normal(1, 0.03), wide, 0.92, 0.75)
        pen.petal(outline, -np.pi / 2 + side * lean, colour * gain, (0, 0.9))


@dataclass(frozen=True)
class Kind:
    """One kind of flower: how to draw its head, the head's colours, and the length and width of a leaf."""

    draw: Callable[[Pen, Array], None]
    colours: Colours
    leaf: tuple[float, float]


FLOWERS = {
    "daisy": Kind(daisy, ((246, 246, 240), (246, 246, 240), (235, 150, 185), (190, 160, 220)), (0.8, 0.22)),
    "dandelion": Kind(dandelion, ((248, 205, 30), (245, 190, 20)), (1.6, 0.35)),
    "rose": Kind(rose, ((190, 25, 45), (235, 130, 160), (240, 200, 90), (245, 238, 225), (225, 110, 70)), (1.1, 0.6)),
    "sunflower": Kind(sunflower, ((250, 195, 25), (240, 160, 25), (250, 220, 90), (185, 80, 30)), (1.3, 0.9)),
    "tulip": Kind(tulip, ((205, 30, 40), (245, 205, 50), (235, 130, 165), (130, 60, 150), (245, 240, 230)), (2.6, 0.5)),
}


def plant(canvas: Image.Image, name: str, spot: Array, radius: float, rng: np.random.Generator) -> None:
    """Draw a whole flower of kind `name` with its head at `spot`; `radius` is in pixels."""
    kind, draw, light = FLOWERS[name], ImageDraw.Draw(canvas), float(rng.uniform(0, 2 * np.pi))
    stem(Pen(draw, rng, spot, np.eye(2) * radius, light), kind.leaf)
    spin, slant, squash = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.5), rng.uniform(0.6, 1)
    if name == "tulip":  # is seen from the side, and stands upright
        spin, slant, squash = rng.normal(0, 0.22), 0, 1
    turn = turned(spin) @ np.diag([1, squash]) @ turned(slant) * radius
    kind.draw(Pen(draw, rng, spot, turn, light), pick(kind.colours, rng, 11))


def stem(pen: Pen, leaf: tuple[float, float]) -> None:
    """Draw a bent stem from the head down, with leaves along it."""
    green = pick(((70, 120, 45), (95, 135, 60), (55, 100, 60), (120, 140, 70)), pen.rng)
    along = np.linspace(0, 1, 14)[:, None]
    foot, bend = (pen.rng.normal(0, 0.7), 6), (pen.rng.normal(0, 0.5), 3)
    path = along**2 * foot + 2 * along * (1 - along) * bend
    for shade, width in ((0.6, 0.09), (0.9, 0.065), (1.15, 0.025)):
        sides = np.concatenate([path, path[::-1]]) + np.repeat([[-width, 0], [width, 0]], 14, axis=0)
        pen.fill(sides[None], green * shade)
    for i in pen.rng.choice(np.arange(3, 9), int(pen.rng.integers(1, 4)), replace=False):
        angle = -np.pi / 2 + pen.rng.choice([-1, 1]) * pen.rng.uniform(0.4, 1.1)
        pen.petal(petal(*leaf, 0.85, 0.9) * pen.rng.uniform(0.8, 1.2), float(angle), green, path[i])
