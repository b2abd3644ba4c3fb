"""Bytes of images: what gives them, and that for a folder."""

import os
import stat
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from extract.errors import DecodeError
from extract.source import Item

MAX_FILE_BYTES = 256 << 20
"""A larger file is not read: no photo is, and a film would fill the memory."""

File = tuple[bytes, int, int]
"""An image's bytes, how many they are, and when they were changed (ns since the epoch)."""


class Reader(Protocol):
    """Gives the bytes of items."""

    def begin(self, items: Sequence[Item]) -> Sequence["Future[File] | None"]:
        """Begin to read items that will be wanted soon, where that helps."""

    def read(self, item: Item) -> File:
        """Read an item now, or raise `DecodeError`."""

    def taken(self, item: Item) -> None:
        """Note that what was begun for an item is used, or will not be."""

    def close(self) -> None:
        """Give back what it holds."""


class LocalReader:
    """Reads files below a folder."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self._root = os.fsencode(root)

    def begin(self, items: Sequence[Item]) -> Sequence["Future[File] | None"]:
        """Begin nothing: the system reads ahead by itself."""
        return [None] * len(items)

    def read(self, item: Item) -> File:
        """Read a file."""
        data, found = read_file(os.path.join(self._root, item.path))
        return data, found.st_size, found.st_mtime_ns

    def taken(self, item: Item) -> None:
        """There is nothing to note."""

    def close(self) -> None:
        """There is nothing to give back."""


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_file(path: bytes) -> tuple[bytes, os.stat_result]:
    """Read a regular file whole; a pipe put in its place meanwhile is not waited for."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise DecodeError("not a regular file")
            if found.st_size > MAX_FILE_BYTES:
                raise DecodeError(f"{found.st_size:,} bytes; more than {MAX_FILE_BYTES:,} are not read")
            return file.read(), found
    except OSError as error:
        raise DecodeError(f"cannot be read: {(error.strerror or str(error)).lower()}") from None
