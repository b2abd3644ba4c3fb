"""How many photos the `unknown` flag marks: of known classes from elsewhere, and of other things.

Photos from elsewhere are shifted ones (saved, lit, cropped or taken otherwise), and subtypes: clusters of a class that
training left out. Of both, only those count that the head classifies correctly.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from bench.heads.data import Photos, say

Rng = np.random.Generator
Shown = dict[str, tuple[NDArray[np.float32], NDArray[np.int32] | None]]
"""Embeddings (n, d) of photos; their labels, or None for photos of other things."""

RATE, SIDE, HELD_OUT, DRAWN, CLUSTERS, OWN = 0.05, 320, 40, 50, 4, "as in training"
SIZES = (100, 400, 2000)
SEEDS = {100: 5, 400: 2, 2000: 1}


def saved(image: Image.Image, quality: int) -> Image.Image:
    """Save as JPEG and open again."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def reduced(image: Image.Image, side: int) -> Image.Image:
    """Make the shorter side so many pixels long."""
    return image.resize([max(1, round(side * length / min(image.size))) for length in image.size])


def blurred(image: Image.Image, radius: float) -> Image.Image:
    """Blur by a radius in pixels of an image of 224."""
    return image.filter(ImageFilter.GaussianBlur(radius * min(image.size) / 224))


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Keep this share of width and height, in the middle."""
    width, height = image.size
    left, top = round(width * (1 - share) / 2), round(height * (1 - share) / 2)
    return image.crop((left, top, width - left, height - top))


def tinted(image: Image.Image, red: float, blue: float) -> Image.Image:
    """Multiply two channels."""
    return _image(np.asarray(image) * [red, 1, blue])


def noisy(image: Image.Image, rng: Rng) -> Image.Image:
    """Add the noise of a photo taken in the dark."""
    pixels = np.asarray(reduced(image, 224))
    return _image(pixels + rng.normal(0, 20, pixels.shape))


def retaken(image: Image.Image, rng: Rng) -> Image.Image:
    """Crop, light, tint, blur, reduce and save an image, each by chance."""
    image = cropped(image, rng.uniform(0.65, 0.95))
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.6, 1.4))
    image = ImageEnhance.Color(image).enhance(rng.uniform(0.4, 1.6))
    image = blurred(tinted(image, *rng.uniform(0.85, 1.2, 2)), rng.uniform(0, 1))
    return saved(reduced(image, int(rng.integers(100, 225))), int(rng.integers(20, 70)))


SHIFTS: dict[str, Callable[[Image.Image, Rng], Image.Image]] = {
    "JPEG of quality 15": lambda image, _: saved(reduced(image, 224), 15),
    "blurred": lambda image, _: blurred(image, 1.5),
    "80 pixels": lambda image, _: reduced(image, 80),
    "grey": lambda image, _: ImageOps.grayscale(image).convert("RGB"),
    "dark": lambda image, _: ImageEnhance.Brightness(image).enhance(0.45),
    "warm light": lambda image, _: tinted(image, 1.3, 0.75),
    "cropped to 60 %": lambda image, _: cropped(image, 0.6),
    "noisy": noisy,
    "all by chance": retaken,
}


@dataclass(frozen=True)
class Task:
    """A labelled store: photos to train on, (n, d) and (n,), and those to show."""

    embeddings: NDArray[np.float32]
    labels: NDArray[np.int32]
    shown: Shown


def lines(photos: Photos) -> list[str]:
    """Return a table with a column for each store and number of training photos."""
    columns: dict[str, dict[str, float]] = {}
    for store, others in ((photos.store, photos.others), (photos.others, photos.store)):
        if store is None or len(store.classes) < 2:
            continue
        name, task = Path(store.header.root).name, task_of(store, photos.backbone)
        far = _drawn(photos.backbone)
        if others is not None:
            far["photos of the other store"] = others.embeddings(np.flatnonzero(others.is_embedded)[::3])
        shown = task.shown | {kind: (rows, None) for kind, rows in far.items()}
        for n in sorted({min(n, len(task.labels)) for n in SIZES}):
            say(f"flagging photos after training on {n} of {name}")
            runs = [flagged(task, n, shown, seed) for seed in range(SEEDS.get(n, 1))]
            columns[f"{name}, {n}"] = {kind: float(np.mean([run[kind].mean() for run in runs])) for kind in runs[0]}
        columns[f"{name}, {n}"]["subtypes left out"] = float(np.concatenate([*subtypes(task)]).mean())
    kinds = dict.fromkeys(kind for column in columns.values() for kind in column)
    rows = [[kind, *(f"{column[kind]:.1%}" if kind in column else "" for column in columns.values())] for kind in kinds]
    title = f"Flagged unknown at {RATE:.0%} false alarms; of photos of known classes, those classified correctly"
    header = ["photos", *columns]
    return [title, "", *("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows))]


def task_of(store: Any, backbone: Path, shifts: tuple[str, ...] = tuple(SHIFTS)) -> Task:
    """Hold out `HELD_OUT` photos per class, and embed their shifted copies."""
    from headstart.classify.split.folds import rank_within_class

    rng, rows = np.random.default_rng(0), np.flatnonzero(store.is_embedded & (store.labels >= 0))
    order = rng.permutation(len(rows))
    is_held_out = rank_within_class(store.labels[rows], order) < HELD_OUT
    held_out, labels = rows[is_held_out], store.labels[rows[is_held_out]]
    images = [Image.open(Path(store.root_of(row)) / store.paths[row]).convert("RGB") for row in held_out]
    images = [reduced(image, SIDE) if min(image.size) > SIDE else image for image in images]
    shown: Shown = {OWN: (store.embeddings(held_out), labels)}
    for name in shifts:
        shown[name] = (embedded(backbone, [SHIFTS[name](image, rng) for image in images]), labels)
    trained = rows[~is_held_out]
    return Task(store.embeddings(trained), store.labels[trained], shown)


def embedded(backbone: Path, images: list[Image.Image]) -> NDArray[np.float32]:
    """Embed images in memory: float32 (n, d)."""
    from headstart.embedder import ImageEmbedder

    result: NDArray[np.float32] = ImageEmbedder(backbone).fit_transform(images)
    return result


def flagged(task: Task, n: int, shown: Shown, seed: int = 0) -> dict[str, NDArray[np.bool_]]:
    """Train on n photos, and tell which photos of each kind are flagged; of labelled ones, those classified correctly.

    "false alarms" are among all photos of the training source that were not trained on.
    """
    from headstart.classify.confidence.novelty import fit_novelty
    from headstart.classify.heads.fitting import fit_rows
    from headstart.classify.heads.options import HeadOptions
    from headstart.classify.heads.registry import logits_of
    from headstart.classify.heads.rows import TrainingRows
    from headstart.classify.split.folds import draw_folds

    rng = np.random.default_rng(seed)
    order, draws = rng.permutation(len(task.labels)), rng.random(n)
    rows, fresh = order[:n], order[n:]
    labels = task.labels[rows]
    training = TrainingRows(task.embeddings[rows], labels, draw_folds(labels, draws), int(task.labels.max()) + 1)
    head, novelty = fit_rows(training, "logreg", HeadOptions())[1], fit_novelty(training, draws, RATE)
    assert novelty is not None
    own = [shown[OWN][0]] if OWN in shown else []
    marks = {"false alarms": novelty.marks(np.vstack([task.embeddings[fresh], *own]))}
    for kind, (images, codes) in shown.items():
        is_right = codes is None or logits_of(head, images).argmax(axis=1) == codes
        marks[kind] = novelty.marks(images)[is_right]
    return marks


def subtypes(task: Task) -> Iterator[NDArray[np.bool_]]:
    """Leave each cluster of each class out of training in turn, and tell which of its photos are flagged."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    for code in range(int(task.labels.max()) + 1):
        members = np.flatnonzero(task.labels == code)
        directions = PCA(20, random_state=0).fit_transform(task.embeddings[members])
        clusters = KMeans(CLUSTERS, n_init=4, random_state=0).fit_predict(directions)
        for cluster in range(CLUSTERS):
            left_out = members[clusters == cluster]
            kept = np.setdiff1d(np.arange(len(task.labels)), left_out)
            remaining = Task(task.embeddings[kept], task.labels[kept], {})
            shown: Shown = {"subtype": (task.embeddings[left_out], task.labels[left_out])}
            yield flagged(remaining, min(len(kept), 800), shown)["subtype"]


def _drawn(backbone: Path) -> dict[str, NDArray[np.float32]]:
    from bench.quality.domain import FAR_KINDS

    rng = np.random.default_rng(0)
    return {
        kind: embedded(backbone, [draw(rng).convert("RGB") for _ in range(DRAWN)]) for kind, draw in FAR_KINDS.items()
    }


def _image(pixels: NDArray[np.floating]) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
