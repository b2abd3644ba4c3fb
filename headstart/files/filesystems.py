"""File systems behind URLs (s3://, gs://, hdfs://, memory://), opened by fsspec; every request is retried."""

import hashlib
import os
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from headstart.files.errors import LocationError, MissingExtraError, one_line
from headstart.files.urls import is_url, without_scheme

REQUESTS_AT_ONCE = 32
TRIES, FIRST_WAIT, LONGEST_WAIT = 4, 0.2, 10.0
"""A failed request is retried after a wait that doubles each time, give or take a random half. (Most clients have
retried a few times themselves by then.)"""


LATEST_TIME = 9.2e18
"""In ns since the epoch, just below what int64 holds: the year 2261."""


def list_files(files: Any, root: str) -> dict[str, dict[str, Any]]:
    """List all files below a folder; a folder that cannot be listed raises and never counts as empty."""
    from fsspec import AbstractFileSystem
    from fsspec.asyn import AsyncFileSystem

    if isinstance(files, AsyncFileSystem):
        is_general = type(files)._find is AsyncFileSystem._find
    else:
        is_general = type(files).find is AbstractFileSystem.find
    found: dict[str, dict[str, Any]] = {}
    if not is_general:
        found |= with_retries(lambda: files.find(root, detail=True))
        return found
    pending = [root]  # fsspec's own walk skips folders that it cannot list
    while pending:
        folder = pending.pop()
        for entry in with_retries(partial(files.ls, folder, detail=True)):
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
        If it cannot be read.
    LocationError, MissingExtraError
        As `open_filesystem`.
    """
    files, path = open_filesystem(url)
    try:
        return bytes(with_retries(lambda: files.cat_file(path)))
    except FileNotFoundError:
        raise
    except Exception as error:  # each file system raises its own
        raise OSError(one_line(error)) from None


def read_bytes(location: str | os.PathLike[str]) -> bytes:
    """Read a file at a path or URL.

    Raises
    ------
    OSError, LocationError, MissingExtraError
        As `read_url`.
    """
    text = without_scheme(os.fspath(location))
    return read_url(text) if is_url(text) else Path(text).read_bytes()


def with_retries(request: Callable[[], Any], ended: threading.Event | None = None) -> Any:
    """Repeat a request until it succeeds, fails for good or `TRIES` times, or `ended` is set."""
    ended = ended or threading.Event()
    for number in range(1, TRIES):
        try:
            return _interruptible(request)
        except (FileNotFoundError, PermissionError, NotADirectoryError, ImportError):
            raise
        except Exception:
            wait = min(FIRST_WAIT * 2**number, LONGEST_WAIT)
            if ended.wait(wait * random.uniform(0.5, 1.5)):  # noqa: S311  not a secret
                raise
    return _interruptible(request)


def _interruptible(request: Callable[[], Any]) -> Any:
    """Make a request in another thread than the main one: a client written in C would keep signals waiting."""
    if threading.current_thread() is not threading.main_thread():
        return request()
    result: Future[Any] = Future()

    def run() -> None:
        try:
            result.set_result(request())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, name="request", daemon=True).start()
    return result.result()


def open_filesystem(url: str) -> tuple[Any, str]:
    """Return the file system of a URL and the path in it.

    Raises `LocationError` if the URL contains a password, or no file system opens it, and `MissingExtraError` if
    the package for this kind of URL is not installed.
    """
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise LocationError(
            f"{url.partition('://')[0]}://: expected a URL without a name or password in it; let the store's own tools "
            "find the credentials"
        )
    try:
        from fsspec.core import url_to_fs

        files, root = url_to_fs(url)
    except ImportError as error:
        raise MissingExtraError(
            f'{url}: needs a package that is not installed ({one_line(error)}): pip install "headstart[remote]" for s3'
        ) from None
    except Exception as error:
        raise LocationError(f"{url}: cannot be opened: {one_line(error)}") from None
    return files, root.rstrip("/")


def version_of(entry: dict[str, Any]) -> int:
    """Return a number that changes with an object: its modification time, or a digest of its metadata."""
    for name in ("LastModified", "last_modified", "mtime", "updated"):
        value = entry.get(name)
        if isinstance(value, datetime):
            value = value.timestamp()
        if isinstance(value, int | float):
            return int(max(-LATEST_TIME, min(value * 1e9, LATEST_TIME)))
    metadata = repr(sorted((name, repr(value)) for name, value in entry.items() if "access" not in name.lower()))
    return int.from_bytes(hashlib.sha256(metadata.encode("utf-8", "surrogatepass")).digest()[:7], "big")
