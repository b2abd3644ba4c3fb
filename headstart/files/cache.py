"""The user's cache, for copies of files at URLs, published weights, and default backbones."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from filelock import FileLock

from headstart.files.errors import OutputError


def cache_folder() -> Path:
    """Return the folder of the cache, which may not exist yet: ``HEADSTART_CACHE``, or ``headstart`` in the user's.

    Raises
    ------
    OutputError
        If there is neither.
    """
    if chosen := os.environ.get("HEADSTART_CACHE"):
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headstart"
    except RuntimeError:  # no HOME, and a user without an entry in the system's list, as in containers
        raise OutputError(
            "weights, and copies of files at URLs, are kept in a cache, and this user has no home folder; set "
            "HEADSTART_CACHE to a folder"
        ) from None


def cached(path: Path, is_whole: Callable[[Path], bool], make: Callable[[Path], None]) -> Path:
    """Return the path of a file of the cache, after making it if it is missing or not whole.

    Of several processes one makes the file, and the others wait for it.

    Parameters
    ----------
    path
        Where it belongs.
    is_whole
        Tells whether an existing file is what it should be.
    make
        Writes the file atomically.

    Raises
    ------
    OutputError
        If the cache cannot be written.
    """
    if path.is_file() and is_whole(path):  # also in a cache that cannot be written
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path.with_name(f".{path.name}.lock")):
            if not (path.is_file() and is_whole(path)):
                make(path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written to the cache ({error.strerror or error}); free some space, or set "
            "HEADSTART_CACHE to another folder"
        ) from None
    return path


def _lock(path: Path) -> AbstractContextManager[object]:
    try:
        return FileLock(path, fallback_to_soft=False).acquire()
    except NotImplementedError:  # a file system without locks: both make the file, and the last one stays
        return nullcontext()
