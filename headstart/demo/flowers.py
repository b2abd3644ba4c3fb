"""Draw one flower on a canvas: a stem, leaves, and the head of a daisy, dandelion, rose, sunflower or tulip."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array: TypeAlias = NDArray[np.float64]
GOLDEN_ANGLE = np.pi * (3 - 5**0.5)
# A petal is these shapes over one another: length, width, brightness.
LAYERS = np.array([[1, 1, 0.87], [0.98, 0.84, 0.96], [0.97, 0.62, 1.03], [0.96, 0.36, 1.09]])
# A rose petal likewise: size, shift outward, brightness; first its shadow, then the pale rim, then the hollow.
ROLLS = np.array([[1.05, 0, 0.62], [1, 0, 1.12], [0.93, -0.03, 1], [0.8, -0.08, 0.91], [0.6, -0.13, 0.8]])
VEINS = np.array([[[0.1, 0], [0.55, side], [0.9, side * 0.6]] for side in (-0.14, 0.16)])


def pick(colours: Sequence[Sequence[float]], rng: np.random.Generator, spread: float = 9) -> Array:
    """Choose one RGB colour, float64 (3,), 0-255, a little off the listed one."""
    chosen = np.array(colours[int(rng.integers(len(colours)))], dtype=np.float64)
    return np.clip(chosen + rng.normal(0, spread, 3), 0, 255)


def turned(angle: float | Array) -> Array:
    """Give the (2, 2) matrix that turns row vectors by `angle` radians, or (n, 2, 2) for n angles."""
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


def spiral(count: int, radius: float) -> Array:
    """Spread points evenly over a disc, float64 (count, 2), as seeds sit in a head (Vogel 1979)."""
    turn = np.arange(count) * GOLDEN_ANGLE
    return np.stack([np.cos(turn), np.sin(turn)], axis=1) * radius * np.sqrt((np.arange(count)[:, None] + 0.5) / count)


@dataclass(frozen=True)
class Pen:
    """Draws shapes given in a flower's own units: the head has radius 1, its centre is the origin, y points down."""

    canvas: Image.Image
    rng: np.random.Generator
    centre: Array
    turn: Array
    light: float = 0.0

    @cached_property
    def solid(self) -> ImageDraw.ImageDraw:
        """Draws over what is there; several times faster than `glaze`."""
        return ImageDraw.Draw(self.canvas)

    @cached_property
    def glaze(self) -> ImageDraw.ImageDraw:
        """Draws see-through colours."""
        return ImageDraw.Draw(self.canvas, "RGBA")

    def fill(self, outlines: Array, colours: Array) -> None:
        """Fill polygons, (n, points, 2), each in its RGB colour, (n, 3) or (3,) for all."""
        flat = (outlines @ self.turn + self.centre).reshape(len(outlines), -1).tolist()
        for outline, colour in zip(flat, ink(np.broadcast_to(colours, (len(outlines), 3))), strict=True):
            self.solid.polygon(outline, fill=colour)

    def tint(self, outline: Array, colour: Array, alpha: int) -> None:
        """Fill one polygon, (points, 2), with a see-through colour."""
        self.glaze.polygon((outline @ self.turn + self.centre).ravel().tolist(), fill=(*ink(colour[None])[0], alpha))

    def stroke(self, lines: Array, colour: Array, width: float, alpha: int = 255) -> None:
        """Draw lines through points, (n, points, 2); `width` is in flower units."""
        pixels = max(1, round(width * float(np.sqrt(abs(np.linalg.det(self.turn))))))
        shade = (*ink(colour[None])[0], alpha)
        draw = self.solid if alpha == 255 else self.glaze
        for line in (lines @ self.turn + self.centre).reshape(len(lines), -1).tolist():
            draw.line(line, fill=shade, width=pixels, joint="curve" if pixels > 4 else None)

    def petal(self, outline: Array, angle: float, colour: Array, base: Array | tuple[float, float] = (0, 0)) -> None:
        """Draw one shaded petal that leaves `base` at `angle`: body, lighter middle, darker root and two veins."""
        turn = turned(angle)
        shade = 0.9 + 0.13 * np.cos(angle - self.light) + self.rng.normal(0, 0.035)
        self.fill((outline * LAYERS[:, None, :2]) @ turn + base, colour * shade * LAYERS[:, 2:])
        self.tint(outline * (0.45, 0.6) @ turn + base, colour * shade * 0.72, 70)
        self.stroke(VEINS * (outline[:, 0].max(), np.ptp(outline[:, 1])) @ turn + base, colour * 0.7, 0.012, 90)

    def ring(self, count: int, outline: Array, colour: Array, start: float = 0.0, wobble: float = 0.06) -> None:
        """Draw `count` petals round the centre, in random order and not quite alike."""
        for i in self.rng.permutation(count):
            angle = start + 2 * np.pi * i / count + self.rng.normal(0, wobble)
            self.petal(outline * self.rng.normal(1, 0.05, 2), float(angle), colour)

    def seeds(self, count: int, radius: float, inner: Array, outer: Array, size: float) -> None:
        """Fill a disc with seeds whose colour runs from `inner` to `outer`."""
        spots, far = spiral(count, radius), np.linspace(0, 1, count)
        lit = 1 + 0.25 * far * np.cos(np.arctan2(spots[:, 1], spots[:, 0]) - self.light)
        colours = (inner + (outer - inner) * far[:, None]) * (lit * self.rng.uniform(0.8, 1.15, count))[:, None]
        cell = circle(6)[:-1] * size
        self.fill(circle()[None] * radius * 1.04, outer * 0.55)
        self.fill(spots[:, None] + cell, colours * 0.72)
        self.fill(spots[:, None] + cell * 0.55 - size * 0.15, colours * 1.1)


