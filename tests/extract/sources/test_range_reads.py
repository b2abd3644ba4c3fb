"""Images next to each other in an archive at a URL: few requests, not a byte too many, and each fault for itself."""

import io
import tarfile
import time
from collections import Counter
from contextlib import suppress
from tarfile import RECORDSIZE

import numpy as np
import pytest
from PIL import Image

from headstart.extract import EngineOptions, Share, embed, find_images
from headstart.extract.errors import TryAgainError
from headstart.extract.sources.items import Item
from headstart.extract.sources.range_reads import GAP, MOST_BYTES, MOST_IMAGES, runs
from headstart.extract.sources.remote import RemoteReader
from headstart.extract.store.schema import ROW_DTYPES
from headstart.files.filesystems import TRIES

pytest.importorskip("fsspec")
pytestmark = pytest.mark.filterwarnings("ignore")  # of boto and its kin

IMAGES = 96
QUICK = EngineOptions(isolate=False)


def places(*parts: tuple[int, int], container: bytes = b"x.tar", reason: str = "") -> list[Item]:
    """Give items that begin at a byte of an archive and are so long."""
    return [Item(b"%s/%d" % (container, at), size, 7, None, "", reason, container, at) for at, size in parts]


EVENLY = places(*((number * 2048, 1024) for number in range(100)))
NEAR, FAR = places((0, 1000), (1000 + GAP, 1000)), places((0, 1000), (1001 + GAP, 1000))
LARGE = places((0, MOST_BYTES // 2), (MOST_BYTES // 2, MOST_BYTES // 2), (MOST_BYTES, 1))


@pytest.mark.parametrize(
    ("items", "lengths"),
    [
        ([], []),
        (EVENLY, [MOST_IMAGES] * 3 + [100 - 3 * MOST_IMAGES]),
        (NEAR, [2]),
        (FAR, [1, 1]),
        (LARGE, [2, 1]),
        (NEAR[::-1], [1, 1]),
        (NEAR[:1] + places((1000, 5), container=b"y.tar"), [1, 1]),
        (NEAR[:1] + places((1000, 5), reason="a link") + places((1005, 5)), [1, 1, 1]),
        ([Item(b"a.png", 5, 7), Item(b"b.png", 0, 7)], [1, 1]),
    ],
)
def test_a_run_is_one_piece_of_one_archive(items, lengths):
    found = list(runs(iter(items)))
    assert [len(run) for run in found] == lengths
    assert [item for run in found for item in run] == items


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Give an archive of photos of 50 KB in an order that is not that of their names."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("archive") / "x.tar"
    with tarfile.open(path, "w") as packed:
        for number in rng.permutation(IMAGES).tolist():
            held = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (130, 130, 3), np.uint8)).save(held, "PNG", compress_level=1)
            for name, data in ((f"{number}.cls", b"%d" % (number % 3)), (f"{number}.png", held.getvalue())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                packed.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture(scope="module")
def here(archive, backbone, tmp_path_factory):
    return embed(archive, backbone, tmp_path_factory.mktemp("here") / "a.h5", options=QUICK)[0]


def assert_same_rows(store, other) -> None:
    for column in set(ROW_DTYPES) - {"mtime_ns"}:
        assert getattr(store.rows, column).tolist() == getattr(other.rows, column).tolist(), column
    assert np.allclose(store.embeddings(), other.embeddings(), rtol=2e-3)


@pytest.fixture
def url(door, archive, monkeypatch):
    client, name = pytest.importorskip("boto3").client("s3"), f"archive-{time.time_ns()}"
    client.create_bucket(Bucket=name)
    client.upload_file(str(archive), name, "x.tar")
    monkeypatch.setattr("headstart.files.filesystems.FIRST_WAIT", 0.001)
    door.seen.clear()
    door.sent = 0
    return f"s3://{name}/x.tar"


def test_requests_and_bytes_of_an_archive_are_few(door, url, archive, here, backbone, tmp_path):
    store, _ = embed(url, backbone, tmp_path / "a.h5", options=QUICK)
    assert_same_rows(store, here)
    asked = [path.rpartition("bytes=")[2].split("-") for path in door.seen.elements()]
    images = [(start, end) for start, end in asked if int(end) - int(start) >= RECORDSIZE]
    assert len(images) <= -(-IMAGES // MOST_IMAGES) == 3
    assert len(asked) - len(images) <= IMAGES + 1
    assert door.sent <= 1.05 * archive.stat().st_size


def test_rows_are_the_same_where_each_request_fails_at_first(door, url, here, backbone, tmp_path):
    door.faults = ("throttled", "reset", "cut")
    store, _ = embed(url, backbone, tmp_path / "a.h5", options=QUICK)
    assert_same_rows(store, here)
    assert set(door.seen.values()) == {2}


@pytest.fixture
def memory(archive, monkeypatch):
    """Give the URL of the archive in a store whose requests can be seen and spoilt."""
    from fsspec.implementations.memory import MemoryFileSystem

    MemoryFileSystem().pipe("/spoilt/x.tar", archive.read_bytes())
    monkeypatch.setattr("headstart.files.filesystems.FIRST_WAIT", 0.0001)
    original = MemoryFileSystem.cat_file

    def spoil(answer) -> None:
        def cat_file(self, path, start=None, end=None, **options):
            return answer(start, end, lambda *part: original(self, path, *part))

        monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)

    return "memory://spoilt/x.tar", spoil


def _kill_at_half(progress) -> None:
    if progress.done == IMAGES // 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("before", "most"), [({"share": Share(1, 2)}, 0.7), ({"progress": _kill_at_half}, 1.5 / MOST_IMAGES)]
)
def test_what_is_done_is_not_asked_for_again(memory, here, backbone, tmp_path, before, most):
    url, spoil = memory
    with suppress(KeyboardInterrupt):
        embed(url, backbone, tmp_path / "a.h5", options=QUICK, **before)
    asked = []

    def answer(start, end, read):
        asked.append(end - start)
        return read(start, end)

    spoil(answer)
    store, summary = embed(url, backbone, tmp_path / "a.h5", options=QUICK)
    assert_same_rows(store, here)
    images = [size for size in asked if size > RECORDSIZE]  # others read headers
    assert 0.3 * IMAGES < summary.computed < 0.7 * IMAGES
    assert sum(images) <= 1.05 * summary.computed * here.rows.size.mean()
    assert len(images) <= most * summary.computed


