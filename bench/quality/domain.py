"""`make bench-domain`: how far several kinds of pictures are from ImageNet, by the check that training makes.

BENCH_IMAGES names folders of photos to measure beside the drawn pictures, with colons between them.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from headstart.classify.evaluation.domain import FAR, domain_of
from headstart.demo.pictures import draw_pictures
from headstart.export import default_backbone
from headstart.extract import embed

PICTURES: Final = 100
SIDE: Final = 224


def character(rng: np.random.Generator) -> Image.Image:
    """Draw a white letter or digit on black, 28 pixels wide as in lists of handwritten ones, and enlarge it."""
    image = Image.new("L", (28, 28))
    text = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[rng.integers(36)]
    at = int(rng.integers(2, 10)), int(rng.integers(0, 8))
    ImageDraw.Draw(image).text(at, text, fill=255, font=ImageFont.load_default(18))
    return image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)


def texture(rng: np.random.Generator) -> Image.Image:
    """Draw a grey grating under noise."""
    row, column = np.mgrid[0:SIDE, 0:SIDE]
    angle, frequency = rng.uniform(0, np.pi), rng.uniform(0.02, 0.6)
    wave = np.sin(frequency * (column * np.cos(angle) + row * np.sin(angle))) * rng.uniform(20, 100)
    noisy = wave + rng.normal(0, rng.uniform(5, 40), wave.shape) + rng.uniform(60, 190)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def bodies(rng: np.random.Generator) -> Image.Image:
    """Draw blurred, overlapping grey bodies, as in an X-ray picture."""
    image = Image.new("L", (SIDE, SIDE), 20)
    for _ in range(12):
        left, top, width, height = rng.integers([0, 0, 10, 10], [200, 200, 90, 90]).tolist()
        ImageDraw.Draw(image).ellipse((left, top, left + width, top + height), fill=int(rng.integers(30, 220)))
    grey = np.asarray(image.filter(ImageFilter.GaussianBlur(6)), np.float64) + rng.normal(0, 6, (SIDE, SIDE))
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


FAR_KINDS: Final[dict[str, Callable[[np.random.Generator], Image.Image]]] = {
    "characters": character,
    "bodies as in X-ray pictures": bodies,
    "textures": texture,
}


def draw(kind: str, folder: Path, count: int = PICTURES) -> None:
    """Write pictures of one of `FAR_KINDS` as PNG files."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        FAR_KINDS[kind](rng).convert("RGB").save(folder / f"{number:04}.png")


def factor_of(images: str | Path, store: Path, backbone: str | Path) -> float:
    """Embed images, and return the factor of the domain check; NaN if the backbone does not allow one."""
    domain = domain_of(embed(images, backbone, store)[0])
    return float("nan") if domain is None else domain.factor


def main() -> None:
    """Print a table of kinds of pictures and their factors."""
    backbone = default_backbone()
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: Path(name) for name in filter(None, os.environ.get("BENCH_IMAGES", "").split(":"))}
        folders["drawn flowers"] = Path(scratch, "flowers")
        draw_pictures(folders["drawn flowers"], per_class=PICTURES // 5, broken=False)
        for kind in FAR_KINDS:
            folders[kind] = Path(scratch, kind)
            draw(kind, folders[kind])
        sys.stdout.write(f"| pictures | factor (far from {FAR}) |\n|---|---:|\n")
        for number, (name, folder) in enumerate(folders.items()):
            factor = factor_of(str(folder), Path(scratch, f"{number}.h5"), backbone)
            sys.stdout.write(f"| {name} | {factor:.2f} |\n")


if __name__ == "__main__":
    main()
