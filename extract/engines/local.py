"""The local engine: turns items into outcomes, in the order of the items, on the threads of this process.

Each thread reads and decodes a batch of items into one preallocated array and runs the model on it with a single core,
so that cores never wait for one another. An accelerator takes one batch at a time, while the other threads go on
decoding. With `isolate`, every thread decodes in a worker process of its own.
"""

import hashlib
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

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
from headstart.files.errors import OptionError
from headstart.files.resize import ResizeRule
from headstart.files.threads import in_order

if TYPE_CHECKING:
    from headstart.extract.decoding.isolated import IsolatedDecoder

STAGES = ("read", "decode", "infer", "store")
AHEAD = 256
"""How many images may be embedded ahead of the one being stored, so that a slow disk keeps no thread waiting."""

Reuse = Callable[[bytes, bytes, Item, int, int], Outcome | None]
"""SHA-256 of an item's content, the item, its size and its mtime (ns) -> the outcome stored for that content."""


class StageClock:
    """Adds up the seconds that each stage took, over all threads."""

    def __init__(self, stages: Sequence[str] = STAGES) -> None:
        self._seconds = dict.fromkeys(stages, 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the block's time to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - started)

    def add(self, name: str, seconds: float) -> None:
        """Add seconds to a stage."""
        with self._lock:
            self._seconds[name] += seconds

    def seconds(self) -> dict[str, float]:
        """Return the seconds of each stage so far."""
        return dict(self._seconds)


@dataclass(frozen=True)
class InProcessDecoder:
    """Decodes in this process, where an image that crashes its decoder ends the run."""

    rule: ResizeRule

    def decode(self, data: bytes, notes: list[str] | None = None) -> NDArray[np.uint8]:
        """Decode one image, or raise `DecodeError`; `notes` receives what is odd about it."""
        return decode(data, self.rule, notes)

    def close(self) -> None:
        """Do nothing: there is no process to release."""


def open_decoder(rule: ResizeRule, isolate: bool) -> "InProcessDecoder | IsolatedDecoder":
    """Open a decoder for one thread, in a worker process or in this one.

    Raises
    ------
    IsolationError
        If the system has no such processes.
    """
    if not isolate:
        return InProcessDecoder(rule)
    if os.name != "posix":
        raise IsolationError("decoding in worker processes needs a POSIX system; use --no-isolate")
    from headstart.extract.decoding.isolated import IsolatedDecoder

    return IsolatedDecoder(rule)


@dataclass(frozen=True)
class Engine:
    """Embeds items on the threads of this process.

    Attributes
    ----------
    root
        The folder or URL of the items' paths.
    rule
        How an image is decoded and resized.
    session
        The opened model.
    reuse
        Looks up the outcome of content that is stored already.
    workers, batch_size
        Threads (by default one per core that this process may use), and images per batch (by default what suits the
        provider).
    isolate
        Whether images are decoded in worker processes (see `headstart.extract.decoding.isolated`).
    clock
        Measures each stage.
    """

    root: Path | str
    rule: ResizeRule
    session: Session
    reuse: Reuse
    workers: int | None = None
    batch_size: int | None = None
    isolate: bool = False
    clock: StageClock = field(default_factory=StageClock)

    def outcomes(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """Embed the items, reading ahead only as far as the threads need."""
        workers = self.workers or cores()
        size = max(1, min(self.batch_size or self.session.batch_size, len(items)))
        reader = open_reader(self.root)
        fetched = reader.fetch(items)
        batches = ([*zip(batch, islice(fetched, len(batch)), strict=True)] for batch in _batches(items, size))
        embedder = _Embedder(self, size)
        ahead = workers + max(workers, AHEAD // size)
        try:
            # The reader closes before the threads are waited for, because they wait for it.
            with closing(in_order(embedder.embed, batches, workers, ahead, stop=reader.close)) as results:
                for outcomes in results:
                    yield from outcomes
        finally:
            embedder.close()


def _batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _pixels(images: int, rule: ResizeRule) -> NDArray[np.uint8]:
    try:
        return np.empty((images, *rule.shape), np.uint8)
    except MemoryError:
        size = images * math.prod(rule.shape) / 1e9
        raise OptionError(f"a batch of {images:,} images takes {size:,.1f} GB; use a smaller --batch-size") from None


class _Embedder:
    """Embeds batches for the threads of one run, each with its own pixels and decoder."""

    def __init__(self, engine: Engine, size: int) -> None:
        self._engine, self._size = engine, size
        self._turn = threading.Lock() if engine.session.exclusive else nullcontext()
        self._own = threading.local()
        self._decoders: list[InProcessDecoder | IsolatedDecoder] = []

    def close(self) -> None:
        for decoder in self._decoders:
            decoder.close()

    def embed(self, batch: Sequence[tuple[Item, Pending]]) -> list[Outcome]:
        engine, own = self._engine, self._own
        if not hasattr(own, "pixels"):  # allocated once per thread: fresh pages cost as much as a copy
            own.pixels = _pixels(self._size, engine.rule)
            own.decoder = open_decoder(engine.rule, engine.isolate)
            self._decoders.append(own.decoder)
        pixels: NDArray[np.uint8] = own.pixels
        outcomes: list[Outcome] = []
        loaded: list[int] = []
        for item, read in batch:
            outcome, is_loaded = self._load(item, read, pixels[len(loaded)])
            loaded += [len(outcomes)] if is_loaded else []
            outcomes.append(outcome)
        if loaded:
            with self._turn, engine.clock.stage("infer"):
                vectors = engine.session.run(pixels[: len(loaded)])
            for number, vector in zip(loaded, vectors, strict=True):
                outcomes[number] = replace(outcomes[number], vector=vector)
        return outcomes

    def _load(self, item: Item, read: Pending, pixels: NDArray[np.uint8]) -> tuple[Outcome, bool]:
        """Fill `pixels`, (H, W, 3), from an item. Return its outcome, and whether pixels were filled."""
        clock = self._engine.clock
        failure = Outcome(item, NO_DIGEST, item.size, item.mtime_ns, None)
        if item.reason:
            return replace(failure, reason=item.reason), False
        try:
            with clock.stage("read"):
                data, size, mtime_ns = read()
                digest = hashlib.sha256(data).digest()
        except DecodeError as error:
            digest = NO_CONTENT if isinstance(error, NoImageError) else NO_DIGEST
            return replace(failure, sha256=digest, reason=str(error)), False
        reused = self._engine.reuse(data, digest, item, size, mtime_ns)
        if reused is not None:
            return reused, False
        notes: list[str] = []
        try:
            with clock.stage("decode"):
                pixels[:] = self._own.decoder.decode(data, notes)
        except DecodeError as error:
            digest = NO_DIGEST if isinstance(error, TryAgainError) else digest
            return Outcome(item, digest, size, mtime_ns, None, str(error)), False
        return Outcome(item, digest, size, mtime_ns, None, notes=tuple(notes)), True
