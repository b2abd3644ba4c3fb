"""A process that has imported everything and forks one child per request, so that a command takes a tenth of a second.

A child is a process like any other: it opens real files with a real onnxruntime, can be killed, and ends through the
interpreter's normal exit. Requests are lines of JSON on stdin, replies are lines of JSON on stdout.
"""

import ctypes
import gc
import importlib
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any

MODULES = (
    "headstart.cli",
    "typer._adapters",
    "h5py",
    "onnx",
    "PIL.Image",
    "rich.progress",
    "rich.status",
    "headstart.extract.pipeline",
)
SCORING = ("headstart.classify.scoring.score", "onnx.reference", "torture.disk.damage")
"""Without onnxruntime, which starts a thread at import that a fork would not have."""
TRAINING = ("headstart.classify.training", "sklearn.linear_model", "sklearn.pipeline")


def main() -> None:
    """Import, then fork a child for each request until stdin ends; a child handles its request."""
    for name in (*MODULES, *SCORING, *(TRAINING if "--training" in sys.argv else ())):
        with suppress(ModuleNotFoundError):  # some are private modules of libraries
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # children need not scan imported objects
    while line := sys.stdin.readline():
        process = os.fork()
        if process == 0:
            return _work(json.loads(line))
        _reply(process)
        found = os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
        assert found is not None
        _reply(found.si_status if found.si_code == os.CLD_EXITED else -found.si_status)
        sys.stdin.readline()  # until the reply is read, a late signal must not hit another process
        os.waitpid(process, 0)
    return None


def _reply(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _work(request: dict[str, Any]) -> None:
    _die_with_parent()
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, path in ((1, request["out"]), (2, request["err"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), descriptor)
    os.chdir(request["cwd"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    work(request)


def _die_with_parent() -> None:
    """End with the parent, if the tests themselves are killed (Linux only)."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def work(request: dict[str, Any]) -> None:
    """Apply settings, breakage and seam to this process, and run a command or call a function."""
    for name, value in request["settings"].items():
        module, _, attribute = name.rpartition(".")
        setattr(importlib.import_module(module), attribute, value)
    if request["breakage"]:
        from torture.breakages import BREAKAGES

        BREAKAGES[request["breakage"]]()
    if request["seam"]:
        from torture.disk.seam import install

        install(**request["seam"])
    if request["call"]:
        module, _, function = request["call"].rpartition(".")
        getattr(importlib.import_module(module), function)(*request["arguments"])
        return
    from headstart.cli import main as command

    sys.argv = ["headstart", *request["arguments"]]
    command()


if __name__ == "__main__":
    main()
