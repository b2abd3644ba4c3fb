"""An engine that is kept open: images through a model at any time, without a store."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from headstart.extract.decoding.memory import Picture
from headstart.extract.engines.embedder import Embedder, Read, Reuse
from headstart.extract.engines.local import items_through
from headstart.extract.errors import DecodeError, ImagesError, TryAgainError
from headstart.extract.inference.model import Model
from headstart.extract.inference.providers import open_session
from headstart.extract.options import EngineOptions
from headstart.extract.sources.items import Item, Source, regular_item, time_ns
from headstart.extract.sources.open import open_reader
from headstart.extract.sources.readers import File, check_size, read_file
from headstart.extract.store.rows import Outcome
from headstart.files.errors import HeadstartError, OptionError
from headstart.files.progress import Progress, ProgressCallback
from headstart.files.urls import is_url, without_scheme

AnyImage = str | os.PathLike[str] | bytes | Picture
"""A path or URL of an image file, its bytes, or an image in memory."""
NAMED_FAILURES = 5


class ImageEngine:
    """Computes one output of a model for images of any kind; any number of threads may call it.

    The model, its threads and the processes that decode files are kept until `close`, so that every call but the
    first costs little more than to decode the images and to run the model.

    Parameters
    ----------
    model
        A backbone or classifier.
    output
        Which of its outputs to compute.
    options
        Of the engine on this machine.

    Attributes
    ----------
    provider
        The execution provider that runs, as its runtime calls it.
    passed_over
        What ``auto`` could not use, with reasons.

    Raises
    ------
    OptionError
        If the options ask for another engine.
    ProviderError
        If the provider does not run here.
    """

    def __init__(self, model: Model, output: str = "embedding", options: EngineOptions | None = None) -> None:
        options = options or EngineOptions()
        if options.engine != "local":
            raise OptionError(f"expected the engine 'local', found {options.engine!r}: it writes stores only")
        session = open_session(model, options.provider, output)
        self.provider, self.passed_over = session.provider, session.passed_over
        self._embedder = Embedder(model.rule, session, options)

    def outcomes(
        self, images: Iterable[AnyImage], reuse: Reuse | None = None, *, reads_metadata: bool = False
    ) -> Iterator[Outcome]:
        """Compute one outcome per image, in their order.

        Parameters
        ----------
        images
            Several images, each a path or URL, bytes of an image file, an image of Pillow, or an array uint8 (H, W, 3)
            RGB or (H, W) grey, 0-255.
        reuse
            Looks up the outcome of content that is stored already (see `ReusableRows.by_content`).
        reads_metadata
            Whether the metadata of image files are read too.

        Returns
        -------
        With the vector, or the reason why there is none; nothing is raised for an image that cannot be used. The
        item's path is the given one, and for an image in memory ``image[3]``, by its position.
        """
        listed = list(images)
        reads = (_input(number, image) for number, image in enumerate(listed))
        return self._embedder.outcomes(reads, len(listed), reuse, reads_metadata=reads_metadata)

    def source_outcomes(
        self,
        source: Source,
        reuse: Reuse | None = None,
        progress: ProgressCallback | None = None,
        *,
        reads_metadata: bool = False,
    ) -> list[Outcome]:
        """Compute one outcome per item of a folder, list, archive, table or URL, in their order."""
        items = sorted(source.items, key=lambda item: (item.container, item.start))  # as they lie in their archives
        outcomes = items_through(self._embedder, source.root, items, reuse, reads_metadata=reads_metadata)
        found = {outcome.item.path: outcome for outcome in counted(outcomes, len(items), progress)}
        return [found[item.path] for item in source.items]

    def close(self) -> None:
        """End the threads and processes, once nobody uses them."""
        self._embedder.close()

    def __enter__(self) -> "ImageEngine":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()


def counted(outcomes: Iterable[Outcome], total: int, progress: ProgressCallback | None) -> Iterator[Outcome]:
    """Pass outcomes on, and report each to a callback, if there is one."""
    failed = 0
    for done, outcome in enumerate(outcomes, 1):
        failed += outcome.vector is None
        if progress:
            progress(Progress("classifying", done, total, failed))
        yield outcome


def require_all(reasons: Sequence[tuple[str, str]], advice: str = "") -> None:
    """Refuse images of which some have failed.

    Parameters
    ----------
    reasons
        The path of each image, and why it failed; empty if it did not.
    advice
        What else can be done than to leave them out.

    Raises
    ------
    ImagesError
        Naming those that failed.
    """
    failures = [f"{path}: {reason}" for path, reason in reasons if reason]
    if failures:
        more = f"; and {len(failures) - NAMED_FAILURES} more" if len(failures) > NAMED_FAILURES else ""
        raise ImagesError(
            f"{len(failures)} of {len(reasons)} images cannot be used: {'; '.join(failures[:NAMED_FAILURES])}{more}; "
            f"leave them out{advice}"
        )


def _input(number: int, image: Any) -> tuple[Item, Read]:
    """Return what to call an image, and how to read it."""
    item = Item(os.fsencode(f"image[{number}]"), 0, 0)
    if isinstance(image, str | os.PathLike):
        try:
            return _file(os.fsdecode(os.fspath(image)))
        except ValueError as error:  # no system has such a name
            return replace(item, reason=f"cannot be looked at: {error}"), partial(_in_memory, image)
    return item, partial(_in_memory, bytes(image) if isinstance(image, bytearray | memoryview) else image)


def _file(name: str) -> tuple[Item, Read]:
    path, shown = without_scheme(name), os.fsencode(name)
    if is_url(path):
        folder, _, last = path.rstrip("/").rpartition("/")
        return Item(shown, 0, 0), partial(_read_url, folder, Item(os.fsencode(last), 0, 0))
    return Item(shown, 0, 0), partial(_read_file, path)


def _in_memory(image: Any) -> tuple[Any, int, int]:
    if isinstance(image, bytes):
        check_size(len(image))
    return image, len(image) if isinstance(image, bytes) else 0, 0


def _read_file(path: str) -> File:
    try:
        data, status = read_file(os.fsencode(path))
    except (DecodeError, ValueError) as error:  # no system has a name with a null character
        folder, name = os.path.split(os.path.abspath(path))
        reason = regular_item(Path(folder), os.fsencode(name), follows=True).reason
        raise DecodeError(reason or str(error)) from None
    return data, status.st_size, time_ns(status)


def _read_url(root: str, item: Item) -> File:
    try:
        with closing(open_reader(root)) as reader:
            return reader.read(item)
    except DecodeError:
        raise
    except HeadstartError as error:  # the URL cannot be opened
        raise TryAgainError(str(error)) from None
