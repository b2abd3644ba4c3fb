"""Draw a small picture set of flowers, so that the demo and the benchmark need no data and no network.

Each picture is a scene (a backdrop, a soft shadow, one to three flowers) and then a photograph of it (light, blur,
grain, JPEG quality). Everything comes from a random generator, so a seed gives the same files again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageDraw, ImageFilter

from headstart.flowers import FLOWERS, Array, ink, pick, plant

KINDS = tuple(FLOWERS)
LONGEST_DRAWN = 1000  # a longer side is enlarged from this: a scene at 2x and 4000x3000 would take 144 MB

Size: TypeAlias = tuple[int, int]
Field: TypeAlias = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class PictureSet:
    """What `draw_pictures` wrote: where, how many files open as a picture, how many do not, and the class names."""

    folder: Path
    images: int
    broken: int
    kinds: tuple[str, ...]


def draw_flower(kind: str, rng: np.random.Generator, size: Size = (500, 375)) -> Image.Image:
    """Draw one picture of a flower.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    rng : numpy.random.Generator
        The source of every choice in the picture.
    size : tuple of int
        Width and height in pixels.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    ValueError
        If `kind` is not in `KINDS`.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of flower {kind!r}; the kinds are {', '.join(KINDS)}")
    shrink = max(1.0, max(size) / LONGEST_DRAWN)
    scene = draw_scene(kind, rng, (max(1, round(size[0] / shrink)), max(1, round(size[1] / shrink))))
    return photograph(scene.resize(size, Image.Resampling.BICUBIC), rng)


def draw_pictures(
    folder: Path, *, per_class: int = 60, size: Size = (500, 375), seed: int = 0, broken: bool = True
) -> PictureSet:
    """Write a picture set as `folder`/<kind>/<kind>_0001.jpg and so on.

    A picture depends on `seed`, its kind and its number alone, so a larger set begins with the smaller one. Files that
    are already in `folder` stay there, or are replaced where the name is the same.

    Parameters
    ----------
    folder : Path
        Made where it does not exist.
    per_class : int
        How many good pictures of each kind.
    size : tuple of int
        Width and height in pixels.
    seed : int
        The same seed gives the same files.
    broken : bool
        Also write the files of `BROKEN`, which do not open, and save the pictures of `ODD`, which do, in unusual ways.
        Without it every file is a plain JPEG.

    Raises
    ------
    ValueError
        If `per_class` is below 1.
    """
    if per_class < 1:
        raise ValueError(f"per_class is {per_class}; draw at least 1 picture of each kind")
    for kind in KINDS:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(1, per_class + 1):
            rng = np.random.default_rng([seed, KINDS.index(kind), number])
            picture, quality = draw_flower(kind, rng, size), int(rng.integers(75, 93))
            suffix, save = ODD.get((kind, number), PLAIN) if broken else PLAIN
            (folder / kind / f"{kind}_{number:04}{suffix}").write_bytes(save(picture, quality))
    for (kind, name), spoil in BROKEN.items() if broken else ():
        (folder / kind / name).write_bytes(spoil((folder / kind / f"{kind}_0001.jpg").read_bytes()))
    return PictureSet(folder, per_class * len(KINDS), len(BROKEN) if broken else 0, KINDS)


def encode(picture: Image.Image, form: str, **options: Any) -> bytes:
    """Make an image file of a Pillow format in memory."""
    file = BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def cut_out(picture: Image.Image, quality: int) -> bytes:
    """Make a PNG whose corners fade to transparent."""
    y, x = grid(picture.size)
    picture.putalpha(greys(np.float32(255 * 4) * (1.25 - x * x - y * y)))
    return encode(picture, "PNG")