def ink(colours: Array) -> list[tuple[int, int, int]]:
    """Make colours, (n, 3), into what Pillow takes, held to 0-255."""
    return [(red, green, blue) for red, green, blue in np.clip(colours, 0, 255).astype(int).tolist()]


def daisy(pen: Pen, colour: Array) -> None:
    """Draw narrow blunt petals round a small yellow button."""
    count = int(pen.rng.integers(13, 25))
    outline = petal(1, pen.rng.uniform(4.2, 5.6) / count, 1.5, 0.55)
    if pen.rng.random() < 0.6:
        pen.ring(count, outline, colour * 0.9, np.pi / count)
    pen.ring(count, outline * 0.97, colour)
    button = pick([(240, 190, 40), (225, 165, 30), (200, 175, 50), (120, 75, 40)], pen.rng)
    pen.seeds(90, pen.rng.uniform(0.2, 0.33), button, button * 0.82, 0.045)


def dandelion(pen: Pen, colour: Array) -> None:
    """Draw a yellow head of many thin straps or, for a near-white colour, a seed clock."""
    if colour[2] > 150:
        return clock(pen, colour)
    for reach, count in ((1.0, 60), (0.84, 52), (0.66, 42), (0.46, 30), (0.27, 18)):
        angles = pen.rng.uniform(0, 2 * np.pi, count)
        straps = petal(reach, 0.11, 2.4, 0.5) * pen.rng.normal(1, 0.08, (count, 1, 1)) @ turned(angles)
        shade = (0.93 + 0.1 * np.cos(angles - pen.light) + pen.rng.normal(0, 0.05, count)) * (1.1 - 0.22 * reach)
        pen.fill(
            np.stack([straps, straps * 0.97 + 0.012], axis=1).reshape(2 * count, -1, 2),
            colour * np.outer(shade, (0.78, 1.04)).reshape(-1, 1),
        )
    return None


def clock(pen: Pen, colour: Array) -> None:
    """Draw a dandelion's seed head: parachutes on fine stalks round a dark core."""
    for size in (0.98, 0.8, 0.6, 0.4):
        pen.tint(circle() * size, colour, 40)
    tips = spiral(120, 0.84)
    angles = np.arctan2(tips[:, 1], tips[:, 0])[:, None] + np.linspace(-1.5, 1.5, 6) + pen.rng.normal(0, 0.1, (120, 1))
    hairs = tips[:, None] + np.stack([np.cos(angles), np.sin(angles)], axis=-1) * 0.17
    pen.stroke(np.stack([tips * 0.17, tips], axis=1), colour * 0.8, 0.008, 120)
    pen.stroke(np.stack([hairs * 0 + tips[:, None], hairs], axis=2).reshape(-1, 2, 2), colour * 1.05, 0.006, 150)
    pen.seeds(40, 0.16, np.array([120.0, 95, 60]), np.array([90.0, 75, 50]), 0.03)


def rose(pen: Pen, colour: Array) -> None:
    """Draw round petals wound inward at the golden angle, each with a shadow and a pale rolled rim."""
    count = int(pen.rng.integers(20, 30))
    reach = (1 - np.arange(count) / count) ** 0.85
    angles = np.arange(count) * GOLDEN_ANGLE + pen.rng.normal(0, 0.12, count)
    shade = (0.8 + 0.3 * reach) * (0.95 + 0.12 * np.cos(angles - pen.light)) + pen.rng.normal(0, 0.02, count)
    waves = np.linspace(0, 2 * np.pi, 24) * pen.rng.integers(2, 5, (count, 1)) + angles[:, None]
    leaves = circle() * (0.5, 0.66) * (1 + 0.05 * np.sin(waves))[..., None] * (reach + 0.06)[:, None, None]
    for leaf, far, turn, tone in zip(leaves, reach, turned(angles), shade, strict=True):
        shift = np.stack([(0.48 + ROLLS[:, 1]) * far, np.zeros(len(ROLLS))], axis=1)
        pen.fill((leaf * ROLLS[:, None, :1] + shift[:, None]) @ turn, colour * tone * ROLLS[:, 2:])
    wind = np.linspace(0, 9, 40)
    heart = np.stack([np.cos(wind), np.sin(wind)], axis=1) * (0.02 + wind[:, None] * 0.014)
    pen.stroke(heart[None], colour * 0.45, 0.025, 190)


