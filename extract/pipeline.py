"""Folder of images -> embedding store, in one call."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from headstart.extract.engines.open import open_runner
from headstart.extract.engines.runners import Runner
from headstart.extract.engines.tail import TailRunner, of_as_many_views, source_of
from headstart.extract.errors import ModelError
from headstart.extract.inference.model import CUT, Model, read_model
from headstart.extract.inference.subgraph import uncut
from headstart.extract.inference.views import with_views
from headstart.extract.options import EngineOptions
from headstart.extract.sources.find import find_images
from headstart.extract.sources.items import Item, Source
from headstart.extract.store.merging import Share
from headstart.extract.store.remote_copy import working_copy
from headstart.extract.store.schema import DTYPES, Header
from headstart.extract.store.shards import PARTS, is_store
from headstart.extract.store.store import Store, open_store
from headstart.extract.store.writer import StoreWriter, is_folder_store
from headstart.files.atomic import check_outside
from headstart.files.errors import OutputError
from headstart.files.progress import Progress, ProgressCallback


@dataclass(frozen=True)
class RunSummary:
    """What a run did; ``inputs == embedded + failed`` and ``inputs == computed + reused``.

    Attributes
    ----------
    inputs, embedded, failed
        Of the images that are there now.
    computed, reused
        How many were decoded (or found to fail) in this run, and how many rows were there already.
    removed
        Rows that went because their image did.
    provider
        onnxruntime's name of what ran.
    passed_over
        What ``auto`` could not use, with reasons.
    seconds
        Wall time of the run.
    stages
        Seconds spent in each stage, summed over threads: read, decode, infer, store.
    bottleneck
        The stage that took longest; empty where nothing was computed.
    """

    inputs: int
    embedded: int
    failed: int
    computed: int
    reused: int
    removed: int
    provider: str
    passed_over: list[str]
    seconds: float
    stages: dict[str, float]
    bottleneck: str


def embed(
    images: str | os.PathLike[str] | Store,
    model: str | os.PathLike[str] | Model = "backbone.onnx",
    output: str | os.PathLike[str] = "photos.h5",
    *,
    dtype: str = "float16",
    views: int = 1,
    share: Share | None = None,
    options: EngineOptions | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[Store, RunSummary]:
    """Embed every image of a folder or manifest, and keep the embeddings in a store.

    What is in the store already and has not changed is not computed again; a run that was cut off goes on.

    Parameters
    ----------
    images
        A folder, or a manifest (see `find_images`); or a store of what the trunk of a network that is cut gave, whose
        rows are then carried through the tail, and no image is read.
    model
        A backbone made by ``headstart export`` or ``headstart tune``, or its file. Of a network that is cut, what its
        trunk gives is stored.
    output
        A file to be compacted into (``photos.h5``), or a folder of shards (``photos.emb``); here or at a URL, whose
        store is then worked on as a copy (see `headstart.extract.store.remote_copy`).
    dtype
        ``"float16"`` (relative error below 5e-4) or ``"float32"``.
    views
        Augmented views per image whose mean is the embedding (see `headstart.extract.inference.views`): 1, 2 or 4.
    share
        Which part of the images to embed, where several runs divide them up; the rows of other parts are left alone.
    progress
        Called after every row.

    Returns
    -------
    store, summary
        The finished store, open for reading, and what the run did.

    Raises
    ------
    ExtractError
        `SourceError`, `ModelError`, `ProviderError`, `StoreError` or `OutputError`; an image that fails raises nothing.
    """
    if dtype not in DTYPES:
        raise OutputError(f"unknown dtype {dtype!r}; expected one of {', '.join(DTYPES)}")
    if not isinstance(images, Store):
        check_outside(output, images)
    with working_copy(output) as place:
        if place.suffix == PARTS or not (is_folder_store(place) or place.suffix in (".h5", ".hdf5")):
            raise OutputError(f"{place}: expected a name that ends in .h5 (one file) or .emb (a folder of shards)")
        backbone = model if isinstance(model, Model) else read_model(model)
        options = options or EngineOptions()
        if isinstance(images, Store) or is_store(images):
            work = _of_tensors(images, backbone, views, options)
        else:
            work = _of_images(images, backbone, views, options)
        return _embed(work, place, dtype, share, progress)


def _embed(
    work: "_Work", place: Path, dtype: str, share: Share | None, progress: ProgressCallback | None
) -> tuple[Store, RunSummary]:
    listing, runner = work.listing, work.runner
    source = listing if share is None else share.of_source(listing)
    started = time.monotonic()
    with StoreWriter(place, header_for(source, work.backbone, runner, work.output, dtype), work.backbone) as writer:
        writer.known.require_same_images(listing.items)
        computed = fill(writer, source, runner, progress)
        gone = [path for path in writer.known.gone(listing.items) if share is None or share.holds(path)]
        del source, listing, work  # with many images their list is the largest thing in memory, and a store comes next
        store = writer.finish(gone)
    present = int(store.is_embedded.sum())
    summary = RunSummary(
        inputs=len(store),
        embedded=present,
        failed=len(store) - present,
        computed=computed,
        reused=len(store) - computed,
        removed=writer.removed,
        provider=", ".join(runner.providers or store.header.providers),
        passed_over=runner.passed_over,
        seconds=time.monotonic() - started,
        stages=(stages := runner.seconds()),
        bottleneck=max(stages, key=lambda stage: stages[stage]) if computed else "",
    )
    return store, summary


@dataclass(frozen=True)
class _Work:
    """What is embedded, by which model, which output of it, and what runs that."""

    listing: Source
    backbone: Model
    output: str
    runner: Runner


def _of_images(images: str | os.PathLike[str], backbone: Model, views: int, options: EngineOptions) -> _Work:
    if "probabilities" in backbone.outputs:
        raise ModelError(
            f"{backbone.source}: expected a backbone, found a classifier; embed with the backbone it came from"
        )
    listing, backbone = find_images(images), with_views(backbone, views)
    output = CUT if CUT in backbone.outputs else "embedding"
    return _Work(listing, backbone, output, open_runner(backbone, output, options))


def _of_tensors(store: str | os.PathLike[str] | Store, backbone: Model, views: int, options: EngineOptions) -> _Work:
    tensors = store if isinstance(store, Store) else open_store(store)
    runner = TailRunner(tensors, backbone, options)
    seen = of_as_many_views(uncut(backbone), tensors)
    held = len(seen.metadata.get("views", ["full"]))
    if views not in (1, held):
        raise ModelError(f"{tensors.location}: holds {held} views of each image, not {views}; leave --views out")
    return _Work(source_of(tensors), seen, "embedding", runner)


def header_for(source: Source, model: Model, runner: Runner, output: str, dtype: str) -> Header:
    """Describe the rows that a run will write."""
    return Header(
        model=model.metadata,
        model_sha256=model.sha256,
        output=output,
        shape=model.outputs[output],
        dtype=dtype,
        classes=tuple(source.classes),
        root=source.location,
        providers=runner.providers,
    )


def fill(writer: StoreWriter, source: Source, runner: Runner, progress: ProgressCallback | None) -> int:
    """Bring a store up to date with a source; give the number of images computed."""
    todo, failed = _reuse(writer, source)
    total, computed = len(source.items), 0
    done = total - len(todo)
    for step in runner.run(source.root, todo, writer):
        done, failed, computed = done + step.rows, failed + step.failed, computed + step.computed
        if progress:
            progress(Progress("embedding", done, total, failed))
    return computed


def _reuse(writer: StoreWriter, source: Source) -> tuple[list[Item], int]:
    """Keep the rows of unchanged items; give the items that must be read, and how many kept rows are failures.

    Those of one archive come in the order that they have in it, whatever their names are.
    """
    todo: list[Item] = []
    failed = 0
    for item in source.items:
        row = writer.known.find(item)
        if row is None:
            todo.append(item)
            continue
        failed += writer.known.has_failed(row)
        if not writer.known.has_same_place(row, item):
            writer.add(writer.known.copied(row, item, item.size, item.mtime_ns))
    todo.sort(key=lambda item: (item.container, item.start))
    return todo, failed
