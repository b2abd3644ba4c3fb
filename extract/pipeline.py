"""One run from images to a store: the job behind `embed`, and behind `headstart.classify.score`."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from headstart.extract.engines.ray_engine import RayRunner
from headstart.extract.engines.runners import LocalRunner, Runner
from headstart.extract.engines.tail import TailRunner, require_trunk, source_of
from headstart.extract.errors import ModelError
from headstart.extract.inference.grey_bits import with_grey_bits
from headstart.extract.inference.model import CUT, Model, read_model
from headstart.extract.inference.subgraph import uncut
from headstart.extract.job import Job, RunSummary
from headstart.extract.notes import Note
from headstart.extract.options import EngineOptions, SourceOptions
from headstart.extract.sources.find import Images, find_images
from headstart.extract.sources.items import Item, Source
from headstart.extract.store.merging import Share
from headstart.extract.store.remote_copy import working_copy
from headstart.extract.store.schema import DECODER, DTYPES, Header
from headstart.extract.store.shards import PARTS, is_store
from headstart.extract.store.store import Store, open_store
from headstart.extract.store.writer import StoreWriter, is_folder_store
from headstart.files.atomic import check_outside
from headstart.files.errors import OptionError, OutputError
from headstart.files.progress import Progress, ProgressCallback

RUNNERS: dict[str, Callable[[Model, str, EngineOptions], Runner]] = {"local": LocalRunner, "ray": RayRunner}


def embed(
    images: Images | Store,
    model: str | os.PathLike[str] | Model = "backbone.onnx",
    output: str | os.PathLike[str] = "photos.h5",
    *,
    dtype: str = "float16",
    share: Share | None = None,
    options: EngineOptions | None = None,
    source_options: SourceOptions | None = None,
    progress: ProgressCallback | None = None,
    grey_bits: int | None = None,
    metadata: bool = False,
    views: int | None = None,
) -> tuple[Store, RunSummary]:
    """Embed every image of a folder or manifest into a store.

    Rows of unchanged images are reused, and an interrupted run resumes.

    Parameters
    ----------
    images
        A folder, URL, manifest or image, or several image files (see `find_images`); or a store of tensors, made with
        a backbone that is cut, whose rows then go through the tail of `model` without any image being decoded.
    model
        A backbone made by ``headstart export`` or ``headstart tune``, as a path, URL or `Model`; or a store, for the
        backbone inside it. If the backbone is cut, the store holds the tensors at its cut.
    output
        A single file (``photos.h5``) or a folder of shards (``photos.emb``), local or at a URL; a remote store is
        updated through a local copy (see `headstart.extract.store.remote_copy`).
    dtype
        ``"float16"`` (relative error below 5e-4 for numbers above 6e-5, and below that an absolute error of at most
        3e-8) or ``"float32"``.
    share
        The part of the images to embed, if several runs share them; rows of other parts are left alone.
    source_options
        Columns and root of a list, and whether links are followed.
    progress
        Called after every row.
    grey_bits
        Bits per sample, 8-16, that carry the picture in 16-bit grey which states no depth, such as 12 of many cameras.
        The store's backbone keeps the number, so that whatever is made with the store scales such images alike. By
        default that of the backbone.
    metadata
        Whether to read when, with which camera and where each photo was taken (see
        `headstart.extract.metadata.Metadata`) into `Store.metadata`. A store that has these columns keeps them up to
        date without the option. Photos embedded without it are read again, but not computed again. Those that a store
        of tensors holds are passed on in any case.
    views
        No longer an option: the backbone makes the views.

    Returns
    -------
    store, summary
        The finished store, open for reading, and what the run did.

    Raises
    ------
    OptionError
        If an option has a value that is not allowed.
    ExtractError, OutputError
        If the images, the model or the store cannot be used; an image that fails raises nothing.
    """
    if views is not None:
        raise OptionError(f"views belong to the backbone now: headstart export --views {views}")
    if dtype not in DTYPES:
        raise OptionError(f"unknown dtype {dtype!r}; expected one of {', '.join(DTYPES)}")
    if not isinstance(images, Store):
        check_outside(output, images)
    with working_copy(output) as path:
        if path.suffix == PARTS or not (is_folder_store(path) or path.suffix in (".h5", ".hdf5")):
            raise OutputError(f"{path}: expected a name that ends in .h5 (one file) or .emb (a folder of shards)")
        plan = _plan(images, model, grey_bits, metadata)
        job = Job(*plan, dtype, share, options, progress, source_options=source_options, metadata=metadata)
        with run(job, path) as finished:
            return finished


def _plan(
    images: Images | Store, model: str | os.PathLike[str] | Model, grey_bits: int | None, metadata: bool
) -> tuple[Images | Store, Model, str]:
    """Return the images or tensors, the backbone, and which of its outputs is to be stored."""
    if not isinstance(model, Model):
        model = open_store(model).model() if is_store(model) else read_model(model)
    if grey_bits is not None:
        model = with_grey_bits(model, grey_bits)
    if isinstance(images, Store) or is_store(images):
        tensors = images if isinstance(images, Store) else open_store(images)
        require_trunk(tensors, model)
        if metadata:
            tensors.require_metadata()
        return tensors, uncut(model), "embedding"
    if "probabilities" in model.outputs:
        raise ModelError(
            f"{model.source}: expected a backbone, found a classifier; embed with the backbone it came from"
        )
    return images, model, CUT if CUT in model.outputs else "embedding"


@contextmanager
def run(job: Job, path: Path) -> Iterator[tuple[Store, RunSummary]]:
    """Bring a store up to date with its images, and hold its lock while the block uses it.

    Raises
    ------
    ExtractError, OptionError, OutputError
        As `embed`.
    """
    started = time.monotonic()
    options = job.options or EngineOptions()
    runner: Runner
    if isinstance(job.images, Store):
        listing, runner = source_of(job.images), TailRunner(job.images, job.model, options)
    else:
        listing = find_images(job.images, job.source_options)
        runner = RUNNERS[options.engine](job.model, job.output, options)
    source = listing if job.share is None else job.share.of_source(listing)
    header = Header(
        model=job.model.metadata,
        model_sha256=job.model.sha256,
        output=job.output,
        shape=job.model.outputs[job.output],
        dtype=job.dtype,
        classes=tuple(source.classes),
        root=source.location,
        providers=runner.providers,
        decoder=job.images.header.decoder if isinstance(job.images, Store) else DECODER,
        has_metadata=bool(job.images.metadata) if isinstance(job.images, Store) else job.metadata,
    )
    with StoreWriter(path, header, job.model) as writer:
        writer.reusable.require_same_images(listing.items)
        if job.share is not None:
            writer.reusable.require_no_others_to_move(job.share.holds)
        computed = _fill(writer, source, runner, job)
        gone = [path for path in writer.reusable.gone(listing.items) if job.share is None or job.share.holds(path)]
        notes = [Note(text) for text in listing.notes]
        del source, listing  # with many images the list is the largest thing in memory, and the store comes next
        store = writer.finish(gone)
        summary = _summary(store, writer, runner, computed, time.monotonic() - started)
        yield store, replace(summary, notes=notes + summary.notes)
        if job.is_temporary:
            writer.discard()


def _fill(writer: StoreWriter, source: Source, runner: Runner, job: Job) -> int:
    """Store a row for every image that has none yet; return how many were computed."""
    todo, failed = _reuse(writer, source)
    total, computed = len(source.items), 0
    done = total - len(todo)
    for step in runner.run(source.root, todo, writer):
        done, failed, computed = done + step.rows, failed + step.failed, computed + step.computed
        if job.progress:
            job.progress(Progress(job.stage, done, total, failed))
    return computed


def _reuse(writer: StoreWriter, source: Source) -> tuple[list[Item], int]:
    """Keep the rows of unchanged items; return the other items, and how many of the kept rows are failures.

    Items of one archive come in their order within it.
    """
    todo: list[Item] = []
    failed = 0
    for item in source.items:
        row = writer.reusable.find(item)
        if row is None:
            todo.append(item)
            continue
        failed += writer.reusable.has_failed(row)
        if not writer.reusable.has_same_label_and_split(row, item):
            writer.add(writer.reusable.copied(row, item, item.size, item.mtime_ns))
    todo.sort(key=lambda item: (item.container, item.start))
    return todo, failed


def _summary(store: Store, writer: StoreWriter, runner: Runner, computed: int, seconds: float) -> RunSummary:
    embedded, stages = int(store.is_embedded.sum()), runner.clock.seconds()
    return RunSummary(
        inputs=len(store),
        embedded=embedded,
        failed=len(store) - embedded,
        computed=computed,
        reused=len(store) - computed,
        removed=writer.removed,
        provider=", ".join(runner.providers or store.header.providers),
        passed_over=runner.passed_over,
        notes=runner.notes.notes(),
        seconds=seconds,
        stages=stages,
        bottleneck=max(stages, key=lambda stage: stages[stage]) if computed else "",
    )
