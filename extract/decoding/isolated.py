"""Decodes in a process of its own, so that bytes which crash a decoder, or take all memory, cost one image.

The process starts with the first image and is kept; the kernel enforces `Limits` on it. If it dies, a new process tries
the image once more, and then the image has failed. A crash is the image's fault; if the process was killed from
outside, as the kernel does when memory is short, the next run reads the image again.
"""

import math
import mmap
import os
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from headstart.extract.decoding.exif import UNREADABLE
from headstart.extract.decoding.worker import DECODE, DESCRIBE, FAILED, KINDS, NO_MEMORY, REPLY, REQUEST, TRY_AGAIN
from headstart.extract.errors import DecodeError, IsolationError, OutOfMemoryError, TryAgainError
from headstart.extract.metadata import Metadata
from headstart.files.resize import ResizeRule

START_SECONDS = 60.0
_CRASHES = frozenset({signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGSYS})
_KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(4 << 20), "MALLOC_TRIM_THRESHOLD_": str(16 << 20)}
"""For glibc: a process keeps the memory of one photo for the next. To have every page of it mapped anew took a third
longer to decode."""
_ADVICE = "use --no-isolate to decode in this process"


class _WorkerDied(Exception):
    """The process has ended; `fault` is what this means for the image."""

    def __init__(self, fault: DecodeError, is_certain: bool = False) -> None:
        self.fault, self.is_certain = fault, is_certain


@dataclass(frozen=True)
class Limits:
    """Limits per image.

    Attributes
    ----------
    memory
        Bytes beyond those of the process at its start. Enough for 100 megapixels of every format (JPEG 2000 takes most,
        19 bytes per pixel).
    seconds
        Of processor time, plus one second per megabyte of the file.
    patience
        Seconds to wait for a process that does not answer (it was stopped, or the machine is overloaded); at least the
        processor time that the image may take.
    """

    memory: int = 1 << 31
    seconds: float = 10.0
    patience: float = 60.0


class IsolatedDecoder:
    """Decodes to the same pixels as `decode`, in another process; for one thread at a time.

    Parameters
    ----------
    threads
        Where the process is started; by default by the thread that decodes. On Linux it ends with that thread.
    """

    def __init__(self, rule: ResizeRule, limits: Limits | None = None, threads: Executor | None = None) -> None:
        self._rule, self._limits, self._threads = rule, limits or Limits(), threads
        self._process: _Process | None = None
        self._descriptor = _shared_memory(math.prod(rule.shape))
        self._pixels = np.frombuffer(mmap.mmap(self._descriptor, math.prod(rule.shape)), np.uint8).reshape(rule.shape)

    @property
    def pid(self) -> int | None:
        """Number of the process, if one is running."""
        return self._process.pid if self._process else None

    def decode(self, data: bytes, notes: list[str] | None = None) -> NDArray[np.uint8]:
        """Decode one image; `notes` receives what is odd about it.

        Returns
        -------
        uint8, (H, W, 3), RGB, 0-255, valid until the next call.

        Raises
        ------
        DecodeError
            With the reason, whatever is wrong with the bytes, including a crash of the process.
        IsolationError
            If no process can be started.
        """
        kind, text = self._answer(DECODE, data)
        if kind == NO_MEMORY:
            raise OutOfMemoryError(f"{text} ({self._limits.memory >> 20:,} MB were allowed)")
        if kind in (FAILED, TRY_AGAIN):
            raise (DecodeError if kind == FAILED else TryAgainError)(text)
        if notes is not None:
            notes += text.splitlines()
        return self._pixels

    def metadata(self, data: bytes, notes: list[str]) -> Metadata:
        """Read the metadata of one image (see `read_metadata`), none if the process dies of them."""
        try:
            _, text = self._answer(DESCRIBE, data)
            line, *more = text.split("\n")
            metadata = Metadata.from_line(line)
        except (DecodeError, ValueError):
            notes.append(UNREADABLE)
            return Metadata()
        notes += more
        return metadata

    def close(self) -> None:
        """End the process."""
        self._end()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _answer(self, task: int, data: bytes) -> tuple[int, str]:
        try:
            return self._answer_once(task, data)
        except _WorkerDied as death:
            if death.is_certain:
                raise death.fault from None
        try:  # the kernel may have killed it for the memory of others
            return self._answer_once(task, data)
        except _WorkerDied as death:
            raise death.fault from None

    def _answer_once(self, task: int, data: bytes) -> tuple[int, str]:
        if not self._process:
            if self._descriptor < 0:  # a thread that outlives its run starts nothing
                raise IsolationError("the decoder is closed")
            try:
                self._process = self._started()
            except _KilledError:  # the kernel may have killed it for the memory of others
                self._process = self._started()
        try:
            return self._process.answer(task, data)
        except _WorkerDied:
            self._end()
            raise

    def _started(self) -> "_Process":
        arguments = self._descriptor, self._rule, self._limits
        return self._threads.submit(_Process, *arguments).result() if self._threads else _Process(*arguments)

    def _end(self) -> None:
        if self._process:
            self._process.end()
            self._process = None


