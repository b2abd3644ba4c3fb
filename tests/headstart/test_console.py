import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGTERM

import numpy as np
import pytest
import typer

from headstart import console
from headstart.classify.errors import HeadError
from headstart.export.errors import ExportError
from headstart.extract.errors import SourceError
from headstart.files.progress import Progress

ODD = ["a[bold]b[/bold].jpg", ":cat:.jpg", "back\\slash\\", "[/]", "\\[red]", "Ünïcödé", "x" * 500]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (SourceError("photos: found nothing"), 1, "photos: found nothing"),
        (HeadError("two\n  lines"), 1, "two lines"),
        (ExportError("no"), 1, "no"),
    ],
)
def test_a_foreseeable_fault_is_one_line_and_a_code(capsys, error, code, said):
    @console.command
    def run() -> None:
        raise error

    with pytest.raises(typer.Exit) as left:
        run()
    assert left.value.exit_code == code
    assert capsys.readouterr() == ("", f"error: {said}\n")


KEPT = "finished work is kept: run the same command again to continue"
LOST = "nothing was written: run the same command again"


@pytest.mark.parametrize(
    ("name", "said"), [("embed", KEPT), ("score", KEPT), ("tune", KEPT), ("train", KEPT), ("export", LOST)]
)
@pytest.mark.parametrize(("number", "code", "what"), [(SIGINT, 130, "interrupted"), (SIGTERM, 143, "terminated")])
@pytest.mark.parametrize("is_hidden", [False, True])
def test_a_stopped_command_says_what_is_kept(capsys, monkeypatch, name, said, number, code, what, is_hidden):
    def run() -> None:
        try:
            signal.raise_signal(number)
        except BaseException as stopped:
            if is_hidden:
                raise ImportError("of a library that was being imported") from stopped
            raise

    monkeypatch.setattr(console.StoppedError, "latest", None)
    run.__module__ = f"headstart.commands.{name}"
    with pytest.raises(typer.Exit) as left:
        console.command(run)()
    assert left.value.exit_code == code
    assert capsys.readouterr() == ("", f"error: {what}; {said}\n")


