"""A small backbone that onnxruntime really runs, and small pictures for it, for every test of this room."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

METADATA: dict[str, Any] = {
    "format": "headstart-backbone",
    "schema": 1,
    "backbone": "tiny",
    "weights": {"source": "random", "trained": False},
    "image_size": [32, 32],
    "resize": {
        "version": 1,
        "interpolation": "bilinear-antialias",
        "fit": "squash",
        "exif_transpose": True,
        "alpha": "white",
    },
    "dim": 16,
    "precision": "fp32",
}


@pytest.fixture(scope="session")
def make_backbone() -> Callable[..., bytes]:
    """Give the bytes of a backbone of 16 features; the keywords change its metadata."""

    def make(seed: int = 0, **changes: Any) -> bytes:
        rng = np.random.default_rng(seed)
        constants = {
            "scale": np.array(1 / 127.5, np.float32),
            "weights": rng.normal(size=(16, 3, 5, 5)).astype(np.float32),
            "bias": rng.normal(size=16).astype(np.float32),
            "low": np.array(0, np.float32),
            "high": np.array(6, np.float32),
        }
        nodes = [
            helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["float", "scale"], ["scaled"]),
            helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["planes", "weights", "bias"], ["convolved"], strides=[3, 3]),
            helper.make_node("Clip", ["convolved", "low", "high"], ["clipped"]),
            helper.make_node("GlobalAveragePool", ["clipped"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["embedding"]),
        ]
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 32, 32, 3])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 16])],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
        helper.set_model_props(model, {"headstart": json.dumps(METADATA | changes)})
        onnx.checker.check_model(model)
        return model.SerializeToString()

    return make


@pytest.fixture(scope="session")
def backbone(make_backbone, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("backbone") / "backbone.onnx"
    path.write_bytes(make_backbone())
    return path


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """Give the bytes of a smooth picture, another one for each seed."""

    def draw(seed: int = 0, form: str = "PNG", size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
        few = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
        held = io.BytesIO()
        Image.fromarray(few).resize(size, Image.Resampling.BICUBIC).save(held, form, **options)
        return held.getvalue()

    return draw


@pytest.fixture
def photos(tmp_path, picture) -> Path:
    """Give a folder of 3 classes with 7 pictures each, one of them without a label, and 3 that fail."""
    folder = tmp_path / "photos"
    for seed in range(21):
        place = folder / ("cat", "dog", "owl")[seed % 3] / f"{seed:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture(seed))
    (folder / "stray.png").write_bytes(picture(99))
    (folder / "cat" / "broken.jpg").write_bytes(picture(5, "JPEG")[:200])
    (folder / "dog" / "empty.png").write_bytes(b"")
    (folder / "owl" / "notes.txt").write_text("owls seen in May")
    return folder


@pytest.fixture(params=["photos.h5", "photos.emb"])
def output(request, tmp_path) -> Path:
    """Give the name of a store, in each of its two forms."""
    return tmp_path / request.param
