"""The command line in the processes that people have: streams, locales, limits and homes."""

import csv
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from headstart.extract import merge, open_store
from headstart.files.cores import cores
from headstart.files.errors import OutputError

HEADSTART = [sys.executable, "-m", "headstart"]
NOT_UTF8 = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def shell(line: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["sh", "-c", line], env=os.environ | more, capture_output=True, check=False, timeout=60)


@pytest.mark.parametrize("what", ["--version", "inspect --help", 'inspect "$FILE"', 'inspect --json "$FILE"'])
@pytest.mark.parametrize(("stream", "code"), [(">/dev/full", 1), (">&-", 0), ("2>/dev/full", 0), (">&- 2>&- <&-", 0)])
def test_streams_that_take_nothing(tiny_backbone, what, stream, code):
    if not Path("/dev/full").exists():
        stream, code = stream.replace("/dev/full", "/dev/null"), 0
    done = shell(f'"$PYTHON" -m headstart {what} {stream}', PYTHON=sys.executable, FILE=str(tiny_backbone))
    assert done.returncode == code
    said = b"error: standard output: cannot be written: no space left on device\n"
    assert done.stderr == (said if code else b"")


def test_a_reader_that_has_seen_enough_gets_no_message(tiny_backbone):
    with subprocess.Popen(
        [*HEADSTART, "inspect", tiny_backbone], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as run:
        run.stdout.close()
        assert run.stderr.read() == b""


def test_a_closed_stream_costs_no_store_its_bytes(tiny_photos, tiny_backbone, tmp_path):
    line = '"$PYTHON" -m headstart embed "$PHOTOS" --model "$MODEL" -o "$STORE" >&- 2>&- <&-'
    store = tmp_path / "photos.h5"
    where = {"PYTHON": sys.executable, "PHOTOS": tiny_photos, "MODEL": tiny_backbone, "STORE": store}
    assert shell(line, **{name: str(path) for name, path in where.items()}).returncode == 0
    assert open_store(store).is_embedded.sum() == 60


# bvanheu/pytoutv#73, Textualize/rich#212, AnswerDotAI/fastprogress#21
def test_a_locale_without_utf8_changes_no_name(draw_photos, tiny_backbone, tmp_path):
    draw_photos(tmp_path / "photos", {"röse": 6, "tülip": 6})
    (tmp_path / "list.csv").write_text("path,label\nphotos/röse/000.png,röse\n", encoding="utf-8")
    run = [*HEADSTART, "embed", "--model", tiny_backbone]
    for images in ("photos", "list.csv"):
        command = [*run, images, "-o", f"{images}.h5"]
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | NOT_UTF8, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
    assert open_store(tmp_path / "photos.h5").classes == ["röse", "tülip"]
    assert open_store(tmp_path / "list.csv.h5").paths == ["photos/röse/000.png"]
    for command in ("train photos.h5 -o c.onnx", "score photos --classifier c.onnx"):
        done = subprocess.run(
            [*HEADSTART, *command.split()], cwd=tmp_path, env=os.environ | NOT_UTF8, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr
    with open(tmp_path / "predictions.csv", encoding="utf-8") as file:
        assert {row["label"] for row in csv.DictReader(file)} == {"röse", "tülip"}


FEW_THREADS = """
import sys, threading
left, start = int(sys.argv.pop(1)), threading._start_new_thread

def few(*arguments):
    global left
    if left == 0:
        raise RuntimeError("can't start new thread")
    left -= 1
    return start(*arguments)

threading._start_new_thread = few
from headstart.cli import main
main()
"""


# Medical-Event-Data-Standard/MIMIC_IV_MEDS#20, willsheffler/worms#2
@pytest.mark.parametrize("threads", [0, 1, cores()])
def test_too_few_threads_are_one_line(tiny_photos, tiny_backbone, tmp_path, threads):
    command = ["embed", tiny_photos, "--model", tiny_backbone, "-o", tmp_path / "photos.h5"]
    done = subprocess.run(
        [sys.executable, "-c", FEW_THREADS, str(threads), *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the system allows no more threads; raise `ulimit -u`")
    assert done.stderr.count("\n") == 1


# matplotlib/matplotlib#17707, vectorize-io/hindsight#3934
def test_no_home_and_an_unknown_user_are_told_of_the_cache(tiny_store, monkeypatch):
    pytest.importorskip("fsspec")

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "XDG_CACHE_HOME", "HEADSTART_CACHE", "USERPROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", unknown)
    with pytest.raises(OutputError, match="set HEADSTART_CACHE to a folder"):
        merge([tiny_store], "memory://home/merged.h5")


class SilentStore:
    """An object store that answers nothing from some request on: it takes the connection, and then is silent."""

    def __init__(self, folder: Path, silent: str) -> None:
        store = self
        self.was_asked, self._end = threading.Event(), threading.Event()

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                if re.search(silent, self.path):
                    store.was_asked.set()
                    store._end.wait(60)
                    return
                super().do_GET()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self._server.server_port}/photos/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._end.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.mark.parametrize(
    ("silent", "number"),
    [
        ("/photos/$", signal.SIGINT),
        (r"\.png$", signal.SIGINT),
        (r"\.png$", signal.SIGTERM),
        (r"\.onnx$", signal.SIGTERM),
        (r"\.h5$", signal.SIGINT),
    ],
)
def test_a_signal_ends_a_run_that_waits_for_an_object_store(
    draw_photos, tiny_backbone, tiny_store, tmp_path, silent, number
):
    pytest.importorskip("aiohttp")
    draw_photos(tmp_path / "there" / "photos", {"ash": 3, "birch": 3})
    shutil.copy(tiny_store, tmp_path / "there" / "photos" / "tiny.h5")
    shutil.copy(tiny_backbone, tmp_path / "there" / "photos" / "model.onnx")
    store = SilentStore(tmp_path / "there", silent)
    model = f"{store.url}model.onnx" if "onnx" in silent else tiny_backbone
    command = [*HEADSTART, "embed", store.url, "--model", model, "-o", tmp_path / "photos.h5"]
    if "h5" in silent:
        command = [*HEADSTART, "train", f"{store.url}tiny.h5", "-o", tmp_path / "photos.onnx"]
    cache = {"HEADSTART_CACHE": str(tmp_path / "cache")}
    try:
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | cache) as run:
            assert store.was_asked.wait(60)
            run.send_signal(number)
            _, said = run.communicate(timeout=5)
    finally:
        store.close()
    assert run.returncode == 128 + number
    assert "run the same command again" in said
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith((".tmp", "photos."))]