def sunflower(pen: Pen, colour: Array) -> None:
    """Draw two rows of pointed petals round a wide brown disc of seeds."""
    count = int(pen.rng.integers(15, 24))
    disc = pen.rng.uniform(0.42, 0.58)
    outline = petal(1, pen.rng.uniform(4.8, 6.5) / count, 1.15, 1.1)
    pen.ring(count, outline, colour * 0.85, np.pi / count, 0.09)
    pen.ring(count, outline * 0.94, colour, 0, 0.09)
    middle = pick([(70, 45, 25), (105, 95, 40), (45, 30, 25)], pen.rng)
    pen.seeds(170, disc, middle, pick([(95, 58, 28), (125, 75, 30), (60, 38, 28)], pen.rng), 0.055)


def tulip(pen: Pen, colour: Array) -> None:
    """Draw an upright cup of six broad petals, seen from the side."""
    wide, tall = pen.rng.uniform(0.8, 1.15), pen.rng.uniform(1.85, 2.2)
    root = np.array([0, 0.9])
    lean = pen.rng.uniform(0.16, 0.34)
    plan = ((0.5, 0.95, 0.72), (-0.5, 0.95, 0.72), (0, 1, 0.8), (1, 0.98, 0.95), (-1, 0.98, 0.95), (0.06, 0.92, 1.06))
    for side, reach, gain in plan:
        outline = petal(tall * reach * pen.rng.normal(1, 0.03), wide, 0.92, 0.75)
        pen.petal(outline, -np.pi / 2 + side * lean, colour * gain, root)


@dataclass(frozen=True)
class Kind:
    """How one kind of flower looks: its head, the head's usual colours, its leaves and the way it faces."""

    paint: Callable[[Pen, Array], None]
    colours: tuple[tuple[int, int, int], ...]
    leaf: tuple[float, float]
    faces: Literal["any", "up"] = "any"


FLOWERS = {
    "daisy": Kind(
        daisy, ((246, 246, 240), (246, 246, 240), (235, 150, 185), (245, 205, 60), (190, 160, 220)), (0.8, 0.22)
    ),
    "dandelion": Kind(dandelion, ((248, 205, 30), (245, 190, 20), (235, 238, 235)), (1.6, 0.35)),
    "rose": Kind(rose, ((190, 25, 45), (235, 130, 160), (240, 200, 90), (245, 238, 225), (225, 110, 70)), (1.1, 0.6)),
    "sunflower": Kind(sunflower, ((250, 195, 25), (240, 160, 25), (250, 220, 90), (185, 80, 30)), (1.3, 0.9)),
    "tulip": Kind(
        tulip, ((205, 30, 40), (245, 205, 50), (235, 130, 165), (130, 60, 150), (245, 240, 230)), (2.6, 0.5), "up"
    ),
}


def plant(
    canvas: Image.Image, name: str, spot: Array, radius: float, rng: np.random.Generator, *, stem: bool = False
) -> None:
    """Draw a whole flower of kind `name` with its head at `spot`; `radius` is in pixels; `stem` asks for a stem."""
    kind = FLOWERS[name]
    spin, slant, squash = rng.normal(0, 0.22), 0.0, 1.0
    if kind.faces == "any":
        spin, slant, squash = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.5), rng.uniform(0.6, 1)
    light = rng.uniform(0, 2 * np.pi)
    green = pick([(70, 120, 45), (95, 135, 60), (55, 100, 60), (120, 140, 70)], rng)
    stem = bool(rng.random() < 0.6) or stem or kind.faces == "up"
    foliage(Pen(canvas, rng, spot, np.eye(2) * radius, light), kind, green, stem=stem)
    turn = turned(spin) @ np.diag([1, squash]) @ turned(slant) * radius
    kind.paint(Pen(canvas, rng, spot, turn, light), pick(kind.colours, rng, 11))


def foliage(pen: Pen, kind: Kind, green: Array, *, stem: bool) -> None:
    """Draw a bent stem with leaves along it or, without a stem, leaves spread out behind the head."""
    long, wide = kind.leaf
    outline = petal(long, wide, 0.85, 0.9)
    if not stem:
        for angle in pen.rng.uniform(0, 2 * np.pi, int(pen.rng.integers(0, 6))):
            pen.petal(outline * pen.rng.uniform(0.8, 1.3), angle, green)
        return
    along = np.linspace(0, 1, 14)[:, None]
    bend, foot = pen.rng.normal(0, 0.5), np.array([pen.rng.normal(0, 0.7), 6.0])
    path = along**2 * foot + 2 * along * (1 - along) * np.array([bend, 3.0])
    for shade, width in ((0.6, 0.17), (0.9, 0.13), (1.15, 0.05)):
        pen.stroke(path[None], green * shade, width)
    for i in pen.rng.choice(np.arange(3, 9), int(pen.rng.integers(1, 4)), replace=False):
        angle = -np.pi / 2 + pen.rng.choice([-1, 1]) * pen.rng.uniform(0.4, 1.1)
        pen.petal(outline * pen.rng.uniform(0.8, 1.2), float(angle), green * pen.rng.uniform(0.85, 1.1), path[i])
