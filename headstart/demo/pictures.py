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
from PIL import ExifTags, Image, ImageDraw, ImageFilter

from headstart.demo.backdrops import BACKDROPS, Size, bokeh, greys, grid, sky, softened
from headstart.demo.flowers import FLOWERS, Array, plant

KINDS = tuple(FLOWERS)
LONGEST_DRAWN = 1000  # a longer side is enlarged from this: a scene at 2x and 4000x3000 would take 144 MB


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
