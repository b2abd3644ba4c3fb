"""Stores made of plain arrays, where a test needs rows that no photo would give."""

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.extract.inference.model import read_model
from headstart.extract.sources.items import Item
from headstart.extract.store.rows import Outcome
from headstart.extract.store.schema import Header
from headstart.extract.store.store import Store
from headstart.extract.store.writer import StoreWriter


@pytest.fixture
def make_store(tiny_backbone, tmp_path) -> Callable[..., Store]:
    """Write a store of the tiny backbone: labels (None for unlabelled), and optionally the rest, row by row."""
    model = read_model(tiny_backbone)

    def make(
        labels: Sequence[str | None],
        vectors: np.ndarray | None = None,
        *,
        paths: Sequence[str] | None = None,
        contents: Sequence[object] | None = None,
        splits: Sequence[str] | None = None,
        failed: Sequence[int] = (),
        name: str = "made.h5",
    ) -> Store:
        n = len(labels)
        names = paths or [f"{number:05}.jpg" for number in range(n)]
        if vectors is None:
            vectors = np.random.default_rng(0).normal(0, 1, (n, 16)).astype(np.float32)
        digests = [hashlib.sha256(str(content).encode()).digest() for content in contents or names]
        items = [
            Item(os.fsencode(path), 1, 1, label, splits[row] if splits else "")
            for row, (path, label) in enumerate(zip(names, labels, strict=True))
        ]
        classes = tuple(sorted({label for label in labels if label is not None}))
        header = Header(model.metadata, model.sha256, "embedding", (16,), "float32", classes, "photos", ("made",))
        with StoreWriter(tmp_path / name, header, model) as writer:
            for row, (item, digest) in enumerate(zip(items, digests, strict=True)):
                found = (None, "no image") if row in failed else (vectors[row], "")
                writer.add(Outcome(item, digest, 1, 1, *found))
            return writer.finish(writer.reusable.gone(items))

    return make


@pytest.fixture(scope="session")
def clusters() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Draw n points round k centres in 16 dimensions: float32 (n, 16), int32 codes (n,)."""

    def draw(n: int, k: int, seed: int = 0, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        codes = (np.arange(n) % k).astype(np.int32)
        points = rng.normal(0, 2, (k, 16))[codes] + rng.normal(0, spread, (n, 16))
        return points.astype(np.float32), codes

    return draw


@pytest.fixture
def clustered(make_store, clusters) -> Callable[..., Store]:
    """Make a store of n rows in the named classes, which a head can tell apart."""

    def make(n: int = 90, classes: Sequence[str] = ("ash", "birch", "cedar"), **columns: Any) -> Store:
        vectors, codes = clusters(n, len(classes), spread=columns.pop("spread", 1.0))
        return make_store([sorted(classes)[code] for code in codes], vectors, **columns)

    return make


@pytest.fixture
def contents_of() -> Callable[[Path], dict[str, bytes]]:
    """Give every file below a folder with its bytes, but the lock files, which stay by design."""

    def read(folder: Path) -> dict[str, bytes]:
        files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    return read
