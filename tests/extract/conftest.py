"""A small backbone that onnxruntime really runs, and small pictures for it, for every test of this room."""

import io
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def backbone(backbone_bytes, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("backbone") / "backbone.onnx"
    path.write_bytes(backbone_bytes())
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


@pytest.fixture
def file_size_limit() -> Callable[[int], AbstractContextManager[None]]:
    """Give a block in which the system itself refuses what goes beyond so many bytes of any file, after a short write.

    A block, not a whole test: pytest's own output may be a file that is longer than that.
    """

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
