"""Bytes of images: what gives them, and that for a folder."""

import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from headstart.extract.errors import DecodeError, TryAgainError
from headstart.extract.sources.items import Item

MAX_FILE_BYTES = 256 << 20
"""A larger file is not read: no photo is, and a film would fill the memory."""

File = tuple[bytes, int, int]
"""An image's bytes, how many they are, and when they were changed (ns since the epoch)."""

Begun = Callable[[], File]
"""Waits for an image that is being read, and gives it, or raises `DecodeError`."""


class Reader(Protocol):
    """Gives the bytes of items."""

    def begin(self, items: Iterable[Item]) -> Iterator[Begun | None]:
        """Begin to read items, where that helps, as far as what this gives for each of them is asked for."""

    def read(self, item: Item) -> File:
        """Read an item now, or raise `DecodeError`."""

    def part(self, path: bytes, start: int, end: int) -> bytes:
        """Read some bytes of a file, fewer where it ends before, or raise `DecodeError`."""

    def taken(self, item: Item) -> None:
        """Note that what was begun for an item is used, or will not be."""

    def close(self) -> None:
        """Give back what it holds."""


class LocalReader:
    """Reads files below a folder."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.fsencode(root)

    def begin(self, items: Iterable[Item]) -> Iterator[Begun | None]:
        """Begin nothing: the system reads ahead by itself."""
        return (None for _ in items)

    def read(self, item: Item) -> File:
        """Read a file, or the part of an archive that is one."""
        if not item.container:
            data, found = read_file(os.path.join(self._root, item.path))
            return data, found.st_size, found.st_mtime_ns
        check_size(item.size)
        data, found = read_file(os.path.join(self._root, item.container), item.start, item.size)
        if found.st_mtime_ns != item.mtime_ns or len(data) != item.size:
            raise TryAgainError("the archive was changed meanwhile")
        return data, item.size, item.mtime_ns

    def part(self, path: bytes, start: int, end: int) -> bytes:
        """Read some bytes of a file."""
        return read_file(os.path.join(self._root, path), start, end - start)[0]

    def taken(self, item: Item) -> None:
        """There is nothing to note."""

    def close(self) -> None:
        """There is nothing to give back."""


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def check_size(size: int) -> None:
    """Refuse what no photo is."""
    if size > MAX_FILE_BYTES:
        raise DecodeError(f"{size:,} bytes; more than {MAX_FILE_BYTES:,} are not read")


def read_file(path: bytes, start: int = 0, size: int | None = None) -> tuple[bytes, os.stat_result]:
    """Read a regular file whole, or a part of it; a pipe put in its place meanwhile is not waited for."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise DecodeError("not a regular file")
            if size is None:
                check_size(found.st_size)
            file.seek(start)
            return file.read(-1 if size is None else size), found
    except OSError as error:
        raise DecodeError(f"cannot be read: {(error.strerror or str(error)).lower()}") from None


class Budget:
    """So many bytes may be held at once, given out in order of number; one alone always gets what it asks for.

    What is given first is used first, so that nobody waits for what comes after.
    """

    def __init__(self, size: int) -> None:
        self._size, self._held, self._next, self._ended = size, 0, 0, False
        self._changed = threading.Condition()

    def take(self, number: int, size: int) -> None:
        """Wait until the bytes of this number may be held; numbers count up from 0."""

        def may() -> bool:
            return self._ended or (number == self._next and (not self._held or self._held + size <= self._size))

        with self._changed:
            self._changed.wait_for(may)
            self._held += size
            self._next += 1
            self._changed.notify_all()

    def give(self, size: int) -> None:
        """Let go of bytes."""
        with self._changed:
            self._held -= size
            self._changed.notify_all()

    def end(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
