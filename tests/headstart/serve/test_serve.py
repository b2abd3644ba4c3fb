"""`headstart serve`, in a process of its own and over real connections."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from bench.speed.serve import BOUNDARY, form_of, scored, serving, storm, wrong
from headstart.classify import load
from headstart.classify.classifier import Classifier
from headstart.serve.app import make_app
from headstart.serve.options import ServeOptions
from torture.pictures.bombs import bombs
from torture.pictures.contents import cut_off, not_images

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

NAMELESS = form_of([("a", b"a"), ("b", bytes(1 << 19))]).replace(b'; filename="b"', b"")


def in_charset(name: str) -> dict[str, str]:
    return {"Content-Type": f"{FORM['Content-Type']}; charset={name}"}


@pytest.fixture(scope="module")
def images(tiny_photos) -> dict[str, bytes]:
    """Good, broken and hostile files by name."""
    good = {f"good/{path.parent.name}-{path.name}": path.read_bytes() for path in sorted(tiny_photos.rglob("*.png"))}
    bad = (*[case for case in bombs() if b"large" not in case.name], *not_images(), *list(cut_off())[::7])
    return good | {os.fsdecode(case.name): case.make for case in bad}


@pytest.fixture(scope="module")
def expected(images, tiny_classifier, tmp_path_factory) -> dict[str, dict]:
    folder = tmp_path_factory.mktemp("mixed")
    for name, data in images.items():
        (folder / "mixed" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mixed" / name).write_bytes(data)
    return scored(folder / "mixed", tiny_classifier, folder / "rows.jsonl")


@pytest.fixture(scope="module")
def server(tiny_classifier):
    with serving(tiny_classifier) as running:
        yield running


@pytest.fixture(scope="module")
def small(tiny_classifier):
    """Give a server that takes little at a time."""
    with serving(tiny_classifier, "--max-megabytes", "1", "--max-images", "2", "--max-requests", "1") as running:
        yield running


@pytest.fixture
def photo(tiny_photos) -> bytes:
    return (tiny_photos / "ash" / "000.png").read_bytes()


def raw(server, data: bytes, wait: bool = True) -> bytes:
    """Send bytes; give all that comes back until the server closes the connection."""
    with socket.create_connection((urlsplit(server.url).hostname, urlsplit(server.url).port), timeout=60) as connection:
        connection.sendall(data)
        return b"".join(iter(lambda: connection.recv(1 << 16), b"")) if wait else b""


def head(server, length: int, *lines: str) -> bytes:
    lines = "POST /predict HTTP/1.1", f"Host: {urlsplit(server.url).netloc}", f"Content-Length: {length}", *lines
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def metric(server, name: str) -> float:
    _, text = server.send("GET", "/metrics")
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}[ {{]", line))


def alive(pids) -> list[int]:
    def runs(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except FileNotFoundError:
            return False

    return [pid for pid in pids if runs(pid)]


def wait_for_end(pids) -> list[int]:
    """Give the processes that still run after ten seconds."""
    end = time.monotonic() + 10
    while alive(pids) and time.monotonic() < end:
        time.sleep(0.01)
    return alive(pids)


def test_an_image_as_body_has_what_score_writes(server, expected, images):
    name = "good/birch-003.png"
    status, answer = server.post([(name, images[name])])
    (one,) = answer["predictions"]
    assert status == 200
    assert [one["label"], one["probability"]] == list(one["top"][0].values())
    assert [top["label"] for top in one["top"]] == [expected[name][key] for key in ("label", "label_2", "label_3")]
    assert one["distance"] == pytest.approx(expected[name]["distance"], rel=1e-4, abs=1e-3)
    assert wrong([one | {"image": name}], expected) == []
    _, answer = server.send("POST", "/predict?top=1", images[name])
    assert len(answer["predictions"][0]["top"]) == 1


def test_an_image_below_its_class_threshold_is_unknown_without_a_distance(strict_classifier, photo):
    with serving(strict_classifier) as strict:
        status, answer = strict.send("POST", "/predict", photo)
    (one,) = answer["predictions"]
    assert (status, one["unknown"], one["distance"]) == (200, True, None)


def test_curl_calls_every_file_a_form(server, photo):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}  # of `curl --data-binary @photo.jpg`
    status, answer = server.send("POST", "/predict", photo, headers)
    assert (status, [one["status"] for one in answer["predictions"]]) == (200, ["ok"])


def test_every_answer_under_load_is_that_of_score(server, expected, images):
    server.post([(name, images[name]) for name in list(images)[:4]])
    answers, _ = storm(server, images, requests=100)
    assert wrong(answers, expected) == []
    assert {answer["status"] for answer in answers} == {"ok", "failed"}
    assert wrong([answers[0] | {"label": "elm", "status": "ok"}], expected)  # the comparison sees a difference


@LINUX
def test_killed_decoders_cost_no_more_than_an_answer_each(server, expected, images):
    good = {name: data for name, data in images.items() if name.startswith("good/") and "broken" not in name}
    killed = []

    def kill(number: int) -> None:
        if number % 20 == 10 and (decoders := server.decoders()):
            os.kill(decoders[0], signal.SIGKILL)
            killed.append(decoders[0])

    answers, _ = storm(server, good, requests=60, between=kill)
    assert len(killed) >= 2
    assert len(wrong(answers, expected)) <= len(killed)
    status, answer = server.post([(name, images[name]) for name in sorted(good)[:3]])
    assert (status, [one["status"] for one in answer["predictions"]]) == (200, ["ok"] * 3)


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "reason"),
    [
        ("/predict", {"Content-Type": "text/html"}, b"<p>", 415, "expected an image, application/octet-stream or"),
        ("/predict", {}, b"", 400, "expected an image in the body, found none"),
        ("/predict?top=0", {}, b"x", 400, "top: expected a whole number from 1 to 3, found '0'"),
        ("/predict?top=many", {}, b"x", 400, "top: expected a whole number"),
        ("/predict", {"Content-Type": "multipart/form-data"}, b"x", 400, "boundary"),
        ("/predict", FORM, b"no form at all", 400, "multipart"),
        ("/predict", FORM, f"--{BOUNDARY}--\r\n".encode(), 400, "expected an image in the body, found none"),
        ("/predict", {}, bytes(3 << 20), 413, "expected at most 1,048,576 bytes, found 3,145,728"),
        ("/predict", FORM, form_of([("a", b"a")] * 2)[:-40], 400, "the form ends before its last boundary"),
        ("/predict", FORM, form_of([("a", b"a")] * 2)[:-3], 400, "the form ends before its last boundary"),
        ("/predict", FORM, NAMELESS, 400, "the part 'image' has no file name; send each image with one"),
        ("/predict", FORM, b"", 400, "the form ends before its last boundary"),
        ("/predict", FORM, form_of([("a", b"a")] * 3), 413, "Too many files. Maximum number of files is 2."),
        ("/predict", FORM, form_of([("a", bytes(2 << 20))]), 413, "expected at most 1,048,576 bytes"),
        ("/predict", {"Host": "evil.example"}, b"x", 403, "Host: expected localhost, found 'evil.example'"),
        ("/predict", {"Host": "[::"}, b"x", 403, "Host: expected localhost"),
        ("/predict", {"Origin": "https://evil.example"}, b"x", 403, "Origin: expected no other web page"),
        ("/predict", {"Origin": "http://["}, b"x", 400, "Origin: expected the address of a web page, found 'http://['"),
        ("/predict", in_charset("undefined"), form_of([("a", b"a")]), 400, "Content-Type: its charset does not fit"),
        ("/predict", in_charset("punycode"), form_of([("a.b", b"a")]), 400, "Content-Type: its charset does not fit"),
        ("/nothing", {}, b"x", 404, "Not Found"),
        ("/health", {}, b"", 405, "Method Not Allowed"),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_answered_has_a_reason(small, path, headers, body, status, reason):
    found, answer = small.send("POST", path, body, headers)
    assert (found, list(answer)) == (status, ["error"])
    assert reason in answer["error"]
    assert "\n" not in answer["error"]


@pytest.mark.parametrize(("charset", "name", "answered"), [
    ("utf-7", "+2AA-.png", "\\ud800.png"), ("unicode_escape", "\\udce9.png", "\\xe9.png"),
])  # fmt: skip
def test_a_name_that_is_no_unicode_is_answered_with_escapes(small, photo, charset, name, answered):
    status, answer = small.send("POST", "/predict", form_of([(name, photo)]), in_charset(charset))
    assert (status, [one["image"] for one in answer["predictions"]]) == (200, [answered])


def test_an_unforeseen_fault_is_an_answer_that_is_counted(tiny_classifier, monkeypatch, caplog):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(Classifier, "predictions", fail)
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"x"}

    async def send(message):
        sent.append(message)

    def ask(method, path):
        scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": [(b"host", b"[::1]")]}
        sent.clear()
        asyncio.run(app(scope, receive, send))
        return sent[0]["status"], sent[1]["body"].decode()

    with load(tiny_classifier) as classifier, ThreadPoolExecutor(1) as threads:
        app = make_app(classifier, threads, ServeOptions())
        status, body = ask("POST", "/predict")
        assert (status, list(json.loads(body))) == (500, ["error"])
        assert "ZeroDivisionError" in body
        assert "ZeroDivisionError" in caplog.text
        assert 'headstart_requests_total{status="500"} 1.0' in ask("GET", "/metrics")[1]


def test_a_body_without_a_length_is_limited_too(small):
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    answer = raw(small, head(small, 0, "Transfer-Encoding: chunked").replace(b"Content-Length: 0\r\n", b"") + chunk * 2)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_request_too_many_is_told_to_come_back(small, photo):
    with socket.create_connection((urlsplit(small.url).hostname, urlsplit(small.url).port)) as slow:
        slow.sendall(head(small, len(photo)) + photo[:10])
        while not metric(small, "headstart_requests_in_flight"):
            time.sleep(0.01)
        answer = raw(small, head(small, len(photo), "Connection: close") + photo)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nretry-after: 1\r\n" in answer.lower()
    while metric(small, "headstart_requests_in_flight"):  # the client has gone
        time.sleep(0.01)
    assert small.post([("a", photo)])[0] == 200


def test_what_is_no_http_is_refused(server):
    assert raw(server, b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_head_or_body_that_never_ends_is_cut_off(tiny_classifier, photo):
    program = """
