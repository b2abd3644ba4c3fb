"""Stores and tables at URLs: worked on as copies of this machine, fetched before and put back after.

Nothing else knows of URLs: stores are written and read, and tables written, at the places that this gives.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from headstart.extract.errors import BusyError, StoreError
from headstart.extract.store.lock import locked
from headstart.extract.store.mirror import Mirror
from headstart.extract.store.remote_files import Found, Objects
from headstart.files.errors import HeadstartError
from headstart.files.urls import is_url, without_scheme

SECONDS_A_PUT = 30.0
"""How often what a run has finished of a folder of shards is put at its URL: the loss of a machine costs no more."""


def local_copy(store: str | os.PathLike[str]) -> Path:
    """Give where a store can be read here: its own place, or for a URL that of a copy, fetched if it is not there yet.

    Raises
    ------
    StoreError
        Where there is none, or it cannot be read.
    """
    text = without_scheme(os.fspath(store))
    if not is_url(text):
        return Path(text)
    mirror = Mirror(Objects(text))
    with mirror.fetching():
        try:
            with locked(mirror.lock, text):
                if not mirror.fetch():
                    raise StoreError(f"{text}: no embedding store is there; run `headstart embed`")
        except BusyError:  # a run of this machine is at work on it: what it has is read
            if not mirror.place.exists():
                raise
    return mirror.place


@contextmanager
def working_copy(output: str | os.PathLike[str], *, is_store: bool = True) -> Iterator[Path]:
    """Give where to write a store or table: its own place, or for a URL that of a copy, put there when the block ends.

    Of a folder of shards, what is finished is put there from time to time, and also when the block ends in an error.

    Raises
    ------
    BusyError
        Where another process of this machine writes it.
    StoreError
        Where another machine has written it meanwhile.
    OutputError
        Where it cannot be written; as far as possible that is found out before the block.
    """
    text = without_scheme(os.fspath(output))
    if not is_url(text):
        yield Path(text)
        return
    mirror = Mirror(Objects(text))
    with ExitStack() as stack:
        with mirror.fetching():
            stack.enter_context(locked(mirror.lock, text))
            mirror.objects.check_writable()
            begun = mirror.fetch() if is_store else mirror.objects.found()
        with named(mirror.place, text), _shards_put(mirror, begun):
            yield mirror.place
        mirror.put(begun)
        if not is_store:
            mirror.forget()


@contextmanager
def named(place: Path, given: str | os.PathLike[str]) -> Iterator[None]:
    """Let the errors of a block that name the place of a copy name what was given too."""
    try:
        yield
    except Exception as error:
        if is_url(given):
            said = f"{os.fspath(given)} (here as {place})"
            error.args = tuple(a.replace(str(place), said, 1) if isinstance(a, str) else a for a in error.args)
        raise


@contextmanager
def _shards_put(mirror: Mirror, begun: dict[str, Found]) -> Iterator[None]:
    """Put the shards of a folder at its URL as they are finished, beside the block and in whatever way it ends.

    What fails here is said, or done, at the end of the run.
    """
    if not mirror.objects.is_folder:
        yield
        return
    ended = threading.Event()

    def put() -> None:
        with suppress(HeadstartError):
            mirror.put(begun)

    def put_on() -> None:
        while not ended.wait(SECONDS_A_PUT):
            put()

    thread = threading.Thread(target=put_on, name="put", daemon=True)
    thread.start()
    try:
        yield
    except BaseException:
        ended.set()
        thread.join()
        put()
        raise
    finally:
        ended.set()
        thread.join()
