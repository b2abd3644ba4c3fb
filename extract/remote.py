"""Images behind a URL (s3://, gs://, hdfs://, memory://, by fsspec): found, and read many at a time."""

import hashlib
import os
import random
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from itertools import count
from typing import Any

from extract.errors import DecodeError, SourceError, TryAgainError, one_line
from extract.neighbours import one_of, read_run, runs
from extract.packed import is_packed
from extract.reading import MAX_FILE_BYTES, Begun, Budget, File, LocalReader, Reader, check_size
from extract.source import Item, Source, has_splits_at, is_hidden, place_of

REQUESTS_AT_ONCE, BYTES_AHEAD = 32, 256 << 20
TRIES, FIRST_WAIT, LONGEST_WAIT = 4, 0.2, 10.0
"""A request that fails is made again after waiting, twice as long each time, give or take a half by chance. (The tools
of most stores have tried a few times themselves by then.)"""


def is_url(place: str | os.PathLike[str]) -> bool:
    """Tell a URL of another place from a path."""
    return "://" in os.fspath(place)


def without_scheme(url: str) -> str:
    """Give the path that a URL of this machine's own files means, and any other URL as it is."""
    scheme, _, path = url.partition("://")
    return path if scheme in ("file", "local") else url


def open_reader(root: str | os.PathLike[str]) -> Reader:
    """Give what reads below a folder or URL.

    Raises
    ------
    SourceError
        Where fsspec, or what it needs for this kind of URL, is not installed.
    """
    from extract.image_rows import RowReader

    return RowReader(RemoteReader(os.fspath(root)) if is_url(root) else LocalReader(root))


class RemoteReader:
    """Reads objects below a URL, many at a time, each again and again while the other side is out of order.

    Neighbours in an archive are asked for together, and one by one where that fails.
    """

    def __init__(self, root: str) -> None:
        self._files, self._root = opened(root)
        self._budget, self._numbers = Budget(BYTES_AHEAD), count()
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="fetch")

    def begin(self, items: Iterable[Item]) -> Iterator[Begun | None]:
        """Begin to read items, and all of a run as soon as its first is asked for."""
        for run in runs(items):
            if run[0].reason:
                yield None
                continue
            begun = self._pool.submit(self._read_ahead, next(self._numbers), run)
            yield from (partial(one_of, begun, place) for place in range(len(run)))

    def _read_ahead(self, number: int, run: Sequence[Item]) -> list[File | DecodeError]:
        self._budget.take(number, sum(item.size for item in run))
        return read_run(self, run)

    def taken(self, item: Item) -> None:
        """Note that what was begun for an item is used."""
        self._budget.give(item.size)

    def read(self, item: Item) -> File:
        """Read an object, or the part of an archive that is one."""
        check_size(item.size)
        if item.container:
            data = self.part(item.container, item.start, item.start + item.size)
            if len(data) != item.size:
                raise TryAgainError("the archive was changed meanwhile")
        elif item.size:
            data = self._fetch(item.path)
        else:  # nobody said how long it is
            data = self._fetch(item.path, start=0, end=MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise DecodeError(f"more than {MAX_FILE_BYTES:,} bytes are not read")
        return data, len(data), item.mtime_ns

    def part(self, path: bytes, start: int, end: int) -> bytes:
        """Read some bytes of an object, with one request."""
        return self._fetch(path, start=start, end=end) if start < end else b""

    def _fetch(self, path: bytes, **part: int) -> bytes:
        name = f"{self._root}/{os.fsdecode(path)}"
        if self._ended.is_set():
            raise TryAgainError("not read: the run has ended")
        try:
            data: bytes = again_and_again(lambda: self._files.cat_file(name, **part), self._ended)
        except FileNotFoundError:
            raise DecodeError("no such file") from None
        except Exception as error:  # each kind of store raises its own
            raise TryAgainError(f"cannot be read: {one_line(error)}") from None
        return data

    def close(self) -> None:
        """End its threads; what is under way is not begun again."""
        self._ended.set()
        self._budget.end()
        self._pool.shutdown(wait=False, cancel_futures=True)


def find_remote_images(url: str) -> Source:
    """List the images below a URL; names are read as those in a folder are.

    Raises
    ------
    SourceError
        Where it cannot be listed, or nothing is there.
    """
    files, root = opened(url)
    try:
        files.invalidate_cache()
        if is_packed(os.fsencode(url)) and again_and_again(lambda: files.isfile(root)):
            url, (root, _, name) = url.rstrip("/").rpartition("/")[0], root.rpartition("/")
            found = {f"{root}/{name}": again_and_again(lambda: files.info(f"{root}/{name}"))}
        else:
            found = listed(files, root)
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


def listed(files: Any, root: str) -> dict[str, dict[str, Any]]:
    """List everything below a place; what cannot be listed is an error, and never an empty folder."""
    from fsspec import AbstractFileSystem
    from fsspec.asyn import AsyncFileSystem

    if isinstance(files, AsyncFileSystem):
        is_general = type(files)._find is AsyncFileSystem._find
    else:
        is_general = type(files).find is AbstractFileSystem.find
    found: dict[str, dict[str, Any]] = {}
    if not is_general:
        found |= again_and_again(lambda: files.find(root, detail=True))
        return found
    pending = [root]  # fsspec's own walk passes over what it cannot list
    while pending:
        folder = pending.pop()
        for entry in again_and_again(partial(files.ls, folder, detail=True)):
            if entry["type"] == "directory":
                pending.append(entry["name"])
            elif entry["name"] != folder:
                found[entry["name"]] = entry
    return found


def read_url(url: str) -> bytes:
    """Read a file at a URL.

    Raises
    ------
    OSError
        Where it cannot be read.
    SourceError
        As `opened`.
    """
    files, path = opened(url)
    try:
        return bytes(again_and_again(lambda: files.cat_file(path)))
    except FileNotFoundError:
        raise
    except Exception as error:  # each kind of store raises its own
        raise OSError(one_line(error)) from None


def again_and_again(request: Callable[[], Any], ended: threading.Event | None = None) -> Any:
    """Make a request until it succeeds, is refused for good, has failed `TRIES` times, or nobody waits for it."""
    ended = ended or threading.Event()
    for number in range(1, TRIES):
        try:
            return request()
        except (FileNotFoundError, PermissionError, NotADirectoryError, ImportError):
            raise
        except Exception:
            wait = min(FIRST_WAIT * 2**number, LONGEST_WAIT)
            if ended.wait(wait * random.uniform(0.5, 1.5)):  # noqa: S311  not a secret
                raise
    return request()


def opened(url: str) -> tuple[Any, str]:
    """Give the file system of a URL, and the path there.

    Raises
    ------
    SourceError
        Where there is a password in it, or what it needs is not installed.
    """
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise SourceError(
            f"{url.partition('://')[0]}://: expected a URL without a name or password in it; let the store's own tools "
            "find the credentials"
        )
    try:
        from fsspec.core import url_to_fs

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
    return Item(path, int(entry.get("size") or 0), changed(entry), label, split)


def changed(entry: dict[str, Any]) -> int:
    """Give a number that changes with an object: when it was changed, or a digest of all that is said of it."""
    for name in ("LastModified", "last_modified", "mtime", "updated"):
        value = entry.get(name)
        if isinstance(value, datetime):
            return int(value.timestamp() * 1e9)
        if isinstance(value, int | float):
            return int(value * 1e9)
    said = repr(sorted((name, repr(value)) for name, value in entry.items() if "access" not in name.lower()))
    return int.from_bytes(hashlib.sha256(said.encode("utf-8", "surrogatepass")).digest()[:7], "big")
