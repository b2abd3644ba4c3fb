"""The Ray engine: the local one in each of many actors, over the nodes of a cluster.

The images are dealt out in blocks. An actor embeds a block with the local engine and writes its rows as one shard into
the store, which all nodes must see under the same path, as they must see the images; what comes back to the driver is a
receipt. A block whose node dies is done again somewhere else: its shard has the same number, and of two rows of a path
the later is taken, so that no row is doubled.
"""

import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.extract.engines.local import STAGES, Engine
from headstart.extract.engines.ray_cluster import connect, fault_of, import_ray
from headstart.extract.engines.runners import Step
from headstart.extract.errors import EngineError
from headstart.extract.inference.model import parse_model
from headstart.extract.inference.providers import open_session
from headstart.extract.options import EngineOptions
from headstart.extract.sources.items import Item
from headstart.extract.store.rows import Outcome, to_rows, to_vectors
from headstart.extract.store.schema import Header
from headstart.extract.store.shards import MODEL_FILE, shards_of
from headstart.extract.store.writer import ROWS_A_SHARD, StoreWriter, fitting, write_shard
from headstart.files.urls import is_url

LEAST_BLOCK, BLOCKS_A_WORKER = 32, 8
"""Images a block: small enough that all workers end at nearly the same time, and that a lost node costs little."""

SECONDS_TO_SEE = 90.0
"""How long a file that another node wrote may stay unseen: network file systems keep a listing for up to a minute."""