def test_bytes_that_cannot_be_had_cost_only_the_images_that_they_are_of(memory, here, backbone, tmp_path):
    url, spoil = memory
    lost = find_images(url).items[50]
    place = lost.start + 20_000

    def answer(start, end, read):
        if start <= place < end:
            raise OSError("block missing")
        return read(start, end)

    spoil(answer)
    store, summary = embed(url, backbone, tmp_path / "a.h5", options=QUICK)
    assert (len(store), summary.failed) == (IMAGES, 1)
    assert store.failures == {lost.path.decode(): "cannot be read: block missing"}
    assert np.array_equal(np.delete(store.rows.sha256, 50, 0), np.delete(here.rows.sha256, 50, 0))


@pytest.mark.parametrize("fault", [FileNotFoundError("gone"), TimeoutError("no answer")])
def test_an_archive_that_goes_away_costs_its_retries_once(memory, backbone, tmp_path, fault):
    url, spoil = memory
    asked = Counter()

    def answer(start, end, read):
        asked["all"] += 1
        if end - start > RECORDSIZE:
            asked["is gone"] = 1
        if asked["is gone"]:
            raise fault
        return read(start, end)

    find_images(url)
    spoil(answer)
    store, summary = embed(url, backbone, tmp_path / "a.h5", options=QUICK)
    assert (len(store), summary.failed) == (IMAGES, IMAGES)
    assert len(set(store.failures.values())) == 1
    headers = IMAGES + 1
    assert asked["all"] - headers <= 2 * TRIES * IMAGES // MOST_IMAGES  # of runs that are read at the same time


def test_a_request_that_fails_is_made_again_as_it_was(memory, here, backbone, tmp_path):
    url, spoil = memory
    asked = Counter()

    def answer(start, end, read):
        asked[start, end] += 1
        if asked[start, end] == 1:
            raise TimeoutError("slow down")
        return read(start, end)

    spoil(answer)
    store, _ = embed(url, backbone, tmp_path / "a.h5", options=QUICK)
    assert_same_rows(store, here)
    assert set(asked.values()) == {2}


@pytest.mark.parametrize(
    "of_many",
    [
        lambda start, end, read: read(start, end - 1),
        lambda start, end, read: read(start, end + 1),
        lambda start, end, read: read(None, None),
    ],
    ids=["too short", "too long", "all of it"],
)
def test_an_answer_of_another_length_is_not_believed(memory, here, backbone, tmp_path, of_many):
    url, spoil = memory
    spoil(lambda start, end, read: of_many(start, end, read) if end - start > 100_000 else read(start, end))
    store, _ = embed(url, backbone, tmp_path / "a.h5", options=QUICK)
    assert_same_rows(store, here)


def test_a_reader_that_is_closed_waits_for_no_store_that_is_down(monkeypatch):
    calls = Counter()

    def down(*_args, **_kwargs):
        calls["all"] += 1
        raise OSError("down")

    monkeypatch.setattr("headstart.files.filesystems.FIRST_WAIT", 60.0)
    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.cat_file", down)
    reader = RemoteReader("memory://nowhere")
    pending = list(reader.fetch(EVENLY[:MOST_IMAGES]))
    while not calls:
        time.sleep(0.01)
    started = time.monotonic()
    reader.close()
    with pytest.raises(TryAgainError):
        pending[-1]()
    assert time.monotonic() - started < 20  # each of the 33 requests of the run would have waited for minutes
    assert calls["all"] == 1
