"""Images that lie next to each other in one archive: a run of them is read with a single request."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future

from headstart.extract.errors import DecodeError
from headstart.extract.sources.items import Item
from headstart.extract.sources.readers import File, Reader

MOST_IMAGES, MOST_BYTES = 32, 4 << 20
"""Of a run. Longer ones would save little more, and leave fewer requests to be under way at the same time."""
GAP = 8 << 10
"""Bytes between two images (headers, and what stands beside an image) that are read along with them. What is longer, as
an image that is embedded already, is left out."""


def runs(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Divide items, in the order that they have, into runs that are each one piece of an archive.

    All else, as an image that is an object of its own, is a run by itself.
    """
    run: list[Item] = []
    for item in items:
        if run and not _goes_on(run, item):
            yield run
            run = []
        run.append(item)
    if run:
        yield run


def _goes_on(run: Sequence[Item], item: Item) -> bool:
    first, last = run[0], run[-1]
    return (
        bool(item.container)
        and item.container == first.container
        and not (first.reason or item.reason)
        and len(run) < MOST_IMAGES
        and item.start + item.size - first.start <= MOST_BYTES
        and 0 <= item.start - (last.start + last.size) <= GAP
    )


def read_run(reader: Reader, run: Sequence[Item]) -> list[File | DecodeError]:
    """Read a run at once, or its images one by one where that fails; give for each its bytes or the fault."""
    held = _together(reader, run) if len(run) > 1 else b""
    return [_cut(held, item.start - run[0].start, item) or _alone(reader, item) for item in run]


def one_of(run: "Future[list[File | DecodeError]]", place: int) -> File:
    """Wait for an image of a run, and give it, or raise the `DecodeError` that stands for it."""
    found = run.result()[place]
    if isinstance(found, DecodeError):
        raise found
    return found


def _together(reader: Reader, run: Sequence[Item]) -> bytes:
    start, end = run[0].start, run[-1].start + run[-1].size
    try:
        data = reader.part(run[0].container, start, end)
    except DecodeError:
        return b""
    return data if len(data) == end - start else b""  # else who knows where in it an image begins


def _cut(held: bytes, begin: int, item: Item) -> File | None:
    return (held[begin : begin + item.size], item.size, item.mtime_ns) if held else None


def _alone(reader: Reader, item: Item) -> File | DecodeError:
    try:
        return reader.read(item)
    except DecodeError as error:
        return error