class _KilledError(IsolationError):
    """The process was killed while it started."""


class _Process:
    """A running process of `headstart.extract.decoding.worker`."""

    def __init__(self, descriptor: int, rule: ResizeRule, limits: Limits) -> None:
        self._limits = limits
        self._connection, theirs = socket.socketpair()
        arguments = descriptor, rule.height, rule.width, rule.fit, rule.grey_bits, limits.memory, limits.seconds
        try:
            with theirs:
                self._popen = subprocess.Popen(  # noqa: S603  (this Python, a module of ours, numbers)
                    [sys.executable, "-P", "-m", "headstart.extract.decoding.worker", *map(str, arguments)],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=(descriptor,),
                    env=_environment(),
                    process_group=0,  # a terminal sends Ctrl-C to a whole group
                )
        except (OSError, TypeError) as error:
            self._connection.close()
            raise IsolationError(f"the process that decodes cannot be started: {error}; {_ADVICE}") from None
        self.pid = self._popen.pid
        self._await_start(cast(IO[bytes], self._popen.stderr))

    def _await_start(self, stderr: IO[bytes]) -> None:
        self._connection.settimeout(START_SECONDS)
        with stderr:
            try:
                _read_reply(self._connection)
            except (OSError, EOFError):
                code = self.end()
                lines = stderr.read().decode("utf-8", "replace").split("\n")
                why = next((line for line in reversed(lines) if line.strip()), f"ended with code {code}")
                kind = _KilledError if -code == signal.SIGKILL else IsolationError
                raise kind(f"the process that decodes does not start: {why[:300]}; {_ADVICE}") from None

    def answer(self, task: int, data: bytes) -> tuple[int, str]:
        """Have one image decoded or described; give the kind of the reply, and its text."""
        patience = max(self._limits.patience, self._limits.seconds + len(data) / 1e6)  # see `Limits.seconds`
        self._connection.settimeout(patience)
        try:
            _send(self._connection, REQUEST.pack(task, len(data)), data)
            return _read_reply(self._connection)
        except TimeoutError:
            raise _WorkerDied(TryAgainError(f"no answer from the decoder for {patience:g} s")) from None
        except (OSError, EOFError):
            raise self._death() from None

    def _death(self) -> _WorkerDied:
        try:
            code = self._popen.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.end()
            return _WorkerDied(DecodeError("the decoder crashed (its reply makes no sense)"))
        if -code == signal.SIGXCPU:
            fault = DecodeError(f"it takes more than {self._limits.seconds:g} s of processor time to decode")
            return _WorkerDied(fault, is_certain=True)
        if -code == signal.SIGKILL:
            return _WorkerDied(OutOfMemoryError("the decoder was killed, probably for lack of memory"))
        if code == NO_MEMORY:
            return _WorkerDied(OutOfMemoryError("not enough memory to read it"))
        if -code in _CRASHES:
            return _WorkerDied(DecodeError(f"the decoder crashed ({signal.Signals(-code).name})"))
        if code >= 0:
            return _WorkerDied(DecodeError(f"the decoder crashed (it ended with code {code})"))
        return _WorkerDied(TryAgainError(f"the decoder was ended from outside (signal {-code})"))

    def end(self) -> int:
        """End the process, if it still runs, and give its exit code."""
        self._connection.close()
        self._popen.kill()
        return self._popen.wait()


def _shared_memory(size: int) -> int:
    """Return the descriptor of anonymous memory."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("headstart-pixels")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


def _environment() -> dict[str, str]:
    """Let the process import the same modules, and start no threads for linear algebra."""
    ours = str(Path(sys.modules["headstart"].__path__[0]).parent)
    return (
        _KEPT_MEMORY
        | os.environ
        | {"PYTHONPATH": os.pathsep.join([*filter(None, sys.path), ours]), "OPENBLAS_NUM_THREADS": "1"}
    )


def _send(connection: socket.socket, head: bytes, data: bytes) -> None:
    sent = connection.sendmsg([head, data])  # in one call, so that the other process wakes once
    if sent < len(head) + len(data):
        connection.sendall(memoryview(head + data)[sent:])


def _read_reply(connection: socket.socket) -> tuple[int, str]:
    kind, size = REPLY.unpack(_read(connection, REPLY.size))
    if kind not in KINDS:  # the memory of the process was overwritten
        raise EOFError
    return kind, _read(connection, size).decode("utf-8", "replace")


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data
