"""One writer at a time: a kernel lock, which dies with its holder, and a note of who holds it."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from extract.errors import BusyError, OutputError


@contextmanager
def locked(lock: Path, store: Path) -> Iterator[None]:
    """Hold `lock` for the block.

    The lock file stays behind, empty of meaning: to delete it would let two runs hold two files of one name.

    Raises
    ------
    BusyError
        At once, where another process holds it, naming that process.
    OutputError
        Where the lock cannot be made.
    """
    kernel_lock = FileLock(lock, timeout=0, fallback_to_soft=False)
    try:
        kernel_lock.acquire()
    except Timeout:
        raise BusyError(f"{store}: being written by {_holder(lock)}; wait for it, or choose another -o") from None
    except OSError as error:
        raise OutputError(f"{store}: cannot be locked: {error.strerror or error}") from None
    try:
        with suppress(OSError):  # a note, no more; Windows allows no writing to a locked file
            lock.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
        yield
    finally:
        kernel_lock.release()


def _holder(lock: Path) -> str:
    try:
        return lock.read_text().strip() or "another run"
    except OSError:
        return "another run"
