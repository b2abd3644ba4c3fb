"""No command writes outside its outputs and the cache, or asks for anything on a network."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

# Audit hooks see what Python asks for, in every process that inherits PYTHONPATH; strace, where it may run, sees all.
WATCH = """
import os, sys

def watch(event, arguments):
    to = arguments[1] if event == "socket.connect" else ""
    is_remote = isinstance(to, tuple) and to[0] not in ("127.0.0.1", "::1")
    if is_remote or event.startswith(("socket.getaddrinfo", "socket.gethostby")):
        with open(os.environ["HEADSTART_WATCH"], "a") as file:
            file.write(f"{event} {arguments}\\n")

sys.addaudithook(watch)
"""
COMMANDS = {
    "embed": "embed {photos} --model {backbone} -o {out}/photos.h5",
    "openvino": "embed {photos} --model {backbone} -o {out}/photos.h5 --provider openvino --no-isolate",
    "merge": "merge {store} -o {out}/merged.h5",
    "train": "train {store} -o {out}/c.onnx ",
    "evaluate": "evaluate {store} --classifier {classifier}",
    "score": "score {photos} --classifier {classifier} -o {out}/p.csv",
    "inspect": "inspect {store}",
    "tune": "tune {tensors} -o {out}/tuned.onnx --epochs 1",
    "export": "export --weights {backbone} --views 2 -o {out}/b.onnx",
}
"""`demo` runs these in its process. `export` of Keras weights loads the libraries that `tune` loads."""
REMOTE = re.compile(r"connect\([^)]*AF_INET6?[^)]*(?:sin6?_port=htons\(53\)|inet_addr\(\"(?!127\.))")


@cache
def strace() -> list[str]:
    """Give the start of a command line that records connections, if this machine allows it."""
    command = ["strace", "-f", "-qq", "-e", "trace=connect", "-o"]
    may_run = shutil.which("strace") and subprocess.run([*command, os.devnull, "true"], check=False).returncode == 0
    return command if may_run else []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_leaves_the_home_alone_and_asks_for_no_name(places, tmp_path, name):
    for folder in ("home", "out", "hooks", "tmp"):
        (tmp_path / folder).mkdir()
    (tmp_path / "hooks" / "sitecustomize.py").write_text(WATCH)
    environment = {key: value for key, value in os.environ.items() if "TELEMETRY" not in key and "CACHE" not in key}
    environment |= {
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(tmp_path / "tmp"),
        "HEADSTART_WATCH": str(tmp_path / "watched"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path / "hooks"), *sys.path])),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    trace = strace() if name in ("embed", "train") else []  # the libraries are the same, and it is slow
    traced = [*trace, str(tmp_path / "trace")] if trace else []
    line = COMMANDS[name].format(out=tmp_path / "out", **places).split()
    done = subprocess.run(
        [*traced, sys.executable, "-m", "headstart", *line],
        cwd=tmp_path / "out", env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "telemetry" not in done.stderr.lower()
    assert "Traceback" not in done.stderr
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []
    assert [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()] == []
    assert not (tmp_path / "watched").exists(), (tmp_path / "watched").read_text()
    if trace:
        assert not REMOTE.search(Path(tmp_path / "trace").read_text())
