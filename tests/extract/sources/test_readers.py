"""What every reader holds ahead of its use: never more than its budget, whatever becomes of the images."""

import io
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from headstart.extract import find_images
from headstart.extract.errors import DecodeError
from headstart.extract.sources.items import Item, Source
from headstart.extract.sources.open import open_reader
from headstart.extract.sources.range_reads import MOST_IMAGES
from headstart.extract.sources.readers import LocalReader, Reader

pytest.importorskip("fsspec")

IMAGES, SIZE = 100, 30_000
TOTAL, LOST = IMAGES * SIZE, 40
FOOTER = 65536
"""Bytes that pyarrow asks for at the end of a table."""


@dataclass
class Scene:
    """Images of one kind of source, and the bytes that its reader has asked for so far."""

    source: Source
    asked: Callable[[], int]
    slack: int
    """Bytes that may be asked for beyond the budget: a request that is alone, or the rest of a page."""


@pytest.fixture(params=["objects", "archive", "table"])
def scene(request, tmp_path, monkeypatch) -> Scene:
    rng = np.random.default_rng(0)
    images = [rng.bytes(SIZE) for _ in range(IMAGES)]
    sizes: list[int] = []
    if request.param == "table":
        source = find_images(make_table(tmp_path / "x.parquet", images, monkeypatch))
        count_bytes(monkeypatch, LocalReader, "part", sizes)
        return Scene(source, lambda: sum(sizes), 2 * FOOTER + 50_000)
    from fsspec.implementations.memory import MemoryFileSystem

    root = f"/{request.param}-{time.time_ns()}"
    if request.param == "objects":
        MemoryFileSystem().pipe({f"{root}/a/{n:03}.png": image for n, image in enumerate(images)})
    else:
        MemoryFileSystem().pipe(f"{root}/x.tar", tar_of(images))
    source = find_images(f"memory:/{root}")
    count_bytes(monkeypatch, MemoryFileSystem, "cat_file", sizes)
    return Scene(source, lambda: sum(sizes), (MOST_IMAGES if request.param == "archive" else 1) * (SIZE + 2048))


def make_table(path: Path, images: list[bytes], monkeypatch) -> Path:
    monkeypatch.setattr("headstart.extract.sources.tables.REQUEST_BYTES", 10_000)
    table = pyarrow.table({"image": images})
    pyarrow.parquet.write_table(table, path, data_page_size=5000, write_batch_size=2, use_dictionary=False)
    return path


def tar_of(images: list[bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for number, image in enumerate(images):
            info = tarfile.TarInfo(f"{number:03}.png")
            info.size = len(image)
            archive.addfile(info, io.BytesIO(image))
    return packed.getvalue()


def count_bytes(monkeypatch, owner: type, name: str, sizes: list[int]) -> None:
    """Note the size of what a method gives."""
    original = getattr(owner, name)

    def counting(*args, **options):
        data = original(*args, **options)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(owner, name, counting)


@pytest.fixture
def reader(scene, monkeypatch, request) -> Iterator[Reader]:
    for module in ("remote", "table_rows"):
        monkeypatch.setattr(f"headstart.extract.sources.{module}.BYTES_AHEAD", 10 * SIZE)
    opened = open_reader(scene.source.root)
    yield opened
    opened.close()


def settled(asked: Callable[[], int]) -> int:
    """Give the bytes asked for once no more are."""
    before = -1
    while asked() != before:
        before = asked()
        time.sleep(0.1)
    return before


def lost(item: Item) -> Item:
    """Give an item of the same size that is not there."""
    return replace(item, path=b"lost" + item.path, container=item.container and b"lost" + item.container)


def use(pending) -> None:
    assert len(pending()[0]) == SIZE


def drop(pending) -> None:
    del pending


@pytest.mark.parametrize("let_go", [use, drop])
def test_bytes_ahead_stay_within_the_budget_and_every_image_can_be_had(scene, reader, let_go):
    pending = list(reader.fetch(scene.source.items))
    assert 0 < settled(scene.asked) <= 10 * SIZE + scene.slack
    for number in range(IMAGES):
        let_go(pending.pop(0))
        assert scene.asked() <= 10 * SIZE + scene.slack + 1.3 * (number + 1) * SIZE
    assert settled(scene.asked) >= TOTAL


def test_images_that_fail_give_their_share_back(scene, reader):
    items = [lost(item) for item in scene.source.items[:LOST]]
    for number, read in enumerate(list(reader.fetch(items + scene.source.items[LOST:]))):
        if number < LOST:
            with pytest.raises(DecodeError):
                read()
        else:
            use(read)


def test_items_that_have_failed_already_take_no_share(scene, reader):
    items = [replace(item, reason="a link") if number % 2 else item for number, item in enumerate(scene.source.items)]
    for item, read in zip(items, list(reader.fetch(items)), strict=True):
        if not item.reason:
            use(read)


def test_whoever_waits_when_a_run_is_cancelled_waits_no_longer(scene, reader):
    pending = list(reader.fetch(scene.source.items))

    def wait() -> None:
        for number in (10, 40):  # at least one of them waits for its share of the budget
            with suppress(CancelledError, DecodeError):
                pending[number]()

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    settled(scene.asked)
    assert waiting.is_alive()
    reader.close()
    waiting.join(timeout=60)
    assert not waiting.is_alive()