@pytest.mark.parametrize(("number", "code"), [(SIGINT, 130), (SIGTERM, 143)])
def test_a_command_that_is_stopped_in_code_given_as_text_leaves_with_its_code(tmp_path, number, code):
    lines = [
        "import cProfile, typer",
        "from headstart.console import command",
        "@command",
        "def run():",
        f"    cProfile.Profile().run('import signal; signal.raise_signal({number.value})')",
        "typer.run(run)",
    ]
    (tmp_path / "stopped.py").write_text("\n".join(lines))
    left = subprocess.run([sys.executable, "-m", "stopped"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (left.returncode, left.stderr.count("\n")) == (code, 1)


def test_a_fault_that_nobody_foresaw_is_not_hidden():
    @console.command
    def run() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()


def test_a_command_keeps_its_name_and_help():
    @console.command
    def paint(colour: str) -> None:
        """Paint it."""

    assert (paint.__name__, paint.__doc__) == ("paint", "Paint it.")
    assert paint("red") is None


@pytest.mark.parametrize("text", ODD)
def test_names_are_printed_as_they_are(capsys, text):
    console.say(text)
    console.warn(text)
    with pytest.raises(typer.Exit):
        console.fail(text)
    assert capsys.readouterr() == (f"{text}\n", f"warning: {text}\nerror: {text}\n")


def test_names_give_the_terminal_no_orders(capsys):
    console.say("\x1b]0;mine\x07\x1b[2J\x9b31m\r.jpg")
    console.warn("\x1b[31m.jpg")
    found = capsys.readouterr()
    assert found.out == "\\x1b]0;mine\\x07\\x1b[2J\\x9b31m\\x0d.jpg\n"
    assert "\x1b[31m.jpg" not in found.err
    assert "\\x1b[31m.jpg" in found.err


def test_bytes_that_are_no_text_are_spelt_out(capsys):
    console.say("caf\udce9.jpg")
    assert capsys.readouterr().out == "caf\\udce9.jpg\n"
    assert console.short_path("caf\udce9\n.jpg") == "caf\\udce9\\n.jpg"


@dataclass
class Made:
    path: Path
    counts: np.ndarray
    mean: np.float32


@pytest.mark.parametrize("value", [Made(Path("a"), np.arange(2), np.float32(0.5)), None])
def test_json_takes_paths_and_arrays(capsys, value):
    console.print_json(value or {"path": Path("a"), "counts": np.arange(2), "mean": np.float32(0.5)})
    text = capsys.readouterr().out
    assert text.endswith("}\n")
    assert json.loads(text) == {"path": "a", "counts": [0, 1], "mean": 0.5}


def test_json_refuses_what_it_does_not_know():
    with pytest.raises(TypeError, match="in JSON output"):
        console.print_json({"what": {1, 2}})


@pytest.mark.parametrize(("failed", "limit"), [(5, None), (0, 0), (5, 5)])
def test_as_many_failures_as_are_allowed_pass(failed, limit):
    assert console.check_failures(failed, limit) is None


@pytest.mark.parametrize(("failed", "limit"), [(6, 5), (1, 0)])
def test_more_failures_than_allowed_leave_with_3(failed, limit):
    with pytest.raises(typer.Exit) as left:
        console.check_failures(failed, limit)
    assert left.value.exit_code == 3


@pytest.fixture
def report(monkeypatch):
    """Give a function that reports how many are done at a second of a clock; the first second is 0."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.progress("embedding") as callback:

        def report(second: float, done: int, total: int) -> None:
            now[0] = second
            callback(Progress("embedding", done, total, 2))

        yield report


def test_progress_is_a_line_now_and_then_where_there_is_no_terminal(capsys, report):
    for second, done in ((1, 1), (11, 100), (12, 120), (41, 400)):
        report(second, done, 500)
    assert capsys.readouterr() == (
        "",
        "embedding: 100/500, 10 images/s, 40 s left, 2 failed\nembedding: 400/500, 10 images/s, 10 s left, 2 failed\n",
    )


def test_what_an_earlier_run_had_done_does_not_count_in_the_rate(capsys, report):
    for second, done in ((1, 1001), (11, 1100)):
        report(second, done, 2000)
    assert capsys.readouterr().err == "embedding: 1100/2000, 10 images/s, 90 s left, 2 failed\n"


def test_no_rate_is_stated_before_it_was_measured(capsys, report):
    for second, done in ((11, 32), (22, 252)):
        report(second, done, 500)
    assert capsys.readouterr().err == (
        "embedding: 32/500, 2 failed\nembedding: 252/500, 20 images/s, 12 s left, 2 failed\n"
    )


@pytest.mark.parametrize("is_transient", [False, True])
def test_progress_is_a_bar_on_a_terminal(capsys, monkeypatch, is_transient):
    monkeypatch.setattr(console, "SHORTEST_MEASUREMENT", 0.001)
    terminal = console.Console(stderr=True, force_terminal=True, width=120)
    monkeypatch.setattr(console, "err", terminal)
    with console.progress("embedding", transient=is_transient) as callback:
        callback(Progress("embedding", 1, 500, 2))
        time.sleep(0.01)
        callback(Progress("embedding", 250, 500, 2))
    shown = capsys.readouterr().err
    assert shown.endswith("\x1b[2K") == is_transient
    assert [text for text in ("embedding", "250/500", "images/s", "2 failed") if text not in shown] == []


def test_infinity_is_no_json_and_printed_as_null(capsys):
    console.print_json({"interval": (-np.inf, float("inf")), "error": float("nan")})
    assert json.loads(capsys.readouterr().out) == {"interval": [None, None], "error": None}
