"""Bytes of images, from a folder or from what lies behind a URL (s3://, gs://, hdfs://, memory://, by fsspec)."""

import hashlib
import os
import random
import re
import stat
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any, Protocol

from extract.errors import DecodeError, SourceError, TryAgainError, one_line
from extract.source import Item, Source, has_splits_at, is_hidden, place_of

MAX_FILE_BYTES = 256 << 20
"""A larger file is not read: no photo is, and a film would fill the memory."""
REQUESTS_AT_ONCE = 32
TRIES, FIRST_WAIT, LONGEST_WAIT = 4, 0.2, 10.0
"""A request that fails is made again after waiting, twice as long each time, give or take a half by chance. (The tools
of most stores have tried a few times themselves by then.)"""

File = tuple[bytes, int, int]
"""An image's bytes, how many they are, and when they were changed (ns since the epoch)."""


class Reader(Protocol):
    """Gives the bytes of items."""

    def begin(self, items: Sequence[Item]) -> Sequence["Future[File] | None"]:
        """Begin to read items that will be wanted soon, where that helps."""

    def read(self, item: Item) -> File:
        """Read an item now, or raise `DecodeError`."""

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

    def close(self) -> None:
        """There is nothing to give back."""


class RemoteReader:
    """Reads objects below a URL, many at a time, each again and again while the other side is out of order."""

    def __init__(self, root: str) -> None:
        self._files, self._root = _opened(root)
        self._pool = ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="fetch")

    def begin(self, items: Sequence[Item]) -> Sequence["Future[File] | None"]:
        """Begin to read items."""
        return [None if item.reason else self._pool.submit(self.read, item) for item in items]

    def read(self, item: Item) -> File:
        """Read an object."""
        if item.size > MAX_FILE_BYTES:
            raise DecodeError(f"{item.size:,} bytes; more than {MAX_FILE_BYTES:,} are not read")
        name = f"{self._root}/{os.fsdecode(item.path)}"
        try:
            data: bytes = again_and_again(lambda: self._files.cat_file(name))
        except FileNotFoundError:
            raise DecodeError("no such file") from None
        except Exception as error:  # each kind of store raises its own
            raise TryAgainError(f"cannot be read: {one_line(error)}") from None
        return data, len(data), item.mtime_ns

    def close(self) -> None:
        """End its threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def open_reader(root: str | os.PathLike[str]) -> Reader:
    """Give what reads below a folder or URL.

    Raises
    ------
    SourceError
        Where fsspec, or what it needs for this kind of URL, is not installed.
    """
    return RemoteReader(os.fspath(root)) if is_url(root) else LocalReader(root)


def is_url(place: str | os.PathLike[str]) -> bool:
    """Tell a URL from a path."""
    return "://" in os.fspath(place)


def find_remote_images(url: str) -> Source:
    """List the images below a URL; names are read as those in a folder are.

    Raises
    ------
    SourceError
        Where it cannot be listed, or nothing is there.
    """
    files, root = _opened(url)
    try:
        found = again_and_again(lambda: files.find(root, detail=True))
    except Exception as error:  # each kind of store raises its own
        raise SourceError(
            f"{url}: cannot be listed: {one_line(error)}; credentials are taken from where its own tools find them"
        ) from None
    paths = {os.fsencode(name[len(root) :].strip("/")): entry for name, entry in found.items()}
    folders = {path[: at.start()] for path in paths for at in re.finditer(b"/", path)}  # some leave an object for each
    shown = sorted(path for path in paths.keys() - folders if path and not any(map(is_hidden, path.split(b"/"))))
    if not shown:
        raise SourceError(f"{url}: expected images, found no files at all; give the URL that holds your images")
    has_splits = has_splits_at(url, shown)
    return Source(url.rstrip("/"), [_item(path, paths[path], has_splits) for path in shown])


def again_and_again(request: Callable[[], Any]) -> Any:
    """Make a request until it succeeds, is refused for good, or has failed `TRIES` times."""
    for number in range(1, TRIES):
        try:
            return request()
        except (FileNotFoundError, PermissionError, NotADirectoryError, ImportError):
            raise
        except Exception:
            wait = min(FIRST_WAIT * 2**number, LONGEST_WAIT)
        time.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311  not a secret
    return request()


def _opened(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs  # type: ignore[import-untyped]

        files, root = url_to_fs(url)
    except ImportError as error:
        raise SourceError(
            f'{url}: needs a package that is not installed ({one_line(error)}): pip install "headstart[remote]" for s3'
        ) from None
    except Exception as error:
        raise SourceError(f"{url}: cannot be opened: {one_line(error)}") from None
    return files, root.rstrip("/")


def _item(path: bytes, entry: dict[str, Any], has_splits: bool) -> Item:
    label, split = place_of(path, has_splits)
    return Item(path, int(entry.get("size") or 0), _changed(entry), label, split)


def _changed(entry: dict[str, Any]) -> int:
    """Give a number that changes with an object: when it was changed, or where nobody says that, its tag's digest."""
    for name in ("LastModified", "last_modified", "mtime", "updated", "created"):
        value = entry.get(name)
        if isinstance(value, datetime):
            return int(value.timestamp() * 1e9)
        if isinstance(value, int | float):
            return int(value * 1e9)
    tag = str(entry.get("ETag") or entry.get("etag") or value or "")
    return int.from_bytes(hashlib.sha256(tag.encode()).digest()[:7], "big")


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
