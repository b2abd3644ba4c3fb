"""What every command shares: errors and interrupts as exit codes, progress, and output for people or machines."""

import json
import math
import signal
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, ParamSpec

import typer
from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from headstart.files.progress import Progress, ProgressCallback

P = ParamSpec("P")

DONE, ERROR, TOO_MANY_FAILURES, INTERRUPTED, TERMINATED = 0, 1, 3, 130, 143
SECONDS_A_LINE = 10.0

# Markup and emoji codes are off: a file may be called "[bold].jpg" or ":cat:.jpg".
out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
MaxFailures = Annotated[
    int | None, typer.Option(min=0, help="Exit with code 3 if more images fail than this.", show_default="any number")
]
Provider = Annotated[str, typer.Option(help="Where the model runs: auto, cpu, cuda, ... There is no silent fallback.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Threads.", show_default="one a core")]
Isolate = Annotated[
    bool,
    typer.Option(
        "--isolate/--no-isolate",
        help="Decode in processes of their own, so that an image which crashes its decoder costs that image alone.",
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, help="Images that go through the model together.", show_default="what suits the provider"),
]

EngineName = Annotated[
    str, typer.Option(help="local: the threads of this process; ray: the nodes of a Ray cluster (extra `ray`).")
]
Address = Annotated[
    str | None,
    typer.Option(help="Of a running Ray cluster (auto, ray://host:10001).", show_default="one on this machine"),
]
Gpus = Annotated[float, typer.Option("--gpus-per-worker", min=0, help="GPUs of each of Ray's workers.")]


class _StoppedError(KeyboardInterrupt):
    """Ctrl-C or SIGTERM came.

    A class of its own, because an interpreter in which a ``KeyboardInterrupt`` itself has once left a piece of code
    given as text (libraries run such code while they are imported) dies of the signal in the end, whoever caught it
    and whatever code was to be returned.
    """

    came: "_StoppedError | None" = None
    """Also where a library made an error of its own of it."""

    def __init__(self, number: int) -> None:
        self.code = 128 + number
        self.what = "interrupted" if self.code == INTERRUPTED else "terminated"


def command(function: Callable[P, None]) -> Callable[P, None]:
    """Turn foreseeable faults of a command into one line on stderr and an exit code."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        from headstart.files.errors import HeadstartError

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        try:
            function(*args, **kwargs)
        except BaseException as error:
            if stopped := _StoppedError.came:
                fail(f"{stopped.what}; {_what_is_kept(function)}", stopped.code)
            if isinstance(error, HeadstartError):
                fail(str(error))
            raise

    return run


def _what_is_kept(function: Callable[..., None]) -> str:
    command = function.__module__.rpartition(".")[2]
    if command in ("embed", "score", "tune"):
        return "what is finished is kept: run the same command again to go on"
    if command == "demo":
        return "run the same command to begin again"
    return "nothing was written: run the same command again"


def fail(message: str, code: int = ERROR) -> NoReturn:
    """Print one line on stderr and leave."""
    err.print(Text.assemble(("error:", "bold red"), " ", _valid(" ".join(message.split()))))
    raise typer.Exit(code)


def warn(message: str) -> None:
    """Print one line on stderr that the user should act on."""
    err.print(Text.assemble(("warning:", "bold yellow"), " ", _valid(message)))


def note(message: str) -> None:
    """Print one line on stderr that tells how far a long work is."""
    err.print(_valid(message))


def say(message: str) -> None:
    """Print one line on stdout."""
    out.print(_valid(message))


def print_json(value: Any) -> None:
    """Print a dataclass or dict as one JSON object."""
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    sys.stdout.write(json.dumps(_without_nan(plain), default=_to_json, allow_nan=False) + "\n")


def check_failures(failed: int, limit: int | None) -> None:
    """Leave with code 3 where more images failed than the user accepts."""
    if limit is not None and failed > limit:
        fail(f"images that failed: {failed}, more than --max-failures {limit}", TOO_MANY_FAILURES)


def short_path(path: str) -> str:
    """Give a path as valid Unicode on one line."""
    return path.encode("utf-8", "backslashreplace").decode().replace("\n", "\\n")


@contextmanager
def progress(what: str) -> Iterator["ProgressCallback"]:
    """Show how far a run is, on stderr: a bar with rate and time left on a terminal, else a line now and then."""
    with _bar(what) if err.is_terminal else _lines(what) as listener:
        yield listener


@contextmanager
def working() -> Iterator["ProgressCallback"]:
    """Show on a terminal which stage a call is in, where nobody can say how much of it is left."""
    with err.status("reading") as status:
        yield lambda state: status.update(state.stage)


class _Pace:
    """Images a second since the first report; what an earlier run had done does not count."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def rate(self, state: "Progress") -> float:
        now = time.monotonic()
        if self._first is None:
            self._first = now, state.done - 1
        started, done = self._first
        return (state.done - done) / max(now - started, 1e-3)


@contextmanager
def _bar(what: str) -> Iterator["ProgressCallback"]:
    from rich import progress as rich

    bar = rich.Progress(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[rate]}"),
        rich.TimeRemainingColumn(elapsed_when_finished=True),
        rich.TextColumn("[red]{task.fields[failures]}"),
        console=err,
    )
    with bar:
        task = bar.add_task(what, total=None, rate="", failures="")
        pace = _Pace()

        def listener(state: "Progress") -> None:
            rate = f"{pace.rate(state):,.0f} images/s"
            failures = f"{state.failed} failed" if state.failed else ""
            bar.update(task, completed=state.done, total=state.total, rate=rate, failures=failures)

        yield listener


@contextmanager
def _lines(what: str) -> Iterator["ProgressCallback"]:
    pace, last = _Pace(), time.monotonic()

    def listener(state: "Progress") -> None:
        nonlocal last
        rate, now = pace.rate(state), time.monotonic()
        if now - last < SECONDS_A_LINE:
            return
        last = now
        left = ((state.total or state.done) - state.done) / rate
        err.print(
            f"{what}: {state.done}/{state.total}, {rate:,.0f} images/s, {left:,.0f} s left, {state.failed} failed"
        )

    yield listener


def _stop(number: int, _frame: object) -> None:
    _StoppedError.came = _StoppedError(number)
    raise _StoppedError.came


def _valid(text: str) -> str:
    """Give valid Unicode without what would command a terminal: a file may be called by an escape sequence."""
    plain = text.encode("utf-8", "backslashreplace").decode()
    return "".join(f"\\x{ord(c):02x}" if unicodedata.category(c) == "Cc" and c not in "\n\t" else c for c in plain)


def _without_nan(value: Any) -> Any:
    """Give null for what is not a number, which JSON cannot say."""
    if isinstance(value, dict):
        return {name: _without_nan(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _to_json(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value)} in JSON output")
