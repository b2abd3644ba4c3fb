"""Images at a URL (s3://, gs://, hdfs://, memory://, by fsspec): listed, and read many at a time."""

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from headstart.extract.errors import DecodeError, SourceError, TryAgainError
from headstart.extract.sources.items import Item, Source
from headstart.extract.sources.names import Layout, is_hidden, is_image_name, is_packed, layout_of
from headstart.extract.sources.range_reads import read_run, runs
from headstart.extract.sources.readers import MAX_FILE_BYTES, Budget, File, Pending, ReadAhead, check_size
from headstart.extract.sources.sidecars import images_left_out, notes_on_sidecars, without_sidecars
from headstart.files.errors import LocationError, one_line
from headstart.files.filesystems import REQUESTS_AT_ONCE, list_files, open_filesystem, version_of, with_retries

BYTES_AHEAD = 256 << 20
VERSION_MARK = "its name contains '?versionId=', which s3fs takes for a version; rename the object"


class RemoteReader:
    """Reads objects below a URL, many at a time, and retries each request that fails."""

    def __init__(self, root: str) -> None:
        self._files, self._root = open_filesystem(root)
        self._budget = Budget(BYTES_AHEAD)
        self._ended = threading.Event()
        self._gone: dict[bytes, Callable[[], DecodeError]] = {}  # archives and tables that cannot be read any more
        self._pool = ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="fetch")

    def fetch(self, items: Iterable[Item]) -> Iterator[Pending]:
        """Start to read each item, and all of a run as soon as its first item is asked for."""
        for run in runs(items):
            if run[0].reason:
                yield partial(self.read, run[0])  # nothing to read ahead
                continue
            reading = self._pool.submit(self._read_ahead, self._budget.turn(), run)
            yield from (ReadAhead(reading, number, self._budget) for number in range(len(run)))

    def _read_ahead(self, turn: int, run: Sequence[Item]) -> list[tuple[File | DecodeError, int]]:
        self._budget.take(turn, sum(item.size for item in run))
        return [(file, item.size) for file, item in zip(read_run(self, run), run, strict=True)]

    def read(self, item: Item) -> File:
        """Read an object, or an image in an archive."""
        check_size(item.size)
        if item.container:
            data = self.part(item.container, item.start, item.start + item.size)
            if len(data) != item.size:
                raise TryAgainError("the archive was changed meanwhile")
        elif item.size:
            data = self._fetch(item.path)
        elif self._size(item.path) == 0:
            data = b""  # of which some servers give no range
        else:  # of unknown length
            data = self._fetch(item.path, start=0, end=MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise DecodeError(f"more than {MAX_FILE_BYTES:,} bytes are not read")
        return data, len(data), item.mtime_ns

    def part(self, path: bytes, start: int, end: int) -> bytes:
        """Read a range of bytes of an object, with one request; none once the object has gone away."""
        if path in self._gone:
            raise self._gone[path]()
        try:
            data = self._fetch(path, start=start, end=end) if start < end else b""
        except DecodeError as error:
            if not self._has_first_byte(path):
                self._gone[path] = partial(type(error), str(error))
            raise
        if len(data) > end - start:
            raise DecodeError("the server does not give parts of a file; download the file, and embed it from there")
        return data

    def _size(self, path: bytes) -> int | None:
        try:
            size: int | None = with_retries(lambda: self._files.size(f"{self._root}/{os.fsdecode(path)}"), self._ended)
        except Exception:  # each file system raises its own; reading tells why
            return None
        return size

    def _has_first_byte(self, path: bytes) -> bool:
        try:
            return bool(self._fetch(path, start=0, end=1))
        except DecodeError:
            return self._ended.is_set()

    def _fetch(self, path: bytes, **part: int) -> bytes:
        name = f"{self._root}/{os.fsdecode(path)}"
        if self._ended.is_set():
            raise TryAgainError("not read: the run has ended")
        try:
            data: bytes = with_retries(lambda: self._files.cat_file(name, **part), self._ended)
        except FileNotFoundError:
            raise DecodeError("no such file") from None
        except Exception as error:  # each file system raises its own
            raise TryAgainError(f"cannot be read: {one_line(error)}") from None
        return data

    def close(self) -> None:
        """Stop reading; no request is retried."""
        self._ended.set()
        self._budget.end()
        self._pool.shutdown(wait=False, cancel_futures=True)


def find_remote_images(url: str) -> Source:
    """List the images below a URL; names mean the same as in a folder.

    Raises `LocationError` if the URL cannot be listed, and `SourceError` if there are no files, and as
    `without_sidecars`.
    """
    files, root = open_filesystem(url)
    try:
        files.invalidate_cache()
        if (is_packed(name := os.fsencode(url)) or is_image_name(name)) and with_retries(lambda: files.isfile(root)):
            entries = {root: with_retries(lambda: files.info(root))}
            url, root = url.rstrip("/").rpartition("/")[0], root.rpartition("/")[0]
        else:
            entries = list_files(files, root)
    except Exception as error:  # each file system raises its own
        raise LocationError(
            f"{url}: cannot be listed: {one_line(error)}; check the URL, and the credentials that its own tools use"
        ) from None
    by_path = {os.fsencode(name[len(root) :].removeprefix("/")): entry for name, entry in entries.items()}
    folders = {path[: at.end() - end] for path in by_path for at in re.finditer(b"/", path) for end in (0, 1)}
    markers = {path for path in folders & by_path.keys() if not by_path[path].get("size")}  # empty objects for folders
    paths = sorted(path for path in by_path.keys() - markers if path and not any(map(is_hidden, path.split(b"/"))))
    if not paths:
        raise SourceError(f"{url}: expected images, found no files at all; give the URL that holds your images")
    layout = layout_of(url, map(_as_path, paths))
    listed = [_item(path, by_path[path], layout) for path in paths]
    if "s3" in files.protocol:
        listed = [replace(item, reason=VERSION_MARK) if b"?versionId=" in item.path else item for item in listed]
    with closing(RemoteReader(url)) as reader:
        items = without_sidecars(listed, reader.fetch, url)
    return Source(url.rstrip("/"), items, [*layout.notes, *notes_on_sidecars(images_left_out(listed, items))])


def exist_at(url: str, paths: Sequence[bytes]) -> list[bool]:
    """Tell which objects there are below a URL; those that cannot be asked about count."""
    files, root = open_filesystem(url)

    def exists(path: bytes) -> bool:
        try:
            return bool(with_retries(lambda: files.info(f"{root}/{os.fsdecode(path)}")))
        except FileNotFoundError:
            return False
        except Exception:  # each file system raises its own
            return True

    with ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="exists") as pool:
        return list(pool.map(exists, paths))


def _as_path(key: bytes) -> bytes:
    """Return the path that a key looks like: some have a slash too many."""
    return re.sub(b"/+", b"/", key).lstrip(b"/")


def _item(path: bytes, entry: dict[str, Any], layout: Layout) -> Item:
    label, split = layout.label_and_split(_as_path(path))
    return Item(path, int(entry.get("size") or 0), version_of(entry), label, split)
