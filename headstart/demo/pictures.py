"""Draw a small picture set of flowers, so that the demo and the benchmark need no data and no network.

Each picture is a scene (a backdrop, soft shadows, one to three flowers) and then a photograph of it (light, blur,
grain, JPEG quality). All randomness comes from one seeded generator, so a seed gives the same files again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import ExifTags, Image, ImageDraw, ImageFilter

from headstart.demo.backdrops import BACKDROPS, Size, blurred, draw_backdrop, greys, grid
from headstart.demo.flowers import FLOWERS, Array, plant

KINDS = tuple(FLOWERS)
LONGEST_DRAWN = 1000  # larger pictures are enlarged from this size: a scene of 4000x3000 would take 144 MB


@dataclass(frozen=True)
class PictureSet:
    """What `draw_pictures` wrote: the folder, the numbers of good and of broken files, and the class names."""

    folder: Path
    images: int
    broken: int
    kinds: tuple[str, ...]


def draw_flower(kind: str, rng: np.random.Generator, size: Size = (500, 375)) -> Image.Image:
    """Draw one picture, mode RGB, of a flower of `KINDS`; `size` is width and height in pixels."""
    shrink = max(1.0, max(size) / LONGEST_DRAWN)
    scene = draw_scene(kind, rng, (max(1, round(size[0] / shrink)), max(1, round(size[1] / shrink))))
    return photograph(scene.resize(size, Image.Resampling.BICUBIC), rng)


def draw_pictures(
    folder: Path, *, per_class: int = 60, size: Size = (500, 375), seed: int = 0, broken: bool = True
) -> PictureSet:
    """Write a picture set as `folder`/<kind>/<kind>_0001.jpg and so on.

    Each picture depends on `seed`, its kind and its number alone, so a larger set begins with the smaller one. Other
    files in `folder` are left alone.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    per_class : int
        Number of good pictures of each kind.
    size : tuple of int
        Width and height in pixels.
    seed : int
        The same seed gives the same files.
    broken : bool
        Also write the files of `BROKEN`, which do not open, and save the pictures of `ODD` in unusual formats.
        Otherwise every file is a plain JPEG.

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
    for (kind, name), damage in BROKEN.items() if broken else ():
        (folder / kind / name).write_bytes(damage((folder / kind / f"{kind}_0001.jpg").read_bytes()))
    return PictureSet(folder, per_class * len(KINDS), len(BROKEN) if broken else 0, KINDS)


def encode(picture: Image.Image, image_format: str, **options: Any) -> bytes:
    """Return a picture as the bytes of an image file."""
    file = BytesIO()
    picture.save(file, image_format, **options)
    return file.getvalue()


def faded(picture: Image.Image, quality: int) -> bytes:
    """Save as PNG with corners that fade to transparent."""
    y, x = grid(picture.size)
    picture.putalpha(greys(np.float32(255 * 4) * (1.25 - x * x - y * y)))
    return encode(picture, "PNG")


def sideways(picture: Image.Image, quality: int) -> bytes:
    """Save as an upright phone does: a JPEG on its side, with EXIF orientation 6."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return encode(picture.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=quality, exif=exif)


Save: TypeAlias = Callable[[Image.Image, int], bytes]
PLAIN: tuple[str, Save] = (".jpg", lambda picture, quality: encode(picture, "JPEG", quality=quality))
ODD: dict[tuple[str, int], tuple[str, Save]] = {
    ("daisy", 2): (".png", faded),
    ("rose", 2): (".jpg", lambda picture, quality: encode(picture.convert("L"), "JPEG", quality=quality)),
    ("sunflower", 2): (".jpg", lambda picture, quality: encode(picture, "WEBP", quality=quality)),
    ("tulip", 2): (".jpg", sideways),
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
    image = blurred(draw_backdrop(backdrop, rng, size), float(rng.choice([0, 0, 0.6, 1.5, 4])))
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))
    radii = np.sort(rng.uniform(0.17, 0.4, count) * (1.1 - 0.12 * count)) * min(size)
    spots = rng.uniform((0.22, 0.25), (0.78, 0.68), (count, 2)) * size
    if not backdrop.is_far:
        image = cast_shadows(image, spots, radii)
    canvas = image.resize((size[0] * 2, size[1] * 2), Image.Resampling.NEAREST)
    for spot, radius in zip(spots, radii, strict=True):
        plant(canvas, kind, spot * 2, radius * 2, rng)
    return canvas.reduce(2)


def cast_shadows(image: Image.Image, spots: Array, radii: Array) -> Image.Image:
    """Darken a backdrop around the heads of the flowers."""
    mask = Image.new("L", image.size)
    for (x, y), radius in zip(spots.tolist(), radii.tolist(), strict=True):
        ImageDraw.Draw(mask).circle((x + radius / 5, y + radius / 5), radius, 130)
    soft = mask.filter(ImageFilter.GaussianBlur(image.height / 30))
    return Image.composite(Image.new("RGB", image.size, (12, 14, 10)), image, soft)


def photograph(scene: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Take a picture of a scene: focus, exposure, light from one side, vignette, colour cast and grain."""
    pixels = np.asarray(blurred(scene, float(rng.choice([0, 0, 0, 0.4, 0.8]))), dtype=np.float32)
    y, x = grid(scene.size)
    across, down, bulge = rng.normal(0, 0.13), rng.normal(0, 0.13), rng.uniform(0, 0.2)
    light = rng.uniform(0.75, 1.18) * (1 + down * y + across * x - bulge * (x * x + y * y))
    warmth, tint = rng.normal(0, 0.07), rng.normal(0, 0.02)
    grain = rng.standard_normal(light.shape, dtype=np.float32) * np.float32(rng.uniform(2.5, 7))
    gains = np.array((1 + warmth, 1 + tint, 1 - warmth), dtype=np.float32)
    exposed = pixels * light.astype(np.float32)[..., None] * gains + grain[..., None]
    return Image.fromarray(np.clip(exposed, 0, 255).astype(np.uint8))
