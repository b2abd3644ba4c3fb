"""The local engine: items in, outcomes out, in the order of the items, whatever the number of threads.

Each thread takes a batch of items, reads and decodes them into one preallocated array, and runs the model on it with a
single core, so that cores never wait for one another. An accelerator takes one batch at a time, while the other threads
go on decoding. With `isolate` each thread has a process that decodes for it.
"""

import hashlib
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeGuard

import numpy as np
from numpy.typing import NDArray

from headstart.extract.decoding.decode import decode
from headstart.extract.errors import DecodeError, IsolationError, NoImageError, TryAgainError
from headstart.extract.inference.sessions import Session
from headstart.extract.sources.items import Item
from headstart.extract.sources.open import open_reader
from headstart.extract.sources.readers import Pending
from headstart.extract.store.rows import NO_CONTENT, NO_DIGEST, Outcome
from headstart.files.cores import cores
from headstart.files.resize import ResizeRule

STAGES = ("read", "decode", "infer", "store")
AHEAD = 256
"""Images that may be embedded ahead of the one that is being stored, so that a slow disk keeps no thread waiting."""


@dataclass(frozen=True)
class Reused:
    """An item whose content is stored already, at this row; it was read, but neither decoded nor embedded."""

    row: int
    item: Item
    size: int
    mtime_ns: int


class StageClock:
    """Adds up how long each stage took, over all threads."""

    def __init__(self) -> None:
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block's time for a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._seconds[name] += time.perf_counter() - started

    def seconds(self) -> dict[str, float]:
        """Give the seconds of each stage so far."""
        return dict(self._seconds)


class Decoder(Protocol):
    """Bytes of an image -> its pixels, for one thread; see `headstart.extract.decoding.decode.decode`."""

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """Decode one image, or raise `DecodeError`."""

    def close(self) -> None:
        """Give back what it holds."""


@dataclass(frozen=True)
class DecoderHere:
    """Decodes in this process: hostile bytes that crash it end the run."""

    rule: ResizeRule

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """Decode one image."""
        return decode(data, self.rule)

    def close(self) -> None:
        """There is nothing to give back."""


def open_decoder(rule: ResizeRule, isolate: bool) -> Decoder:
    """Give a decoder in a process of its own, or in this one.

    Raises
    ------
    IsolationError
        Where the system has no such processes.
    """
    if not isolate:
        return DecoderHere(rule)
    if os.name != "posix":
        raise IsolationError("decoding in processes of their own needs a POSIX system; use --no-isolate")
    from headstart.extract.decoding.isolated import IsolatedDecoder

    return IsolatedDecoder(rule)


@dataclass(frozen=True)
class Engine:
    """What a run needs at hand in every thread.

    Attributes
    ----------
    root
        The folder or URL of the items' paths.
    rule
        Size and manner of decoding.
    session
        The model, open.
    find_content
        Digest of a file's content -> row that holds it already, or None.
    workers, batch_size
        Threads (by default one a core that this process may use), and images a batch (by default what suits the
        provider).
    isolate
        Whether images are decoded in processes of their own (see `headstart.extract.decoding.isolated`).
    clock
        How long each stage took.
    """

    root: Path | str
    rule: ResizeRule
    session: Session
    find_content: Callable[[bytes], int | None]
    workers: int | None = None
    batch_size: int | None = None
    isolate: bool = False
    clock: StageClock = field(default_factory=StageClock)

    def outcomes(self, items: Sequence[Item]) -> Iterator[Outcome | Reused]:
        """Embed the items, reading ahead only as far as the threads need."""
        workers, size = self.workers or cores(), self.batch_size or self.session.batch_size
        reader = open_reader(self.root)
        turn = threading.Lock() if self.session.exclusive else nullcontext()
        own = threading.local()
        decoders: list[Decoder] = []
        fetched = reader.fetch(items)
        batches = (items[i : i + size] for i in range(0, len(items), size))
        running: deque[Future[list[Outcome | Reused]]] = deque()
        try:
            with ThreadPoolExecutor(workers, thread_name_prefix="embed") as pool:
                try:
                    for batch in batches:
                        pending = list(islice(fetched, len(batch)))
                        running.append(pool.submit(self._embed, batch, pending, turn, own, decoders))
                        if len(running) > workers + max(workers, AHEAD // size):
                            yield from running.popleft().result()
                    while running:
                        yield from running.popleft().result()
                finally:
                    for future in running:
                        future.cancel()
                    reader.close()  # before the threads are waited for, which wait for it
        finally:
            for decoder in decoders:
                decoder.close()

    def _embed(
        self,
        batch: Sequence[Item],
        pending: Sequence[Pending],
        turn: AbstractContextManager[object],
        own: threading.local,
        decoders: list[Decoder],
    ) -> list[Outcome | Reused]:
        if not hasattr(own, "pixels"):  # allocated once a thread: fresh pages cost as much as a copy
            own.pixels = np.empty((self.batch_size or self.session.batch_size, *self.rule.shape), np.uint8)
            own.decoder = open_decoder(self.rule, self.isolate)
            decoders.append(own.decoder)
        pixels: NDArray[np.uint8] = own.pixels
        results: list[Outcome | Reused] = []
        filled = 0
        for item, read in zip(batch, pending, strict=True):
            result = self._load(item, read, own.decoder, pixels[filled])
            results.append(result)
            filled += _is_loaded(result)
        if not filled:
            return results
        with turn, self.clock.stage("infer"):
            vectors = iter(self.session.run(pixels[:filled]))
        return [replace(result, vector=next(vectors)) if _is_loaded(result) else result for result in results]

    def _load(self, item: Item, read: Pending, decoder: Decoder, pixels: NDArray[np.uint8]) -> Outcome | Reused:
        """Fill `pixels`, (H, W, 3), from an item; the outcome that comes back has no vector yet."""
        if item.reason:
            return Outcome(item, NO_DIGEST, item.size, item.mtime_ns, None, item.reason)
        try:
            with self.clock.stage("read"):
                data, size, mtime_ns = read()
                digest = hashlib.sha256(data).digest()
        except DecodeError as error:
            digest = NO_CONTENT if isinstance(error, NoImageError) else NO_DIGEST
            return Outcome(item, digest, item.size, item.mtime_ns, None, str(error))
        row = self.find_content(digest)
        if row is not None:
            return Reused(row, item, size, mtime_ns)
        try:
            with self.clock.stage("decode"):
                pixels[:] = decoder.decode(data)
        except TryAgainError as error:
            return Outcome(item, NO_DIGEST, size, mtime_ns, None, str(error))
        except DecodeError as error:
            return Outcome(item, digest, size, mtime_ns, None, str(error))
        return Outcome(item, digest, size, mtime_ns, None)


def _is_loaded(result: Outcome | Reused) -> TypeGuard[Outcome]:
    return isinstance(result, Outcome) and not result.reason