import sys
from headstart.classify import load
from headstart.serve.options import ServeOptions
from headstart.serve.server import serve
serve(load(sys.argv[1]), ServeOptions(port=0, read_seconds=0.5), started=lambda url: print(" at", url, flush=True))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tiny_classifier)], stdout=subprocess.PIPE, text=True
    ) as run:
        from bench.speed.serve import Server

        server = Server(run, run.stdout.readline().split(" at ")[-1].strip())
        assert raw(server, b"") == b""
        assert raw(server, b"POST /predict HTTP/1.1\r\nHost: loc") == b""
        assert raw(server, head(server, 1000) + b"the start").startswith(b"HTTP/1.1 408 ")
        assert server.post([("a", photo)])[0] == 200
        server.stop()


def test_health_and_metrics(server, photo):
    assert server.send("GET", "/health") == (200, {"status": "ok", "classes": ["ash", "birch", "cedar"]})
    names = "headstart_images_total", "headstart_image_failures_total", "headstart_request_seconds_count"
    before = [metric(server, name) for name in names]
    server.post([("a", photo), ("b", photo), ("c", b"nothing")])
    assert [metric(server, name) for name in names] == [old + more for old, more in zip(before, (2, 1, 1), strict=True)]
    _, text = server.send("GET", "/metrics")
    assert 'headstart_image_failures_total{kind="not an image of a known format' in text
    assert 'headstart_requests_total{status="200"}' in text