class RayRunner:
    """Actors of a Ray cluster, each with the model open once.

    Parameters
    ----------
    options
        `address`: of a running cluster; by default one is started on this machine, and ended with the run.
    """

    def __init__(self, options: EngineOptions) -> None:
        self._ray, self._options = import_ray(), options
        self.providers: tuple[str, ...] = ()
        self.passed_over: list[str] = []
        self._seconds: dict[str, float] = {}

    def run(self, root: Path | str, items: Sequence[Item], writer: StoreWriter) -> Iterator[Step]:
        """Store a row for each item, in shards that the actors write."""
        if not items:
            return
        writer.commit()
        is_ours = connect(self._ray, self._options.address)
        try:
            yield from self._steps(root, items, writer)
        except self._ray.exceptions.RayError as error:
            raise fault_of(error) from None
        finally:
            if is_ours:
                self._ray.shutdown()

    def seconds(self) -> dict[str, float]:
        """Give the seconds of each stage so far, over all actors."""
        return dict(self._seconds)

    def _steps(self, root: Path | str, items: Sequence[Item], writer: StoreWriter) -> Iterator[Step]:
        workers = self._workers()
        blocks = _blocks(items, workers, writer.begin_shards())
        given = {
            "root": root if is_url(root) else os.path.abspath(root),
            "folder": os.path.abspath(writer.folder),
            "header": writer.header,
            "options": self._options,
        }
        shards: set[str] = set()
        stored = 0
        for receipt in self._receipts(blocks, workers, given):
            shards.add(receipt["shard"])
            self._note(receipt)
            rows = int(receipt["rows"])
            stored += rows
            yield Step(rows, int(receipt["failed"]), rows)
        _require_seen(writer.folder, shards)
        if stored != len(items):
            raise EngineError(f"the workers stored {stored} rows for {len(items)} images; run the same command again")

    def _workers(self) -> int:
        """Tell how many actors there may be: by default as many as the cluster has room for."""
        gpus, resources = self._options.gpus_per_worker, self._ray.cluster_resources()
        available = resources.get("GPU", 0) / gpus if gpus else resources.get("CPU", 1)
        if gpus and available < 1:
            raise EngineError(
                f"the Ray cluster has no node with {gpus:g} GPUs for a worker; leave --gpus-per-worker out"
            )
        return self._options.workers or max(1, int(available))

    def _receipts(self, blocks: list[dict[str, Any]], workers: int, given: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Have actors embed the blocks; what comes back is in the order in which they are done."""
        data = self._ray.data
        context = data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        dataset = data.from_items(blocks, override_num_blocks=len(blocks)).map_batches(
            EmbeddingActor,
            batch_size=1,
            compute=data.ActorPoolStrategy(min_size=1, max_size=workers),
            num_cpus=1,
            num_gpus=self._options.gpus_per_worker or None,
            fn_constructor_kwargs=given,
        )
        yield from dataset.iter_rows()

    def _note(self, receipt: dict[str, Any]) -> None:
        for stage, seconds in zip(STAGES, receipt["seconds"], strict=True):
            self._seconds[stage] = self._seconds.get(stage, 0.0) + float(seconds)
        for reason in receipt["passed_over"]:
            if reason not in self.passed_over:
                self.passed_over.append(str(reason))


def _blocks(items: Sequence[Item], workers: int, first: int) -> list[dict[str, Any]]:
    """Deal the images out, in columns that Arrow can carry, under the numbers that their shards will have."""
    size = min(ROWS_A_SHARD, max(LEAST_BLOCK, -(-len(items) // (workers * BLOCKS_A_WORKER))))
    return [
        {"sequence": first + number, **_columns(items[start : start + size])}
        for number, start in enumerate(range(0, len(items), size))
    ]


def _require_seen(folder: Path, names: set[str]) -> None:
    """Wait until this machine sees what the nodes wrote: a shared file system may show it late."""
    end = time.monotonic() + SECONDS_TO_SEE
    while missing := names - {shard.name for shard in shards_of(folder)}:
        if time.monotonic() > end:
            raise EngineError(
                f"{folder}: {len(missing)} of {len(names)} shards that the workers wrote are not seen here; is it the "
                "same file system on every node? What is seen is kept: run the same command again"
            )
        time.sleep(0.5)


class EmbeddingActor:
    """Embeds blocks of images, one after the other, on one core or GPU of a node."""

    def __init__(self, root: str, folder: str, header: Header, options: EngineOptions) -> None:
        for place, what in ((root, "images"), (folder, "store")):
            if not is_url(place) and not os.path.isdir(place):
                raise EngineError(
                    f"{place}: the node {socket.gethostname()} does not see the folder of the {what}; "
                    "every node needs it under the same path, on a shared file system"
                )
        opened = parse_model((Path(folder) / MODEL_FILE).read_bytes(), folder)
        self._session = open_session(opened, options.provider, header.output)
        self._header = replace(header, providers=(self._session.provider,))
        self._folder = Path(folder)
        # Each actor is given one core, so each is one of the local engine's threads.
        self._engine = Engine(root, opened.rule, self._session, lambda _: None, 1, options.batch_size, options.isolate)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Embed one block, write its shard, and give a receipt."""
        before = self._engine.clock.seconds()
        outcomes = [fitting(o, self._header) for o in self._engine.outcomes(_items(batch)) if isinstance(o, Outcome)]
        started = time.perf_counter()
        rows = to_rows(outcomes, self._header.classes)
        vectors = to_vectors(outcomes, self._header)
        shard = write_shard(self._folder, self._header, int(batch["sequence"][0]), rows, vectors)
        after = self._engine.clock.seconds() | {"store": before["store"] + time.perf_counter() - started}
        return {
            "shard": [shard.name],
            "rows": [len(outcomes)],
            "failed": [sum(outcome.vector is None for outcome in outcomes)],
            "passed_over": [self._session.passed_over],
            "seconds": [[after[stage] - before[stage] for stage in STAGES]],
        }


def _columns(items: Sequence[Item]) -> dict[str, Any]:
    """Give plain columns for Arrow, which carries them to the nodes."""
    return {
        "path": [item.path for item in items],
        "size": [item.size for item in items],
        "mtime_ns": [item.mtime_ns for item in items],
        "label": [None if item.label is None else os.fsencode(item.label) for item in items],
        "split": [item.split for item in items],
        "reason": [item.reason for item in items],
        "container": [item.container for item in items],
        "start": [item.start for item in items],
    }


def _items(batch: dict[str, Any]) -> list[Item]:
    names = ("path", "size", "mtime_ns", "label", "split", "reason", "container", "start")
    return [
        Item(
            bytes(path),
            int(size),
            int(time_),
            None if label is None else os.fsdecode(label),
            str(split),
            str(reason),
            bytes(container),
            int(start),
        )
        for path, size, time_, label, split, reason, container, start in zip(
            *(batch[name][0] for name in names), strict=True
        )
    ]
