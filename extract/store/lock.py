"""One writer at a time: a kernel lock, which ends with its process, and a note that names this process.

Some network file systems have no locks. There, the lock is a file that exists while it is held: two machines still
exclude each other, but a machine that crashes leaves the file behind, and a person has to delete it.
"""

import errno
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, SoftFileLock, Timeout

from headstart.extract.errors import BusyError
from headstart.files.errors import OutputError

PATIENCE = 0.5
"""Seconds to wait for the note of a process that has just taken the lock."""
NO_LOCKS = frozenset({errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS})
"""What file systems without locks answer."""


def acquired(lock: Path, timeout: float = -1) -> AbstractContextManager[object]:
    """Take a lock, or where the file system has none, a file beside it, for the `with` statement that follows.

    Raises `filelock.Timeout` if another process holds it for so many seconds, and `OSError` if it cannot be made.
    """
    try:
        return FileLock(lock, timeout=timeout, fallback_to_soft=False).acquire()
    except (OSError, NotImplementedError) as error:
        if isinstance(error, Timeout) or getattr(error, "errno", errno.ENOSYS) not in NO_LOCKS:
            raise
    return SoftFileLock(_held(lock), timeout=timeout).acquire()


def _held(lock: Path) -> Path:
    return lock.with_name(f"{lock.name}.held")


@contextmanager
def locked(lock: Path, store: Path | str) -> Iterator[None]:
    """Hold `lock` for the block.

    The lock file is never deleted: two runs could then hold two files of one name.

    Raises `BusyError` at once if another process holds it, naming that process, and `OutputError` if the lock
    cannot be made.
    """
    try:
        held = acquired(lock, timeout=0)
    except Timeout as busy:
        if busy.lock_file == str(_held(lock)):
            raise BusyError(
                f"{store}: {_held(lock).name} says that {_holder(lock)} writes it, and this file system has no locks "
                f"to tell whether that still runs; if it does not, delete {_held(lock)}"
            ) from None
        raise BusyError(f"{store}: being written by {_holder(lock)}; wait for it, or choose another -o") from None
    except OSError as error:
        raise OutputError(f"{store}: cannot be locked: {error.strerror or error}") from None
    with held:
        with suppress(OSError):  # the note is optional; Windows forbids writing to a locked file
            lock.write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
        yield


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
