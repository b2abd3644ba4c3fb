"""Rows that a network's trunk has made, carried through its tail: embeddings without any image being read again."""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.extract.engines.runners import Step
from headstart.extract.errors import ModelError, StoreError
from headstart.extract.inference.model import CUT, Model
from headstart.extract.inference.sessions import TensorSession
from headstart.extract.inference.subgraph import tail
from headstart.extract.inference.views import VIEWS, with_views
from headstart.extract.options import EngineOptions
from headstart.extract.sources.items import SPLITS, Item, Source
from headstart.extract.store.rows import Outcome
from headstart.extract.store.schema import EMBEDDED
from headstart.extract.store.store import Store
from headstart.extract.store.writer import StoreWriter
from headstart.files.cores import cores

BATCH, AHEAD = 16, 8


def source_of(store: Store) -> Source:
    """Give the images that a store was made of as items."""
    rows, classes = store.rows, store.classes
    return Source(
        store.header.root,
        [
            Item(
                path,
                int(rows.size[row]),
                int(rows.mtime_ns[row]),
                classes[rows.label[row]] if rows.label[row] >= 0 else None,
                SPLITS[rows.split[row]],
                "" if rows.status[row] == EMBEDDED else rows.reason[row].decode("utf-8", "replace"),
            )
            for row, path in enumerate(rows.path.tolist())
        ],
    )


class TailRunner:
    """Runs the tail of a backbone over the rows of a store of tensors; see `headstart.extract.engines.runners.Runner`.

    Parameters
    ----------
    tensors
        A store of what a trunk gives, of one view or of several.
    backbone
        That trunk with a tail, which may have been tuned.

    Raises
    ------
    StoreError
        Where the store holds embeddings, or was made by another trunk.
    """

    def __init__(self, tensors: Store, backbone: Model, options: EngineOptions) -> None:
        require_trunk(tensors, backbone)
        if options.engine != "local" or options.provider not in ("auto", "cpu"):
            raise ModelError("rows of a store are carried through a tail by the local engine, on the CPU")
        self._tensors, self._workers = tensors, options.workers or cores()
        self._session = open_tail(backbone)
        self.providers: tuple[str, ...] = (self._session.provider,)
        self.passed_over: list[str] = []
        self._seconds = dict.fromkeys(("read", "infer", "store"), 0.0)
        self._lock = threading.Lock()

    def run(self, _root: Path | str, items: Sequence[Item], writer: StoreWriter) -> Iterator[Step]:
        """Store a row for each item, in the order of the items."""
        row_of = {path: row for row, path in enumerate(self._tensors.rows.path.tolist())}
        batches = (items[start : start + BATCH] for start in range(0, len(items), BATCH))
        running: deque[Future[list[Outcome]]] = deque()
        with ThreadPoolExecutor(self._workers, thread_name_prefix="carry") as pool:
            for batch in batches:
                running.append(pool.submit(self._carry, batch, [row_of[item.path] for item in batch]))
                if len(running) > self._workers + AHEAD:
                    yield from self._stored(running.popleft().result(), writer)
            while running:
                yield from self._stored(running.popleft().result(), writer)

    def seconds(self) -> dict[str, float]:
        """Give the seconds of each stage so far, over all threads."""
        return dict(self._seconds)

    def _carry(self, items: Sequence[Item], numbers: list[int]) -> list[Outcome]:
        started = time.perf_counter()
        rows = np.array(numbers)
        tensors = self._tensors.embeddings(rows)
        whole = self._tensors.is_embedded[rows]
        between = time.perf_counter()
        vectors: list[NDArray[np.float32] | None] = [None] * len(rows)
        if whole.any():
            for place, vector in zip(np.flatnonzero(whole), carried(self._session, tensors[whole]), strict=True):
                vectors[place] = vector
        self._spent(read=between - started, infer=time.perf_counter() - between)
        digests = self._tensors.rows.sha256[rows]
        return [
            Outcome(item, digest.tobytes(), item.size, item.mtime_ns, vector, item.reason)
            for item, digest, vector in zip(items, digests, vectors, strict=True)
        ]

    def _stored(self, outcomes: list[Outcome], writer: StoreWriter) -> Iterator[Step]:
        for outcome in outcomes:
            started = time.perf_counter()
            stored = writer.add(outcome)
            self._spent(store=time.perf_counter() - started)
            yield Step(1, int(stored.vector is None), 1)

    def _spent(self, **seconds: float) -> None:
        with self._lock:
            for stage, more in seconds.items():
                self._seconds[stage] += more


def open_tail(backbone: Model) -> TensorSession:
    """Open what lies behind the cut of a backbone of one view, on the CPU."""
    return TensorSession(tail(backbone).SerializeToString())


def carried(session: TensorSession, tensors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give embeddings, (n, d), of tensors (n, h, w, c), or the means of the views' of (n, v, h, w, c)."""
    if tensors.ndim == 4:
        return session.run(tensors)
    every = session.run(tensors.reshape(-1, *tensors.shape[2:]))
    mean: NDArray[np.float32] = every.reshape(*tensors.shape[:2], -1).mean(axis=1)
    return mean


def require_trunk(tensors: Store, backbone: Model) -> None:
    """Refuse a store that the trunk of a backbone has not made.

    Raises
    ------
    StoreError
        Where it has not.
    """
    header = tensors.header
    if header.output != CUT:
        raise StoreError(
            f"{tensors.location}: expected a store of what a network gives at a cut, found one of its {header.output}; "
            "make one with `headstart export --cut BLOCK` and `headstart embed`"
        )
    made_by = header.model.get("one_view_sha256", header.model_sha256)
    trunk = backbone.metadata.get("trunk_sha256", backbone.sha256)
    if made_by != trunk:
        raise StoreError(
            f"{tensors.location}: was made by another trunk ({str(made_by)[:16]}) than {backbone.source} has "
            f"({trunk[:16]}); embed again with the file that the tail was cut from"
        )


def of_as_many_views(backbone: Model, tensors: Store) -> Model:
    """Give a backbone that embeds as many views of each picture as a store of tensors has."""
    shape: tuple[Any, ...] = tensors.header.shape
    return with_views(backbone, shape[0] if len(shape) == 4 and shape[0] in VIEWS else 1)
