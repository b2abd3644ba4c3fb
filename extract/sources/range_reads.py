"""Images that lie next to each other in an archive: a run of them is read with a single request."""

from collections.abc import Iterable, Iterator, Sequence

from headstart.extract.errors import DecodeError
from headstart.extract.sources.items import Item
from headstart.extract.sources.readers import File, Reader

MOST_IMAGES, MOST_BYTES = 32, 4 << 20
"""Per run. Longer runs would save little more, and leave fewer requests to make at the same time."""
GAP = 8 << 10
"""Bytes between two images (headers, sidecar files) that are read along with them. A longer gap, such as an image that
is embedded already, ends the run."""


def runs(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Divide items, in their order, into runs that each lie in one piece of an archive.

    Any other item, such as an object of its own, is a run by itself.
    """
    run: list[Item] = []
    for item in items:
        if run and not _continues(run, item):
            yield run
            run = []
        run.append(item)
    if run:
        yield run


def _continues(run: Sequence[Item], item: Item) -> bool:
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
    """Read a run with one request, or its images one by one if that fails; give each image or its fault."""
    start, end = run[0].start, run[-1].start + run[-1].size
    try:
        data = reader.part(run[0].container, start, end) if len(run) > 1 else b""
    except DecodeError:
        data = b""
    if not data or len(data) != end - start:  # an answer of another length may begin anywhere
        return [_read(reader, item) for item in run]
    return [(data[item.start - start : item.start - start + item.size], item.size, item.mtime_ns) for item in run]


def _read(reader: Reader, item: Item) -> File | DecodeError:
    try:
        return reader.read(item)
    except DecodeError as error:
        return error
