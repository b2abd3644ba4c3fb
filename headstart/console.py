"""Shared by all commands: exit codes for errors and interrupts, progress, and output for people or programs."""

import errno
import json
import math
import os
import signal
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec

import typer
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from headstart.files.progress import Progress, ProgressCallback

P = ParamSpec("P")

DONE, ERROR, TOO_MANY_FAILURES, INTERRUPTED, TERMINATED = 0, 1, 3, 130, 143
SECONDS_PER_LINE = 10.0
SHORTEST_MEASUREMENT = 0.5
"""Seconds after which progress states a rate."""

is_terminal = sys.stdout is not None and sys.stdout.isatty()
# Markup and emoji codes are off because a file may be called "[bold].jpg" or ":cat:.jpg".
out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=None if is_terminal else 200)
err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


class StoppedError(KeyboardInterrupt):
    """Ctrl-C or SIGTERM arrived.

    This is a class of its own because an interpreter in which a plain ``KeyboardInterrupt`` once left code run from a
    string (libraries run such code during imports) dies of the signal at exit, whatever exit code was requested.
    """

    latest: "StoppedError | None" = None
    """Also set if a library replaces this error with one of its own."""

    def __init__(self, number: int) -> None:
        self.code = 128 + number
        self.event = "interrupted" if self.code == INTERRUPTED else "terminated"


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Turn expected errors and interrupts of a command into one line on stderr and an exit code."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        from headstart.files.errors import HeadstartError

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        try:
            function(*args, **kwargs)
        except BaseException as error:
            if stopped := StoppedError.latest:
                fail(f"{stopped.event}; {_advice(function)}", stopped.code)
            if isinstance(error, HeadstartError):
                fail(str(error))
            if advice := _system_fault(error):
                fail(advice)
            raise

    return run


def _system_fault(error: BaseException) -> str:
    """Say what to do about a fault that any call of the system may answer; empty for all others."""
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"{os.fsdecode(error.filename or '')[:80]}...: file name too long; choose a shorter one"
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return "the system allows no more threads; raise `ulimit -u` or the container's limit, or use --workers 1"
    if isinstance(error, MemoryError):
        return (
            f"the memory does not suffice ({' '.join(str(error).split()) or 'no more was given'}); use fewer --workers"
        )
    return ""


def _advice(function: Callable[..., None]) -> str:
    command = function.__module__.rpartition(".")[2]
    if command in ("embed", "score", "train", "tune"):
        return "finished work is kept: run the same command again to continue"
    if command == "demo":
        return "run the same command again to start over"
    if command == "serve":
        return "the server had not started: run the same command again"
    return "nothing was written: run the same command again"


def fail(message: str, code: int = ERROR) -> NoReturn:
    """Print one line on stderr and exit."""
    err.print(Text.assemble(("error:", "bold red"), " ", _valid(" ".join(message.split()))))
    raise typer.Exit(code)


def warn(message: str) -> None:
    """Print a warning on stderr."""
    err.print(Text.assemble(("warning:", "bold yellow"), " ", _valid(message)))


def warn_of_skipped(providers: Iterable[str]) -> None:
    """Print a warning for each provider that ``auto`` passed over, with its reason."""
    for reason in providers:
        warn(f"provider skipped: {reason}")


def note(message: str) -> None:
    """Print one line of progress on stderr."""
    err.print(_valid(message))


def say(message: str) -> None:
    """Print one line on stdout."""
    out.print(_valid(message))


def print_json(value: Any) -> None:
    """Print a dataclass or dict as one JSON object on stdout."""
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    sys.stdout.write(json.dumps(_without_nan(plain), default=_to_json, allow_nan=False) + "\n")


def check_failures(failed: int, limit: int | None) -> None:
    """Exit with code 3 if more images failed than the user accepts."""
    if limit is not None and failed > limit:
        fail(f"too many images failed: {failed}, and --max-failures allows {limit}", TOO_MANY_FAILURES)


def require_some(done: int, verb: str, reasons: Counter[str]) -> None:
    """Exit with code 1 if there were images and every one of them failed, naming the most common reason."""
    if not done and reasons:
        reason, count = reasons.most_common(1)[0]
        total = reasons.total()
        fail(f"none of the {total} images could be {verb}; most common reason ({count} of {total}): {reason}")


def short_path(path: str) -> str:
    """Return a path as valid Unicode on one line."""
    return path.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n")


@contextmanager
def progress(what: str, *, transient: bool = False) -> Iterator["ProgressCallback"]:
    """Show progress on stderr: a bar on a terminal (erased at the end if transient), else a line every few seconds."""
    with _bar(what, transient) if err.is_terminal else _lines(what) as callback:
        yield callback


@contextmanager
def working() -> Iterator["ProgressCallback"]:
    """Show the current stage on a terminal, for calls whose length is unknown."""
    with err.status("reading") as status:
        yield lambda state: status.update(state.stage)


class _Pace:
    """Images per second since the first report; the work of an earlier run does not count."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def rate(self, state: "Progress") -> float | None:
        """Return the rate, or None while too little has been measured to state one."""
        now = time.monotonic()
        if self._first is None:
            self._first = now, state.done - 1
        started, done = self._first
        if now - started < SHORTEST_MEASUREMENT:
            return None
        return (state.done - done) / (now - started)


@contextmanager
def _bar(what: str, transient: bool) -> Iterator["ProgressCallback"]:
    from rich import progress as rich

    bar = rich.Progress(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[rate]}"),
        rich.TimeRemainingColumn(elapsed_when_finished=True),
        rich.TextColumn("[red]{task.fields[failures]}"),
        console=err,
        transient=transient,
    )
    with bar:
        task = bar.add_task(what, total=None, rate="", failures="")
        pace = _Pace()

        def callback(state: "Progress") -> None:
            if state.total is None:  # what comes before the first image
                note(state.stage)
                return
            pace_now = pace.rate(state)
            rate = "" if pace_now is None else f"{pace_now:,.0f} images/s"
            failures = f"{state.failed} failed" if state.failed else ""
            bar.update(task, completed=state.done, total=state.total, rate=rate, failures=failures)

        yield callback


@contextmanager
def _lines(what: str) -> Iterator["ProgressCallback"]:
    pace, last = _Pace(), time.monotonic()

    def callback(state: "Progress") -> None:
        nonlocal last
        if state.total is None:
            note(state.stage)
            return
        rate, now = pace.rate(state), time.monotonic()
        if now - last < SECONDS_PER_LINE:
            return
        last = now
        left = "" if rate is None else f"{rate:,.0f} images/s, {(state.total - state.done) / rate:,.0f} s left, "
        err.print(f"{what}: {state.done}/{state.total}, {left}{state.failed} failed")

    yield callback


def _stop(number: int, _frame: object) -> None:
    StoppedError.latest = StoppedError(number)
    raise StoppedError.latest


def _valid(text: str) -> str:
    """Return valid Unicode without control characters: a file name may contain escape sequences for the terminal."""
    plain = text.encode("utf-8", "backslashreplace").decode()
    return "".join(f"\\x{ord(c):02x}" if unicodedata.category(c) == "Cc" and c not in "\n\t" else c for c in plain)


def _without_nan(value: Any) -> Any:
    """Replace NaN and infinity, which JSON lacks, by null."""
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _to_json(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value)} in JSON output")
