"""The Ray engine: the local engine in each of many actors, on the nodes of a cluster.

The images are divided into blocks. An actor embeds a block with the local engine, writes its rows into the store as one
shard, and sends a receipt to the driver. All nodes must see the store and the images under the same path. If a node
dies, its block is embedded again elsewhere: that shard has the same number, and of two rows with one path the later
counts, so that no row is doubled.
"""

import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from headstart.extract.engines.clock import STAGES, StageClock
from headstart.extract.engines.local import Engine
from headstart.extract.engines.ray_cluster import connect, import_ray, original_error
from headstart.extract.engines.runners import Runner, Step
from headstart.extract.errors import EngineError
from headstart.extract.inference.model import Model, parse_model
from headstart.extract.inference.providers import open_session
from headstart.extract.options import EngineOptions
from headstart.extract.sources.items import Item
from headstart.extract.store.rows import to_rows, to_vectors, write_shard
from headstart.extract.store.schema import Header
from headstart.extract.store.shards import MODEL_FILE, shards_of
from headstart.extract.store.writer import ROWS_A_SHARD, StoreWriter, fitting
from headstart.files.urls import is_url

SMALLEST_BLOCK, BLOCKS_PER_WORKER = 32, 8
"""Blocks are small enough that all workers finish at nearly the same time, and that a lost node costs little."""

FIELDS = ("path", "size", "mtime_ns", "label", "split", "reason", "container", "start")

SECONDS_TO_SEE = 90.0
"""How long a shard from another node may stay unseen: network file systems keep a listing for up to a minute."""


class RayRunner(Runner):
    """Runs a model on the actors of a Ray cluster, each of which opens it once."""

    def __init__(self, _model: Model, _output: str, options: EngineOptions) -> None:
        super().__init__((), [], StageClock())
        self._ray, self._options = import_ray(), options

    def run(self, root: Path | str, items: Sequence[Item], writer: StoreWriter) -> Iterator[Step]:
        """Store a row for each item, in shards that the actors write."""
        if not items:
            return
        writer.commit()
        is_ours = connect(self._ray, self._options.address)
        try:
            yield from self._steps(root, items, writer)
        except self._ray.exceptions.RayError as error:
            raise original_error(error) from None
        finally:
            if is_ours:
                self._ray.shutdown()

    def _steps(self, root: Path | str, items: Sequence[Item], writer: StoreWriter) -> Iterator[Step]:
        workers = self._workers()
        blocks = _blocks(items, workers, writer.begin_shards())
        actor_arguments = {
            "root": root if is_url(root) else os.path.abspath(root),
            "folder": os.path.abspath(writer.folder),
            "header": writer.header,
            "options": self._options,
        }
        shards: set[str] = set()
        stored = 0
        for receipt in self._receipts(blocks, workers, actor_arguments):
            shards.add(receipt["shard"])
            self._add(receipt)
            rows = int(receipt["rows"])
            stored += rows
            yield Step(rows, int(receipt["failed"]), rows)
        _wait_for_shards(writer.folder, shards)
        if stored != len(items):
            raise EngineError(f"the workers stored {stored} rows for {len(items)} images; run the same command again")

    def _workers(self) -> int:
        """Return the number of actors: by default as many as the cluster has room for."""
        gpus, resources = self._options.gpus_per_worker, self._ray.cluster_resources()
        available = resources.get("GPU", 0) / gpus if gpus else resources.get("CPU", 1)
        if gpus and available < 1:
            raise EngineError(
                f"the Ray cluster has no node with {gpus:g} GPUs for a worker; leave --gpus-per-worker out"
            )
        return self._options.workers or max(1, int(available))

    def _receipts(
        self, blocks: list[dict[str, Any]], workers: int, actor_arguments: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """Embed the blocks on actors, and yield receipts in the order in which blocks finish."""
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
            fn_constructor_kwargs=actor_arguments,
        )
        yield from dataset.iter_rows()

    def _add(self, receipt: dict[str, Any]) -> None:
        for stage, seconds in zip(STAGES, receipt["seconds"], strict=True):
            self.clock.add(stage, float(seconds))
        self.passed_over += [str(reason) for reason in receipt["passed_over"] if reason not in self.passed_over]
        for text, path in zip(receipt["notes"], receipt["noted"], strict=True):
            self.notes.add([str(text)], bytes(path))


