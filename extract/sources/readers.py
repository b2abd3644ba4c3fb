"""The protocol of a reader, which gives the bytes of images, and the reader of local folders."""

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from typing import Any, Protocol

from headstart.extract.errors import DecodeError, TryAgainError
from headstart.extract.sources.items import Item, time_ns

MAX_FILE_BYTES = 256 << 20
"""Larger files are not read: no photo is that large, and a film would fill the memory."""

File = tuple[bytes, int, int]
"""The bytes of an image, its size, and the time of its last change (ns since the epoch)."""

Pending = Callable[[], File]
"""An image that may be read already: call it once to wait for the image, or drop it. Raises `DecodeError`."""

Fetch = Callable[[int, int], bytes]
"""Gives the bytes of a file from a start to an end offset, fewer if the file ends before. Raises `DecodeError`."""


class Reader(Protocol):
    """Reads the bytes of items."""

    def fetch(self, items: Iterable[Item]) -> Iterator[Pending]:
        """Yield a `Pending` per item, in order; a slow source starts to read each item when it is given."""

    def read(self, item: Item) -> File:
        """Read an item now, or raise `DecodeError`."""

    def part(self, path: bytes, start: int, end: int) -> bytes:
        """Read a range of bytes of a file, less if the file ends before, or raise `DecodeError`."""

    def close(self) -> None:
        """Stop reading and free the threads; nobody waits for a `Pending` any longer."""


class LocalReader:
    """Reads files below a folder."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.fsencode(root)

    def fetch(self, items: Iterable[Item]) -> Iterator[Pending]:
        """Start nothing: the operating system reads ahead by itself."""
        return (partial(self.read, item) for item in items)

    def read(self, item: Item) -> File:
        """Read a file, or an image in an archive."""
        if not item.container:
            data, status = read_file(os.path.join(self._root, item.path))
            return data, status.st_size, time_ns(status)
        check_size(item.size)
        data, status = read_file(os.path.join(self._root, item.container), item.start, item.size)
        if time_ns(status) != item.mtime_ns or len(data) != item.size:
            raise TryAgainError("the archive was changed meanwhile")
        return data, item.size, item.mtime_ns

    def part(self, path: bytes, start: int, end: int) -> bytes:
        """Read a range of bytes of a file."""
        return read_file(os.path.join(self._root, path), start, end - start)[0]

    def close(self) -> None:
        """Do nothing: no file stays open."""


def check_size(size: int) -> None:
    """Refuse files that are too large for a photo."""
    if size > MAX_FILE_BYTES:
        raise DecodeError(f"{size:,} bytes; more than {MAX_FILE_BYTES:,} are not read")


def read_file(path: bytes, start: int = 0, size: int | None = None) -> tuple[bytes, os.stat_result]:
    """Read all or a part of a regular file, without waiting if a pipe has taken its place."""

    def open_without_waiting(path: str, flags: int) -> int:
        return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))

    try:
        with open(path, "rb", opener=open_without_waiting) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DecodeError("not a regular file")
            if size is None:
                check_size(status.st_size)
            file.seek(start)
            return file.read(-1 if size is None else size), status
    except OSError as error:
        raise DecodeError(f"cannot be read: {(error.strerror or str(error)).lower()}") from None


class Budget:
    """A limit on the bytes held at once, granted in the order of turns; a single request may exceed it.

    Images are used in the order in which they are granted, so nobody waits for an image that comes later.
    """

    def __init__(self, size: int) -> None:
        self._size, self._held, self._turns, self._next = size, 0, 0, 0
        self._changed = threading.Condition()
        self.ended: Future[None] = Future()

    def turn(self) -> int:
        """Reserve the next turn."""
        self._turns += 1
        return self._turns - 1

    def take(self, turn: int, size: int) -> None:
        """Wait until it is this turn and the bytes fit."""

        def is_granted() -> bool:
            return self.ended.done() or (turn == self._next and (not self._held or self._held + size <= self._size))

        with self._changed:
            self._changed.wait_for(is_granted)
            self._held += size
            self._next += 1
            self._changed.notify_all()

    def give(self, size: int) -> None:
        """Release bytes."""
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    def end(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            if not self.ended.done():
                self.ended.set_result(None)
            self._changed.notify_all()


class ReadAhead:
    """A `Pending` whose image a thread reads; its share of the budget is released once it is used, failed or dropped.

    Parameters
    ----------
    reading
        Gives, for each image of one request, the image or its fault, and the bytes that it holds of the budget.
    number
        Which of these images this is.
    """

    def __init__(self, reading: "Future[list[tuple[File | DecodeError, int]]]", number: int, budget: Budget) -> None:
        self._reading, self._number, self._budget = reading, number, budget
        self._is_held = True

    def __call__(self) -> File:
        """Wait for the image, or raise `DecodeError`."""
        either: list[Future[Any]] = [self._reading, self._budget.ended]
        wait(either, return_when=FIRST_COMPLETED)
        try:
            if not self._reading.done():  # the request may go on for minutes
                raise TryAgainError("not read: the run has ended")
            file, _ = self._reading.result()[self._number]
        finally:
            self._release()
        if isinstance(file, DecodeError):
            raise file
        return file

    def __del__(self) -> None:
        self._release()

    def _release(self) -> None:
        if self._is_held:
            self._is_held = False
            self._reading.add_done_callback(partial(_give_back, self._number, self._budget))


def _give_back(number: int, budget: Budget, reading: "Future[list[tuple[File | DecodeError, int]]]") -> None:
    if not reading.cancelled() and not reading.exception():
        budget.give(reading.result()[number][1])
