"""Stores and tables at URLs: a local copy is downloaded before the work and uploaded after it.

No other module knows URLs: they read and write the local paths that these functions give.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from headstart.extract.errors import BusyError, StoreError
from headstart.extract.store.lock import locked
from headstart.extract.store.mirror import Mirror
from headstart.extract.store.remote_files import RemoteFile, RemoteFiles
from headstart.files.errors import HeadstartError
from headstart.files.urls import is_url, without_scheme

SECONDS_PER_UPLOAD = 30.0
"""How often the finished shards of a folder are uploaded: the loss of a machine costs no more than this."""

SECONDS_TO_STOP = 2.0
"""How long an interrupted run waits for its last upload; the next run makes up for it."""


def local_copy(store: str | os.PathLike[str], *, check: bool = False) -> Path:
    """Return the path at which a store can be read: its own, or for a URL that of an up-to-date copy.

    With `check`, a damaged copy is downloaded again. Raises `StoreError` if there is no store, and `LocationError` if
    it cannot be downloaded.
    """
    text = without_scheme(os.fspath(store))
    if not is_url(text):
        return Path(text)
    mirror = Mirror(RemoteFiles(text))
    with mirror.updating():
        try:
            with locked(mirror.lock, text):
                there = mirror.update(check=check)
                path = mirror.readable() if there else None
        except BusyError:  # a run of this machine writes the copy: read what is published
            if (path := mirror.readable()) is None:
                raise
    if path is None:
        raise StoreError(f"{text}: there is no embedding store; run `headstart embed`")
    return path


@contextmanager
def working_copy(output: str | os.PathLike[str], *, is_store: bool = True) -> Iterator[Path]:
    """Give the path at which to write a store or table: its own, or for a URL that of a copy, uploaded after the block.

    The finished shards of a folder are uploaded from time to time, and also if the block raises.

    Raises `BusyError` if another process of this machine writes it, and `StoreError` if another machine has written
    it during the block, and `OutputError` if it cannot be written; as far as possible this is found before the
    block.
    """
    text = without_scheme(os.fspath(output))
    if not is_url(text):
        yield Path(os.path.realpath(text) if os.path.islink(text) else text)  # renaming would replace the link
        return
    mirror = Mirror(RemoteFiles(text))
    with ExitStack() as stack:
        with mirror.updating():
            stack.enter_context(locked(mirror.lock, text))
            mirror.remote.check_writable()
            begun = mirror.update(check=True) if is_store else mirror.remote.list()
            if is_store:
                mirror.begin()
        with naming_url(mirror.path, text), _uploading(mirror, begun):
            yield mirror.path
        mirror.upload(begun)
        if not is_store:
            mirror.forget()


@contextmanager
def naming_url(path: Path, url: str | os.PathLike[str]) -> Iterator[None]:
    """Add the URL to errors of the block that name the path of its copy."""
    try:
        yield
    except Exception as error:
        if is_url(url):
            both = f"{os.fspath(url)} (here as {path})"
            error.args = tuple(a.replace(str(path), both, 1) if isinstance(a, str) else a for a in error.args)
        raise


@contextmanager
def _uploading(mirror: Mirror, begun: dict[str, RemoteFile]) -> Iterator[None]:
    """Upload the finished shards of a folder during the block, and once more if it raises.

    What fails here is tried, and reported, again at the end of the run.
    """
    if not mirror.remote.is_folder:
        yield
        return
    ended = threading.Event()

    def upload() -> None:
        with suppress(HeadstartError):
            mirror.upload(begun)

    def upload_regularly() -> None:
        while not ended.wait(SECONDS_PER_UPLOAD):
            upload()
        if has_failed:
            upload()

    patience = None
    thread = threading.Thread(target=upload_regularly, name="upload", daemon=True)
    has_failed = True
    thread.start()
    try:
        yield
        has_failed = False
    except KeyboardInterrupt:
        patience = SECONDS_TO_STOP
        raise
    finally:
        ended.set()
        thread.join(patience)