def _blocks(items: Sequence[Item], workers: int, first: int) -> list[dict[str, Any]]:
    """Divide the images into blocks, as columns for Arrow, numbered as their shards will be."""
    size = min(ROWS_A_SHARD, max(SMALLEST_BLOCK, -(-len(items) // (workers * BLOCKS_PER_WORKER))))
    return [
        {"sequence": first + number, **_columns(items[start : start + size])}
        for number, start in enumerate(range(0, len(items), size))
    ]


def _wait_for_shards(folder: Path, names: set[str]) -> None:
    """Wait until this machine sees what the nodes wrote: a shared file system may show it late."""
    end = time.monotonic() + SECONDS_TO_SEE
    while missing := names - {shard.name for shard in shards_of(folder)}:
        if time.monotonic() > end:
            raise EngineError(
                f"{folder}: {len(missing)} of the {len(names)} shards that the workers wrote are not visible here; "
                "check that every node uses the same file system. Visible shards are kept: run the same command again"
            )
        time.sleep(0.5)


class EmbeddingActor:
    """Embeds blocks of images, one after the other, on one core or GPU of a node."""

    def __init__(self, root: str, folder: str, header: Header, options: EngineOptions) -> None:
        for location, what in ((root, "images"), (folder, "store")):
            if not is_url(location) and not os.path.isdir(location):
                raise EngineError(
                    f"{location}: the node {socket.gethostname()} does not see the folder of the {what}; "
                    "every node needs it under the same path, on a shared file system"
                )
        model = parse_model((Path(folder) / MODEL_FILE).read_bytes(), folder)
        self._session = open_session(model, options.provider, header.output)
        self._header = replace(header, providers=(self._session.provider,))
        self._folder = Path(folder)
        # An actor has one core, so it is one of the local engine's threads.
        one = replace(options, workers=1)
        self._engine = Engine(
            root, model.rule, self._session, lambda *_content: None, one, reads_metadata=header.has_metadata
        )

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Embed one block, write its shard, and return a receipt."""
        clock = self._engine.clock
        before = clock.seconds()
        outcomes = [fitting(outcome, self._header) for outcome in self._engine.outcomes(_items(batch))]
        with clock.stage("store"):
            rows, vectors = to_rows(outcomes, self._header.classes), to_vectors(outcomes, self._header)
            shard = write_shard(self._folder, self._header, int(batch["sequence"][0]), rows, vectors)
        notes = [(text, outcome.item.path) for outcome in outcomes for text in outcome.notes]
        return {
            "shard": [shard.name],
            "rows": [len(outcomes)],
            "failed": [sum(outcome.vector is None for outcome in outcomes)],
            "passed_over": [self._session.passed_over],
            "notes": [[text for text, _ in notes]],
            "noted": [[path for _, path in notes]],
            "seconds": [[seconds - before[stage] for stage, seconds in clock.seconds().items()]],
        }


def _columns(items: Sequence[Item]) -> dict[str, Any]:
    """Return plain columns for Arrow, which sends them to the nodes."""
    columns = {name: [getattr(item, name) for item in items] for name in FIELDS}
    return columns | {"label": [None if item.label is None else os.fsencode(item.label) for item in items]}


def _items(batch: dict[str, Any]) -> list[Item]:
    """Return the items of a block, from the columns that Arrow brought."""
    return [
        Item(
            bytes(path), int(size), int(mtime_ns), None if label is None else os.fsdecode(label),
            str(split), str(reason), bytes(container), int(start),
        )
        for path, size, mtime_ns, label, split, reason, container, start in zip(
            *(batch[name][0] for name in FIELDS), strict=True
        )
    ]  # fmt: skip