@LINUX
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_requests_end_and_leaves_nothing_behind(tiny_classifier, images, number):
    good = {name: data for name, data in images.items() if name.startswith("good/")}
    with serving(tiny_classifier) as server:
        server.post(list(good.items())[:4])
        decoders = server.decoders()
        assert decoders
        with ThreadPoolExecutor(4) as clients:
            asked = [clients.submit(server.post, list(good.items())[:30]) for _ in range(4)]
            while metric(server, "headstart_requests_in_flight") < 4 and not asked[0].done():
                time.sleep(0.001)
            assert server.stop(number) == 0
            assert {request.result()[0] for request in asked} == {200}
        assert server.process.stderr.read() == "stopped\n"
    assert not wait_for_end(decoders)


@LINUX
def test_decoders_that_hang_do_not_keep_the_server(tiny_classifier, photo):
    photos = [(name, photo) for name in "abcd"]
    with serving(tiny_classifier, "--workers", "2") as server, ThreadPoolExecutor(1) as clients:
        server.post(photos)
        decoders = server.decoders()
        for decoder in decoders:
            os.kill(decoder, signal.SIGSTOP)
        asked = clients.submit(server.post, photos)
        with socket.create_connection((urlsplit(server.url).hostname, urlsplit(server.url).port)) as slow:
            slow.sendall(head(server, len(photo)) + photo[:10])
            while metric(server, "headstart_requests_in_flight") < 2:
                time.sleep(0.01)
            assert server.stop() == 0
            assert b"HTTP/1.1 503 " in slow.recv(1 << 16)
        assert asked.result() == (503, {"error": "the server is being stopped"})
        assert "Traceback" not in server.process.stderr.read()
    assert not wait_for_end(decoders)


