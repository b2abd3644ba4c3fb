"""Images through a model on threads that are kept: what every engine on one machine shares.

Each thread reads and decodes a batch of images into one array and runs the model on it with a single core, so that
cores never wait for one another. An accelerator takes one batch at a time, while the other threads go on decoding.
"""

import hashlib
import math
import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.extract.decoding.memory import fit_picture
from headstart.extract.engines.clock import StageClock
from headstart.extract.engines.decoders import InProcessDecoder, open_decoder
from headstart.extract.errors import DecodeError, NoImageError, TryAgainError
from headstart.extract.inference.sessions import Session
from headstart.extract.options import EngineOptions
from headstart.extract.sources.items import Item
from headstart.extract.store.rows import NO_CONTENT, NO_DIGEST, Outcome
from headstart.files.cores import cores
from headstart.files.errors import OptionError
from headstart.files.resize import ResizeRule
from headstart.files.threads import Places, in_order_on

if TYPE_CHECKING:
    from headstart.extract.decoding.isolated import IsolatedDecoder

AHEAD = 256
"""How many images may be embedded ahead of the one in use, so that a slow disk keeps no thread waiting."""

Read = Callable[[], tuple[Any, int, int]]
"""Gives an image, its size in bytes, and the time of its last change (ns since the epoch), or raises `DecodeError`.
The image is the bytes of a file, or one in memory (see `headstart.extract.decoding.memory`)."""

Reuse = Callable[[bytes, bytes, Item, int, int], Outcome | None]
"""An item's content, its SHA-256, the item, its size and its mtime (ns) -> the outcome stored for that content."""


class _Bench:
    """A decoder and pixels, for one thread at a time; kept, as fresh pages of memory cost as much as a copy."""

    def __init__(self, rule: ResizeRule, isolate: bool, threads: Executor) -> None:
        self.decoder: InProcessDecoder | IsolatedDecoder = open_decoder(rule, isolate, threads)
        self._rule, self._pixels = rule, np.empty((0, *rule.shape), np.uint8)

    def pixels(self, images: int) -> NDArray[np.uint8]:
        """Return room for at least so many images, (n, H, W, 3)."""
        if len(self._pixels) < images:
            try:
                self._pixels = np.empty((images, *self._rule.shape), np.uint8)
            except MemoryError:
                size = images * math.prod(self._rule.shape) / 1e9
                raise OptionError(
                    f"a batch of {images:,} images takes {size:,.1f} GB; use a smaller --batch-size"
                ) from None
        return self._pixels


