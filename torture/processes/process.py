"""Start, stop and wait for real processes of the product."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ONE_CORE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
PATIENCE = 120.0
"""Seconds until a process counts as hanging."""


class HangError(Exception):
    """A process did not end."""


@dataclass(frozen=True)
class Done:
    """How a process ended: its exit code (minus the signal that killed it) and what it printed."""

    code: int
    out: str
    err: str

    @property
    def is_clear_error(self) -> bool:
        """Whether the exit code is 1 and stderr is one line that begins with ``error:``."""
        lines = self.err.splitlines()
        return self.code == 1 and len(lines) == 1 and lines[0].startswith("error: ")

    def __str__(self) -> str:
        return f"code {self.code}, stderr {self.err[-600:]!r}"


class Zygote:
    """A process that forks commands (see `torture.processes.zygote`), one at a time; a context manager.

    Parameters
    ----------
    folder
        Folder for the output of commands.
    training
        Whether to import scikit-learn beforehand, which takes seconds.
    """

    def __init__(self, folder: Path, training: bool = False) -> None:
        self._folder, self._training = folder, training
        self.process = 0
        self._is_running = False

    def __enter__(self) -> "Zygote":
        command = [sys.executable, "-m", "torture.processes.zygote", *(["--training"] if self._training else [])]
        environment = os.environ | ONE_CORE
        self._zygote = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_running:
            self.send(signal.SIGKILL)
            self.wait()
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.close()
        self._zygote.wait(PATIENCE)
        self._zygote.stdout.close()

    def start(
        self,
        *arguments: object,
        cwd: Path | None = None,
        call: str = "",
        settings: Mapping[str, Any] | None = None,
        seam: Mapping[str, Any] | None = None,
        breakage: str = "",
    ) -> None:
        """Start a command, or `call` a function by its name.

        Parameters
        ----------
        settings
            Constants of modules to set in this process, by full name.
        seam
            Options of `torture.disk.seam.install`.
        breakage
            One of `torture.breakages`.
        """
        texts = [str(argument) for argument in arguments] if not call else list(arguments)
        request: dict[str, Any] = {
            "arguments": texts,
            "cwd": str(cwd or self._folder),
            "call": call,
            "breakage": breakage,
        }
        request |= {"settings": dict(settings or {}), "seam": dict(seam or {})}
        request |= {"out": str(self._path("out")), "err": str(self._path("err"))}
        self._send(json.dumps(request))
        self.process = self._receive(PATIENCE)
        self._is_running = True

    def wait(self, patience: float = PATIENCE) -> Done:
        """Wait until the started process ends.

        Raises
        ------
        HangError
            If it does not end in time; the process is then killed.
        """
        try:
            code = self._receive(patience)
        except HangError:
            self.send(signal.SIGKILL)
            self._receive(PATIENCE)
            self._end()
            raise
        self._end()
        return Done(code, self._path("out").read_text("utf-8", "replace"), self.errors())

    def errors(self) -> str:
        """Return the output on stderr so far."""
        return self._path("err").read_text("utf-8", "replace")

    def is_over(self, within: float) -> bool:
        """Tell whether the process ends within the given seconds."""
        assert self._zygote.stdout is not None
        return bool(select.select([self._zygote.stdout], [], [], within)[0])

    def run(self, *arguments: object, **options: Any) -> Done:
        """Start and wait."""
        self.start(*arguments, **options)
        return self.wait()

    def send(self, number: signal.Signals) -> None:
        """Send a signal. A process that has ended keeps its number until `wait` returns, so no other process is hit."""
        if self._is_running and self._zygote.poll() is None:
            os.kill(self.process, number)

    def _end(self) -> None:
        self._is_running = False
        self._send("")

    def _path(self, what: str) -> Path:
        return self._folder / f"zygote-{id(self)}.{what}"

    def _send(self, line: str) -> None:
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(line.encode() + b"\n")

    def _receive(self, patience: float) -> int:
        assert self._zygote.stdout is not None
        if not select.select([self._zygote.stdout], [], [], patience)[0]:
            raise HangError(f"no answer in {patience} s; stderr {self.errors()[-600:]!r}")
        line = self._zygote.stdout.readline()
        if not line:
            raise HangError("the process that forks has died")
        return int(line)


def fresh(*arguments: object, cwd: Path) -> "subprocess.Popen[str]":
    """Start the command line as users do, in its own interpreter and session."""
    environment = os.environ | ONE_CORE | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "headstart", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def session_members(leader: int) -> list[int]:
    """List the remaining processes of a session by /proc; empty without /proc."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z" and int(fields[3]) == leader:
            found.append(int(path.parent.name))
    return found


def wait_until(is_so: Any, patience: float = PATIENCE) -> bool:
    """Wait until a function returns true."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if is_so():
            return True
        time.sleep(0.01)
    return False
