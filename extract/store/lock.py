"""One writer at a time: a kernel lock, which ends with its process, and a note that names this process."""

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
"""Seconds to wait for the note of a process that has just taken the lock."""


@contextmanager
def locked(lock: Path, store: Path | str) -> Iterator[None]:
    """Hold `lock` for the block.

    The lock file is never deleted: two runs could then hold two files of one name.

    Raises `BusyError` at once if another process holds it, naming that process, and `OutputError` if the lock
    cannot be made.
    """
    kernel_lock = FileLock(lock, timeout=0, fallback_to_soft=False)
    try:
        kernel_lock.acquire()
    except Timeout:
        raise BusyError(f"{store}: being written by {_holder(lock)}; wait for it, or choose another -o") from None
    except OSError as error:
        raise OutputError(f"{store}: cannot be locked: {error.strerror or error}") from None
    try:
        with suppress(OSError):  # the note is optional; Windows forbids writing to a locked file
            lock.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
        yield
    finally:
        kernel_lock.release()


def _holder(lock: Path) -> str:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(OSError):
            note = lock.read_text(errors="replace").strip()
            if _is_current(note):
                return note
        time.sleep(0.01)
    return "another run"


def _is_current(note: str) -> bool:
    """Tell whether the process of a note may still run; a killed run leaves its note behind."""
    match = re.fullmatch(r"process (\d+) on (.+)", note)
    if match is None:
        return False
    if os.name == "nt" or match[2] != socket.gethostname():
        return True
    try:
        os.kill(int(match[1]), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return True