class Embedder:
    """Embeds images; any number of threads may use it at the same time.

    Parameters
    ----------
    rule
        How an image is decoded and resized.
    session
        The opened model.
    options
        Of these `workers`, `batch_size` and `isolate`.
    clock
        Measures each stage.
    """

    def __init__(
        self, rule: ResizeRule, session: Session, options: EngineOptions, clock: StageClock | None = None
    ) -> None:
        self._rule, self._session, self._isolate = rule, session, options.isolate
        self._workers, self._batch_size = options.workers or cores(), options.batch_size or session.batch_size
        self._clock = clock or StageClock()
        self._turn = threading.Lock() if session.exclusive else nullcontext()
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="headstart")
        # A worker process ends with the thread that started it: these threads live as long as the processes.
        self._starters = ThreadPoolExecutor(self._workers, thread_name_prefix="headstart-start")
        self._places = Places(self._workers)
        self._benches: list[_Bench] = []
        self._free: list[_Bench] = []  # the last one used is taken first, so that one image after another finds it warm
        self._end = weakref.finalize(self, _release, (self._pool, self._starters), self._benches)

    def close(self) -> None:
        """End the threads and the processes; call it once nobody uses the embedder."""
        self._pool.shutdown(cancel_futures=True)
        self._end()

    def outcomes(
        self,
        images: Iterable[tuple[Item, Read]],
        count: int,
        reuse: Reuse | None = None,
        *,
        reads_metadata: bool = False,
        stop: Callable[[], object] = lambda: None,
    ) -> Generator[Outcome]:
        """Embed `count` images, in their order, taking them only as far ahead as the threads need.

        Parameters
        ----------
        reuse
            Looks up the outcome of content that is stored already. Without it no digest is computed.
        reads_metadata
            Whether the metadata of image files are read too.
        stop
            Called at the end, also after an error; it must release reads that wait.
        """
        size = max(1, min(self._batch_size, -(-count // self._workers)))
        images = iter(images)
        if count <= size:  # another thread would only add the time to wake it
            try:
                yield from self._embed(list(images), reuse, reads_metadata)
            finally:
                stop()
            return
        batches = iter(lambda: list(islice(images, size)), [])
        ahead = self._workers + max(self._workers, AHEAD // size)

        def embed(batch: list[tuple[Item, Read]]) -> list[Outcome]:
            return self._embed(batch, reuse, reads_metadata)

        with closing(in_order_on(self._pool, embed, batches, ahead, stop)) as results:
            for outcomes in results:
                yield from outcomes

    def _embed(self, batch: list[tuple[Item, Read]], reuse: Reuse | None, reads_metadata: bool) -> list[Outcome]:
        with self._bench() as bench:
            pixels = bench.pixels(len(batch))
            outcomes: list[Outcome] = []
            loaded: list[int] = []
            for item, read in batch:
                outcome, picture = self._read(item, read, reuse)
                if outcome.vector is None and not outcome.reason:
                    outcome, is_loaded = self._decode(outcome, picture, bench, pixels[len(loaded)])
                    loaded += [len(outcomes)] if is_loaded else []
                outcomes.append(self._described(outcome, picture, bench) if reads_metadata else outcome)
            if loaded:
                with self._turn, self._clock.stage("infer"):
                    vectors = self._session.run(pixels[: len(loaded)])
                for number, vector in zip(loaded, vectors, strict=True):
                    outcomes[number] = replace(outcomes[number], vector=vector)
            return outcomes

    @contextmanager
    def _bench(self) -> Iterator[_Bench]:
        """Lend a bench to this thread, to at most as many threads at a time as there are workers."""
        with self._places:
            try:
                bench = self._free.pop()
            except IndexError:
                bench = _Bench(self._rule, self._isolate, self._starters)
                self._benches.append(bench)
            try:
                yield bench
            except BaseException:  # Ctrl-C may have come between a request to its process and the reply
                self._benches.remove(bench)
                bench.decoder.close()
                raise
            self._free.append(bench)

    def _read(self, item: Item, read: Read, reuse: Reuse | None) -> tuple[Outcome, Any]:
        """Return what is known of an item, and its picture if it could be read."""
        failure = Outcome(item, NO_DIGEST, item.size, item.mtime_ns, None)
        if item.reason:
            return replace(failure, reason=item.reason), None
        try:
            with self._clock.stage("read"):
                picture, size, mtime_ns = read()
                is_file = reuse is not None and isinstance(picture, bytes)
                digest = hashlib.sha256(picture).digest() if is_file else NO_DIGEST
        except DecodeError as error:
            digest = NO_CONTENT if isinstance(error, NoImageError) else NO_DIGEST
            return replace(failure, sha256=digest, reason=str(error)), None
        reused = reuse(picture, digest, item, size, mtime_ns) if reuse is not None and is_file else None
        return reused or Outcome(item, digest, size, mtime_ns, None), picture

    def _decode(self, outcome: Outcome, picture: Any, bench: _Bench, pixels: NDArray[np.uint8]) -> tuple[Outcome, bool]:
        """Fill `pixels`, (H, W, 3), with a picture. Return its outcome, and whether they were filled."""
        notes: list[str] = []
        try:
            with self._clock.stage("decode"):
                is_file = isinstance(picture, bytes)
                pixels[:] = bench.decoder.decode(picture, notes) if is_file else fit_picture(picture, self._rule, notes)
        except DecodeError as error:
            digest = NO_DIGEST if isinstance(error, TryAgainError) else outcome.sha256
            return replace(outcome, sha256=digest, reason=str(error)), False
        return replace(outcome, notes=tuple(notes)) if notes else outcome, True

    def _described(self, outcome: Outcome, picture: Any, bench: _Bench) -> Outcome:
        """Add the metadata of a file that has not failed, unless a stored row has brought them."""
        if outcome.reason or outcome.metadata or not isinstance(picture, bytes):
            return outcome
        notes = [*outcome.notes]
        with self._clock.stage("decode"):
            metadata = bench.decoder.metadata(picture, notes)
        return replace(outcome, metadata=metadata, notes=tuple(notes))


def _release(pools: tuple[ThreadPoolExecutor, ...], benches: list[_Bench]) -> None:
    for pool in pools:
        pool.shutdown(wait=False, cancel_futures=True)
    for bench in benches:
        bench.decoder.close()
