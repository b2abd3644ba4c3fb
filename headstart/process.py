"""The process of the command line: its standard streams, the encoding of names, and what libraries write at home."""

import errno
import io
import os
import sys
import threading
import time
from typing import Any, NoReturn

import typer

from headstart.files.cores import cores

SECONDS_TO_LEAVE = 1.0


def prepare() -> None:
    """Make the process independent of how it was started; it may replace itself once, in UTF-8 mode."""
    for descriptor in range(3):  # a closed one would be taken by the next file that is opened, a store perhaps
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = _Stdout.over(sys.stdout, 1)
    sys.stderr = _Stderr.over(sys.stderr, 2)
    os.environ.setdefault("KERAS_HOME", os.devnull)  # Keras writes ~/.keras/keras.json, and reads settings from it
    _limit_threads()
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        _restart_in_utf8()


def leave(code: int) -> None:
    """After a signal, end the process even if threads wait for an object store that does not answer."""
    end = time.monotonic() + SECONDS_TO_LEAVE
    threads = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    for thread in threads:
        if not thread.daemon:
            thread.join(max(0.0, end - time.monotonic()))
    if any(thread.is_alive() and not thread.daemon for thread in threads):
        sys.stdout.flush()
        os._exit(code)


def _limit_threads() -> None:
    """Where the system allows no thread per core, ask for one: OpenBLAS would interrupt the process (SIGINT)."""
    started, end = [], threading.Event()
    try:
        for _ in range(cores()):
            thread = threading.Thread(target=end.wait)
            thread.start()
            started.append(thread)
    except RuntimeError:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
    finally:
        end.set()
        for thread in started:
            thread.join()


def _restart_in_utf8() -> NoReturn:
    """Start again with names in UTF-8, as every file stores them; the terminal keeps its encoding."""
    os.environ["PYTHONUTF8"] = "1"  # for child processes
    os.environ.setdefault("PYTHONIOENCODING", f"{sys.stdout.encoding}:backslashreplace")
    os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606  this very command


class _Stream(io.TextIOWrapper):
    """A standard stream that shows characters which the terminal lacks as escapes, and survives a full disk."""

    @classmethod
    def over(cls, stream: Any, descriptor: int) -> "_Stream":
        """Take the place of a stream, which is None if its descriptor was closed."""
        if stream is None:
            stream = io.TextIOWrapper(os.fdopen(descriptor, "wb", closefd=False))
        if not isinstance(stream, io.TextIOWrapper):  # replaced by a test, or a notebook
            return stream  # type: ignore[no-any-return]
        encoding = stream.encoding
        return cls(stream.detach(), encoding, "backslashreplace", line_buffering=True)

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())  # what is left in the buffer goes there
        os.close(null)


class _Stderr(_Stream):
    """Messages that nobody can read stop no work."""


class _Stdout(_Stream):
    """A result that cannot be printed is a failure; a reader that has closed the pipe has seen enough."""

    def _give_up(self, error: OSError) -> None:
        super()._give_up(error)
        if error.errno != errno.EPIPE:
            sys.stderr.write(f"error: standard output: cannot be written: {(error.strerror or str(error)).lower()}\n")
        raise typer.Exit(1)
