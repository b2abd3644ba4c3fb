"""Small photos and a backbone of one convolution, so that a real run of any command takes a tenth of a second."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from headstart.files.seal import sealed
from torture.processes.process import Done, Zygote

ROWS_A_SHARD = 4
SMALL_SHARDS: dict[str, Any] = {"headstart.extract.store.writer.ROWS_A_SHARD": ROWS_A_SHARD}
CLASSES = ("ash", "birch", "cedar", "fir")
SIDE, DIM = 16, 8


def draw_photos(folder: Path, count: int, seed: int = 0) -> Path:
    """Draw photos in class folders, each class in its own colour, and one file that is not an image."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        name = CLASSES[number % len(CLASSES)]
        colour = 40 + 50 * CLASSES.index(name)
        pixels = np.clip(rng.normal(colour, 30, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name / f"{number:04}.png")
    (folder / CLASSES[0] / "broken.png").write_bytes(b"no image")
    return folder


def tiny_backbone(dim: int = DIM) -> bytes:
    """Return a backbone of one convolution: uint8, (n, 16, 16, 3) -> float32, (n, dim)."""
    rng = np.random.default_rng(0)
    constants = {
        "scale": np.float32(1 / 127.5),
        "kernel": rng.normal(0, 0.4, (dim, 3, 3, 3)).astype(np.float32),
        "bias": rng.normal(0, 0.1, dim).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel", "bias"], ["maps"], strides=[2, 2]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", dim])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    said = {
        "format": "headstart-backbone", "schema": 1, "backbone": "tiny", "image_size": [SIDE, SIDE], "dim": dim,
        "weights": {"source": "random", "seed": 0, "trained": True}, "precision": "fp32", "sealed": True,
        "resize": {"version": 1, "interpolation": "bilinear-antialias", "fit": "squash", "exif_transpose": True,
                   "alpha": "white"},
    }  # fmt: skip
    helper.set_model_props(model, {"headstart": json.dumps(said, sort_keys=True)})
    onnx.checker.check_model(model)
    data = bytes(model.SerializeToString(deterministic=True))
    return sealed(data)


@dataclass(frozen=True)
class Scene:
    """A folder with photos and a backbone; runs write into folders of their own inside it."""

    folder: Path
    _idle: dict[bool, list[Zygote]] = field(default_factory=dict, repr=False)

    @classmethod
    def make(cls, folder: Path, photos: int = 40) -> "Scene":
        """Create a new scene."""
        scene = cls(folder)
        draw_photos(scene.photos, photos)
        scene.backbone.write_bytes(tiny_backbone())
        return scene

    @property
    def photos(self) -> Path:
        """The folder of images."""
        return self.folder / "photos"

    @property
    def backbone(self) -> Path:
        """The tiny backbone."""
        return self.folder / "backbone.onnx"

    @cached_property
    def store(self) -> Path:
        """A finished store of the photos."""
        self.run_once(*self.embed("photos.h5"))
        return self.folder / "photos.h5"

    @cached_property
    def classifier(self) -> Path:
        """A classifier trained on that store, with fast options."""
        self.run_once("train", self.store, "--C", 1, "-o", "classifier.onnx", training=True)
        return self.folder / "classifier.onnx"

    def embed(self, output: object, photos: Path | None = None, *, isolated: bool = False) -> list[object]:
        """Return the arguments of `headstart embed`."""
        return ["embed", photos or self.photos, "--model", self.backbone, "-o", output, *options_of(isolated)]

    def score(self, output: object, photos: Path | None = None, *, isolated: bool = False) -> list[object]:
        """Return the arguments of `headstart score`."""
        return ["score", photos or self.photos, "--classifier", self.classifier, "-o", output, *options_of(isolated)]

    def train(self, output: object) -> list[object]:
        """Return the arguments of a fast `headstart train`."""
        return ["train", self.store, "--C", 1, "-o", output]

    def run_once(self, *arguments: object, training: bool = False) -> Done:
        """Run a command that must succeed."""
        with self.zygote(training) as zygote:
            done = zygote.run(*arguments, cwd=self.folder)
        if done.code:
            raise RuntimeError(f"{arguments}: {done}")
        return done

    @contextmanager
    def zygote(self, training: bool = False) -> Iterator[Zygote]:
        """Lend a process that forks commands, and keep it for later calls."""
        idle = self._idle.setdefault(training, [])
        zygote = idle.pop() if idle else Zygote(self.folder, training).__enter__()
        try:
            yield zygote
        except BaseException:
            zygote.__exit__()
            raise
        idle.append(zygote)

    def close(self) -> None:
        """End the processes that fork commands."""
        for idle in self._idle.values():
            while idle:
                idle.pop().__exit__()

    def fresh_folder(self, name: str) -> Path:
        """Return an empty folder for outputs."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path


def options_of(isolated: bool) -> list[object]:
    """Return the options of a small run; it decodes in its own process unless decoding is tested."""
    from headstart.commands.embed import run

    options: list[object] = ["--provider", "cpu", "--workers", 2, "--batch-size", 4]
    return options if isolated or "isolate" not in signature(run).parameters else [*options, "--no-isolate"]


def leftovers(folder: Path) -> list[str]:
    """List leftovers that a finished run must not leave: unfinished files, and shards beside a finished file."""
    names = [path.name for path in folder.rglob("*")]
    return [name for name in names if name.startswith((".tmp-", "part-")) or name.endswith((".parts", ".partial"))]


def link_photos(source: Path, folder: Path, count: int) -> Path:
    """Fill a folder with hard links to a few photos."""
    photos = sorted(path for path in source.rglob("*.png") if path.name != "broken.png")
    for number in range(count):
        path = folder / f"class{number % 5}" / f"{number // 5000:03}"
        if number % 5000 < 5:
            path.mkdir(parents=True, exist_ok=True)
        os.link(photos[number % len(photos)], path / f"{number:07}.png")
    return folder