def lying(picture: Image.Image, quality: int) -> bytes:
    """Make a JPEG as a phone held upright does: stored on its side, with EXIF orientation 6 to turn it back."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return encode(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=quality, exif=exif)


Save: TypeAlias = Callable[[Image.Image, int], bytes]
PLAIN: tuple[str, Save] = (".jpg", lambda picture, quality: encode(picture, "JPEG", quality=quality))
ODD: dict[tuple[str, int], tuple[str, Save]] = {
    ("daisy", 2): (".png", cut_out),
    ("rose", 2): (".jpg", lambda picture, quality: encode(picture.convert("L"), "JPEG", quality=quality)),
    ("sunflower", 2): (".jpg", lambda picture, quality: encode(picture, "WEBP", quality=quality)),
    ("tulip", 2): (".jpg", lying),
}
BROKEN: dict[tuple[str, str], Callable[[bytes], bytes]] = {
    ("daisy", "daisy_empty.jpg"): lambda jpeg: b"",
    ("dandelion", "dandelion_truncated.jpg"): lambda jpeg: jpeg[: len(jpeg) // 2],
    ("rose", "rose_not_found.jpg"): lambda jpeg: b"<!DOCTYPE html>\n<html><body><h1>404 Not Found</h1></body></html>\n",
    ("sunflower", "sunflower_notes.png"): lambda jpeg: (
        b"Sunflowers, south field. Ask for the other half of the roll.\n"
    ),
}


def draw_scene(kind: str, rng: np.random.Generator, size: Size) -> Image.Image:
    """Plant one to three flowers before a backdrop, drawn at twice the size and halved to smooth the edges."""
    backdrop = BACKDROPS[rng.integers(len(BACKDROPS))]
    image = softened(backdrop(rng, size), float(rng.choice([0, 0, 0.6, 1.5, 4])))
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))
    radii = np.sort(rng.uniform(0.17, 0.4, count) * (1.1 - 0.12 * count)) * min(size)
    spots = rng.uniform((0.22, 0.25), (0.78, 0.68), (count, 2)) * size
    far = backdrop in (sky, bokeh)
    if not far:
        image = cast_shadow(image, spots, radii, rng)
    canvas = image.resize((size[0] * 2, size[1] * 2), Image.Resampling.NEAREST)
    for spot, radius in zip(spots, radii, strict=True):
        plant(canvas, kind, spot * 2, radius * 2, rng, stem=far)
    return canvas.reduce(2)


def cast_shadow(image: Image.Image, spots: Array, radii: Array, rng: np.random.Generator) -> Image.Image:
    """Darken a backdrop where flowers will stand in the light."""
    mask = Image.new("L", (max(1, image.width // 4), max(1, image.height // 4)))
    draw = ImageDraw.Draw(mask)
    for (x, y), radius in zip(spots + rng.normal(0, 0.05, 2) * image.height, radii, strict=True):
        draw.ellipse([(x - radius) / 4, (y - radius) / 4, (x + radius) / 4, (y + radius) / 4], fill=130)
    soft = mask.filter(ImageFilter.GaussianBlur(image.height / 80)).resize(image.size, Image.Resampling.BILINEAR)
    return Image.composite(Image.new("RGB", image.size, (12, 14, 10)), image, soft)


def photograph(scene: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Take a picture of a scene: focus, exposure, warm or cold light from one side, vignette and grain."""
    planes = softened(scene, float(rng.choice([0, 0, 0, 0.4, 0.8]))).split()
    y, x = grid(scene.size)
    across, down, bulge = rng.normal(0, 0.13), rng.normal(0, 0.13), rng.uniform(0, 0.2)
    light = rng.uniform(0.75, 1.18) * (1 + down * y + across * x - bulge * (x * x + y * y))
    warmth, tint = rng.normal(0, 0.07), rng.normal(0, 0.02)
    grain = rng.standard_normal(light.shape, dtype=np.float32) * np.float32(rng.uniform(2.5, 7))
    gains = (1 + warmth, 1 + tint, 1 - warmth)
    exposed = [np.asarray(plane) * (light * gain) + grain for plane, gain in zip(planes, gains, strict=True)]
    return Image.merge("RGB", [greys(plane) for plane in exposed])


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
