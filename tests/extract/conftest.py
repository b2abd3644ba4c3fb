"""A small backbone that onnxruntime runs, small pictures for it, and an S3 server behind a door that can fail."""

import http.client
import io
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

DATA = (".png", ".tar", ".parquet")


def is_of(path: str, kinds: tuple[str, ...]) -> bool:
    return any(kind in path for kind in kinds)


class Door(ThreadingHTTPServer):
    """Passes requests on to a server; of those for objects of some kinds, some fail."""

    daemon_threads = True

    def __init__(self, behind: int) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.behind, self.faults = behind, ()
        self.seen, self.sent, self.lock = Counter(), 0, threading.Lock()
        self.method, self.kinds = "GET", DATA

    def fault_of(self, method: str, path: str) -> str:
        """Let each object of the kind, or range of it, fail the first time that it is asked for or put, in some way."""
        if method != self.method or not is_of(path, self.kinds):
            return ""
        with self.lock:
            self.seen[path] += 1
            if not self.faults or self.seen[path] > 1:
                return ""
            return self.faults[len(self.seen) % len(self.faults)]


class Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Door

    def log_message(self, *_) -> None:
        pass

    def do_GET(self) -> None:
        self._pass_on()

    do_PUT = do_HEAD = do_POST = do_DELETE = do_GET

    def _pass_on(self) -> None:
        fault = self.server.fault_of(self.command, self.path + self.headers.get("Range", ""))
        if fault == "reset":
            self.close_connection = True
            return
        if fault == "throttled":
            body = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
            self._answer(503, {"Content-Type": "application/xml"}, body)
            return
        if fault == "slow":
            time.sleep(0.5)
        connection = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        connection.request(self.command, self.path, body, headers)
        found = connection.getresponse()
        data = found.read()
        if fault == "cut" and self.command == "PUT":  # it is done, and nobody hears of it
            self.close_connection = True
            return
        if fault == "cut":
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
            return
        kept = {name: value for name, value in found.getheaders() if name.lower() not in ("transfer-encoding", "date")}
        self._answer(found.status, kept, data)
        connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "server"):
                self.send_header(name, value)
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            with self.server.lock:
                self.server.sent += len(body) if is_of(self.path, DATA) else 0


@pytest.fixture(scope="session", autouse=True)
def _own_ray_folder():
    """Keep Ray's files apart from those of other users; a long path would not do for its sockets."""
    temporary = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
    with temporary as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        yield


@pytest.fixture(scope="session")
def server():
    pytest.importorskip("s3fs")
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    yield running.get_host_and_port()[1]
    running.stop()


@pytest.fixture
def door(server, monkeypatch):
    import s3fs

    with Door(server) as door:
        threading.Thread(target=door.serve_forever, daemon=True).start()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{door.server_address[1]}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_MAX_ATTEMPTS": "1",
        }.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield door
        s3fs.S3FileSystem.clear_instance_cache()
        door.shutdown()


@pytest.fixture(scope="session")
def backbone(backbone_bytes, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("backbone") / "backbone.onnx"
    path.write_bytes(backbone_bytes())
    return path


@pytest.fixture(scope="session")
def picture() -> Callable[..., bytes]:
    """Give the bytes of a smooth picture, another one for each seed."""

    def draw(seed: int = 0, form: str = "PNG", size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
        few = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
        held = io.BytesIO()
        Image.fromarray(few).resize(size, Image.Resampling.BICUBIC).save(held, form, **options)
        return held.getvalue()

    return draw


@pytest.fixture
def photos(tmp_path, picture) -> Path:
    """Give a folder of 3 classes with 7 pictures each, one of them without a label, and 3 that fail."""
    folder = tmp_path / "photos"
    for seed in range(21):
        path = folder / ("cat", "dog", "owl")[seed % 3] / f"{seed:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(seed))
    (folder / "stray.png").write_bytes(picture(99))
    (folder / "cat" / "broken.jpg").write_bytes(picture(5, "JPEG")[:200])
    (folder / "dog" / "empty.png").write_bytes(b"")
    (folder / "owl" / "notes.dat").write_text("owls seen in May")
    return folder


@pytest.fixture(params=["photos.h5", "photos.emb"])
def output(request, tmp_path) -> Path:
    """Give the name of a store, in each of its two forms."""
    return tmp_path / request.param
