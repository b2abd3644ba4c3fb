"""``make bench-serve``: many requests at once to `headstart serve`, with good, broken and hostile photos mixed.

BENCH_IMAGES names a folder of class folders (by default drawn pictures), BENCH_WEIGHTS a Keras weights file. Every
answer is compared with what `headstart score` writes for the same file. A request carries one image as its body, or up
to four as a form; the clients share the machine with the server. Memory is the server's and that of its decoders.
"""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

REQUESTS, CONCURRENT = 1000, 16
BOUNDARY = "headstart-a-line-of-no-photo"
TOLERANCE = 2e-5
"""Of a probability: images in other batches are rounded differently."""


@dataclass(frozen=True)
class Server:
    """A running server, in a process of its own."""

    process: subprocess.Popen[str]
    url: str

    def post(self, images: Sequence[tuple[str, bytes]], timeout: float = 120) -> tuple[int, dict[str, Any]]:
        """Send images to /predict, one as the body and several as a form; give the status and the JSON."""
        if len(images) == 1:
            return self.send("POST", "/predict", images[0][1], {"Content-Type": "image/jpeg"}, timeout)
        kind = f"multipart/form-data; boundary={BOUNDARY}"
        return self.send("POST", "/predict", form_of(images), {"Content-Type": kind}, timeout)

    def send(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, timeout: float = 120
    ) -> tuple[int, Any]:
        """Send a request; give the status and the JSON, or the text where it is none."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            data = answer.read()
            is_json = answer.getheader("content-type") == "application/json"
            return answer.status, json.loads(data) if is_json else data.decode()
        finally:
            connection.close()

    def decoders(self) -> list[int]:
        """Give the numbers of its decoder processes (Linux)."""
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]

    def memory(self) -> int:
        """Give the bytes of memory that the server and its decoders have in use (Linux)."""
        total = 0
        for pid in (self.process.pid, *self.decoders()):
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return total

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; give the exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)


@contextmanager
def serving(classifier: Path, *options: str) -> Iterator[Server]:
    """Serve a classifier on a free port, and end the server with the block."""
    command = [sys.executable, "-m", "headstart", "serve", str(classifier), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stdout
        try:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(process.stderr.read() if process.stderr else "")
            yield Server(process, line.split(" at ")[-1].partition(";")[0])
        finally:
            process.kill()


def form_of(images: Sequence[tuple[str, bytes]]) -> bytes:
    """Return a form (multipart/form-data) with one file per image."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="{name}"\r\n\r\n'.encode() + data
        for name, data in images
    ]
    return b"\r\n".join([*parts, f"--{BOUNDARY}--\r\n".encode()])


def storm(
    server: Server,
    images: dict[str, bytes],
    requests: int = REQUESTS,
    concurrent: int = CONCURRENT,
    between: Callable[[int], object] = lambda _: None,
) -> tuple[list[dict[str, Any]], np.ndarray[Any, Any]]:
    """Send so many requests with images chosen at random, named as here.

    Parameters
    ----------
    between
        Called with the number of each request before it is sent.

    Returns
    -------
    The answers, each with the image's name; and seconds per request, (n,).
    """
    chance, lock = random.Random(0), threading.Lock()

    def ask(number: int) -> tuple[list[dict[str, Any]], float]:
        with lock:
            chosen = chance.choices(sorted(images), k=chance.choice((1, 1, 1, 4)))
            between(number)
        chosen = chosen if len(chosen) > 1 or images[chosen[0]] else [chosen[0], chosen[0]]  # no body would be no image
        started = time.perf_counter()
        status, answer = server.post([(name, images[name]) for name in chosen])
        seconds = time.perf_counter() - started
        if status != 200 or len(answer["predictions"]) != len(chosen):
            raise RuntimeError(f"request {number}: {status} {answer}")
        return [one | {"image": name} for name, one in zip(chosen, answer["predictions"], strict=True)], seconds

    with ThreadPoolExecutor(concurrent) as clients:
        found = list(clients.map(ask, range(requests)))
    return [one for answers, _ in found for one in answers], np.array([seconds for _, seconds in found])


def wrong(answers: Sequence[dict[str, Any]], rows: dict[str, dict[str, Any]]) -> list[Any]:
    """Return the answers that differ from the rows that `headstart score` wrote, with these."""

    def differs(answer: dict[str, Any], row: dict[str, Any]) -> bool:
        if answer["status"] == "failed" or row["status"] == "failed":
            return (answer["status"], answer.get("reason")) != (row["status"], row["reason"])
        is_unknown = {None: row.get("unknown"), True: "yes", False: "no"}[answer["unknown"]]
        is_near = abs(answer["probability"] - row["probability"]) < TOLERANCE
        return not (answer["label"] == row["label"] and is_unknown == row.get("unknown") and is_near)

    return [(answer, rows[answer["image"]]) for answer in answers if differs(answer, rows[answer["image"]])]


def scored(folder: Path, classifier: Path, output: Path) -> dict[str, dict[str, Any]]:
    """Return the rows that `headstart score` writes for a folder, by path."""
    from headstart.classify import score

    score(folder, classifier, output)
    rows = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    return {row["path"]: row for row in rows}


def main() -> None:
    """Train, serve and send; print a Markdown table."""
    from rich.console import Console

    from bench.speed.__main__ import make_task
    from headstart.classify import train
    from headstart.extract import embed
    from torture.pictures.bombs import bombs
    from torture.pictures.contents import cut_off, not_images

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        task = make_task(folder, Console(stderr=True))
        classifier = train(embed(task.images, task.fp32, folder / "photos.h5")[0], folder / "classifier.onnx").path
        photos = [path for path in sorted(Path(task.images).rglob("*")) if path.is_file()]
        chosen = photos[:: max(1, len(photos) // 100)]
        images: dict[str, Any] = {
            f"good/{number:03}{path.suffix}": path.read_bytes() for number, path in enumerate(chosen)
        }
        images |= {os.fsdecode(case.name): case.make for case in (*bombs(), *not_images(), *cut_off())}
        for name, data in images.items():
            (folder / "mixed" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "mixed" / name).write_bytes(data)
        rows = scored(folder / "mixed", classifier, folder / "rows.jsonl")
        good = {name: data for name, data in images.items() if name.startswith("good/")}
        lines = [
            "| images | requests | wrong | p50, ms | p99, ms | images/s | MB before | MB after |",
            "|---|" + "---:|" * 7,
        ]
        with serving(classifier) as server:
            for title, sent in (("good", good), ("mixed", images), ("mixed again", images)):
                before, started = server.memory() >> 20, time.perf_counter()
                answers, seconds = storm(server, sent)
                rate, after = len(answers) / (time.perf_counter() - started), server.memory() >> 20
                p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1000
                figures = (
                    len(seconds),
                    len(wrong(answers, rows)),
                    f"{p50:.0f}",
                    f"{p99:.0f}",
                    f"{rate:.0f}",
                    before,
                    after,
                )
                lines.append(f"| {title} | {' | '.join(map(str, figures))} |")
            code = server.stop()
        sys.stdout.write("\n".join(lines) + f"\n\nstopped with exit code {code}\n")


if __name__ == "__main__":
    main()
