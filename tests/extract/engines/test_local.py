import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from headstart.extract.engines.local import Engine
from headstart.extract.options import EngineOptions
from headstart.extract.sources.find import find_images
from headstart.extract.store.rows import NO_DIGEST, Outcome
from headstart.files.cores import cores
from headstart.files.resize import ResizeRule

RULE = ResizeRule(8, 8)


class MeanColour:
    """A predictable model: an image's vector is its mean colour."""

    def __init__(self, exclusive: bool = False, seconds: float = 0) -> None:
        self.exclusive, self.seconds, self.batch_size = exclusive, seconds, 4
        self.inside = self.most_inside = 0
        self.batches: list[int] = []
        self._lock = threading.Lock()

    def run(self, pixels: np.ndarray) -> np.ndarray:
        with self._lock:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
            self.batches.append(len(pixels))
        time.sleep(self.seconds * pixels[0, 0, 0, 0] / 255)
        with self._lock:
            self.inside -= 1
        return pixels.mean(axis=(1, 2), dtype=np.float32)


@pytest.fixture
def engine(photos):
    """Give an engine over the photos; the keywords are its own."""

    def engine(session=None, reuse=lambda *content: None, **options) -> Engine:
        return Engine(photos, RULE, session or MeanColour(), reuse, EngineOptions(isolate=False, **options))

    return engine


def run(engine: Engine) -> list[Outcome]:
    return list(engine.outcomes(find_images(engine.root).items))


def same(a: Outcome, b: Outcome) -> bool:
    vectors = (a.vector is None) == (b.vector is None) and (a.vector is None or np.array_equal(a.vector, b.vector))
    return vectors and (a.item, a.sha256, a.size, a.mtime_ns, a.reason) == (
        b.item,
        b.sha256,
        b.size,
        b.mtime_ns,
        b.reason,
    )


def test_every_item_has_one_outcome_in_the_order_of_the_items(engine):
    results = run(engine(MeanColour(seconds=0.02), workers=4, batch_size=3))
    assert [result.item for result in results] == find_images(engine().root).items
    assert len(results) == 25


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("batch_size", [1, 7, 100])
def test_neither_workers_nor_batches_change_an_outcome(engine, workers, batch_size):
    expected = run(engine(workers=1, batch_size=25))
    given = run(engine(workers=workers, batch_size=batch_size))
    assert all(map(same, given, expected))


def test_a_vector_belongs_to_its_own_image_also_beside_failures(engine):
    results = {result.item.path: result for result in run(engine(batch_size=25))}
    assert [path for path, result in results.items() if result.vector is None] == [
        b"cat/broken.jpg",
        b"dog/empty.png",
        b"owl/notes.dat",
    ]
    for path, result in results.items():
        if result.vector is not None:
            alone = Engine(engine().root, RULE, MeanColour(), lambda *content: None, EngineOptions(isolate=False))
            item = result.item
            assert same(next(alone.outcomes([item])), result), path


def test_a_failure_keeps_the_digest_of_what_was_read(engine):
    failed = [result for result in run(engine()) if result.reason]
    assert [bool(result.sha256.strip(b"\0")) for result in failed] == [True, True, True]
    assert failed[1].reason == "empty file"


def test_known_content_is_neither_decoded_nor_run(engine):
    session = MeanColour()
    vector = np.ones(3, np.float32)

    def reuse(_data, digest, item, size, mtime_ns):
        return Outcome(item, digest, size, mtime_ns, vector, computed=False)

    results = run(engine(session, reuse))
    assert session.batches == []
    assert all(result.vector is vector and not result.computed for result in results)
    assert [result.size for result in results] == [result.item.size for result in results]


def test_an_accelerator_takes_one_batch_at_a_time(engine):
    session = MeanColour(exclusive=True, seconds=0.02)
    run(engine(session, workers=4, batch_size=2))
    assert session.most_inside == 1


def test_a_processor_takes_a_batch_from_every_worker(engine):
    session = MeanColour(seconds=0.2)
    run(engine(session, workers=4, batch_size=2))
    assert session.most_inside > 1


def test_batches_have_the_size_asked_for(engine):
    session = MeanColour()
    run(engine(session, workers=1, batch_size=10))
    assert session.batches == [9, 9, 4]  # 25 items, 3 of them failures


def test_it_reads_ahead_only_so_far(engine, monkeypatch):
    monkeypatch.setattr("headstart.extract.engines.embedder.AHEAD", 2)
    session = MeanColour()
    outcomes = engine(session, workers=1, batch_size=1).outcomes(find_images(engine().root).items)
    next(outcomes)
    time.sleep(0.2)
    assert len(session.batches) <= 4
    outcomes.close()


def test_a_model_that_fails_ends_the_run(engine):
    class Failing(MeanColour):
        def run(self, pixels):
            raise RuntimeError("device lost")

    with pytest.raises(RuntimeError, match="device lost"):
        run(engine(Failing(), workers=2, batch_size=2))


def test_no_items_give_no_outcomes(engine):
    assert list(engine().outcomes([])) == []


def _remove(path: Path) -> None:
    path.unlink()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _pipe_by_link(path: Path) -> None:
    os.mkfifo(path.with_name(".pipe"))
    path.unlink()
    path.symlink_to(".pipe")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_remove, "cannot be read: no such file or directory"),
        (_pipe, "not a regular file"),
        (_folder, "cannot be read: is a directory"),
        (_pipe_by_link, "not a regular file"),
    ],
)
def test_what_changes_after_the_listing_is_a_failure_at_once(engine, change, reason):
    items = find_images(engine().root).items
    change(engine().root / "cat/00.png")
    results = list(engine().outcomes(items))
    assert (results[0].item.path, results[0].reason, results[0].sha256) == (b"cat/00.png", reason, NO_DIGEST)
    assert results[1].vector is not None


def test_a_file_that_grows_after_the_listing_is_recorded_as_it_was_read(engine):
    items = find_images(engine().root).items
    with open(engine().root / "stray.png", "ab") as file:
        file.write(b"more")
    result = list(engine().outcomes(items))[-1]
    assert (result.item.path, result.size) == (b"stray.png", items[-1].size + 4)


def test_an_unreadable_file_is_a_failure(engine, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    items = find_images(engine().root).items
    monkeypatch.setattr("os.open", refuse)
    assert {result.reason for result in engine().outcomes(items)} == {"cannot be read: permission denied"}


def test_a_file_that_is_too_large_is_not_read(engine, monkeypatch):
    monkeypatch.setattr("headstart.extract.sources.readers.MAX_FILE_BYTES", 1000)
    (engine().root / "film.dat").write_bytes(bytes(1001))
    results = {result.item.path: result.reason for result in run(engine())}
    assert results[b"film.dat"] == "1,001 bytes; more than 1,000 are not read"


def test_a_process_has_at_least_one_core():
    assert 1 <= cores() <= os.cpu_count()
