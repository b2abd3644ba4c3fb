"""One writer at a time: a kernel lock, which dies with its holder, and a note of who holds it."""

import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from headstart.extract.errors import BusyError
from headstart.files.errors import OutputError

PATIENCE = 0.5
"""Seconds that a run which finds the lock taken waits to learn by whom."""


@contextmanager
def locked(lock: Path, store: Path | str) -> Iterator[None]:
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
    """Read who holds the lock; a holder that has only just taken it may not have noted it yet."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(OSError):
            note = lock.read_text(errors="replace").strip()
            if _is_of_the_living(note):
                return note
        time.sleep(0.01)
    return "another run"


def _is_of_the_living(note: str) -> bool:
    """Tell whether a note is not what a killed run left; only where its process could be looked up."""
    found = re.fullmatch(r"process (\d+) on (.+)", note)
    if found is None:
        return False
    if os.name == "nt" or found[2] != socket.gethostname():
        return True
    try:
        os.kill(int(found[1]), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