def test_a_client_that_goes_away_leaves_no_trace(tiny_classifier, photo):
    with serving(tiny_classifier) as server:
        raw(server, head(server, 100_000) + photo[:5000], wait=False)
        raw(server, head(server, len(photo)) + photo, wait=False)
        assert server.post([("a", photo)])[0] == 200
        server.stop()
        assert server.process.stderr.read() == "stopped\n"


def test_an_address_in_use_and_an_address_for_all(headstart_run, server, tiny_classifier):
    port = urlsplit(server.url).port
    done = headstart_run("serve", tiny_classifier, "--port", port)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"error: 127.0.0.1:{port}: cannot be served: address already in use; choose another --port" in done.stderr
    done = headstart_run("serve", tiny_classifier, "--host", "0.0.0.0", "--port", port)
    assert "warning: 0.0.0.0: every machine that reaches this address can use the server: it asks for no" in done.stderr
    done = headstart_run("serve", tiny_classifier, "--host", "a..b")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == ("error: a..b: expected the name or address of this machine; choose --host")
    assert "Traceback" not in done.stderr
    done = headstart_run("serve", tiny_classifier.parent / "none.onnx")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def test_an_exposed_server_answers_under_any_name(tiny_classifier):
    with serving(tiny_classifier, "--host", "0.0.0.0") as server:
        assert server.send("GET", "/health", headers={"Host": "classifier.example"})[0] == 200
        server.stop()


def test_a_decoder_that_cannot_start_is_no_fault_of_the_request(tiny_classifier, photo, monkeypatch):
    from headstart.classify import load
    from headstart.serve.app import make_app
    from headstart.serve.options import ServeOptions

    async def receive():
        return {"type": "http.request", "body": photo}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [(b"host", b"localhost")]}
    scope["query_string"] = b""
    sent: list[dict] = []
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with load(tiny_classifier) as classifier, ThreadPoolExecutor(1) as threads:
        asyncio.run(make_app(classifier, threads, ServeOptions())(scope, receive, send))
    start, body = sent
    assert start["status"] == 503
    assert (b"retry-after", b"1") in start["headers"]
    assert "the process that decodes does not start" in json.loads(body["body"])["error"]


def test_kinds_of_failures_are_few():
    from headstart.serve.metrics import MOST_KINDS, Metrics, kind_of

    assert kind_of("60000 x 60000 is more than 100,000,000 pixels") == "N x N is more than N pixels"
    assert kind_of("damaged JPEG: bad marker") == "damaged JPEG"
    metrics = Metrics()
    metrics.count_images([chr(97 + n // 26) + chr(97 + n % 26) for n in range(2 * MOST_KINDS)])
    assert metrics.text().count(b"image_failures_total{") == MOST_KINDS + 1
    assert f'kind="other"}} {MOST_KINDS}.0'.encode() in metrics.text()


def test_labels_that_are_no_unicode_are_sent_as_escapes():
    from headstart.classify.scoring.predictions import Prediction
    from headstart.serve.app import _answer

    answer = _answer("a", Prediction("a", [(os.fsdecode(b"\xe9t\xe9"), float(np.float32(0.5)))]))
    assert json.loads(json.dumps(answer))["label"] == "\\xe9t\\xe9"
