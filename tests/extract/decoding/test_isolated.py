import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from headstart.extract import EngineOptions, embed
from headstart.extract.decoding import isolated
from headstart.extract.decoding.decode import decode
from headstart.extract.decoding.isolated import IsolatedDecoder, Limits, _read_reply
from headstart.extract.decoding.worker import REPLY
from headstart.extract.engines.local import Engine
from headstart.extract.errors import DecodeError, IsolationError, OutOfMemoryError, TryAgainError
from headstart.extract.sources.find import find_images
from headstart.extract.store.rows import NO_DIGEST
from headstart.files.resize import ResizeRule

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")

RULE = ResizeRule(32, 24)


def encoded(size: tuple[int, int], mode: str = "RGB", form: str = "PNG") -> bytes:
    held = io.BytesIO()
    Image.new(mode, size, (10, 60, 200, 90)[: len(mode)]).save(held, form)
    return held.getvalue()


@pytest.fixture(scope="module")
def slow() -> bytes:
    """A picture that takes half a second of a processor."""
    return encoded((6000, 6000))


@pytest.fixture
def decoder() -> Iterator[Callable[..., IsolatedDecoder]]:
    """Give a decoder with these limits."""
    made = []

    def decoder(**limits) -> IsolatedDecoder:
        made.append(IsolatedDecoder(RULE, Limits(**limits)))
        return made[-1]

    yield decoder
    for one in made:
        one.close()


def processor_seconds(pid: int) -> float:
    with suppress(OSError):
        used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        return sum(map(int, used)) / os.sysconf("SC_CLK_TCK")
    return 0.0


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def children() -> set[int]:
    """Processes that this one has started, and that are there."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return {pid for pid in found if is_alive(pid)}


def wait_for(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.002)


@contextmanager
def signals(number: int, pid: Callable[[], int | None], times: int, busy: float = 0.05) -> Iterator[list[int]]:
    """Send a signal to so many processes, one after another, each once it has worked for a while."""
    hit: list[int] = []

    def send() -> None:
        for _ in range(times):
            wait_for(lambda: pid() not in (None, *hit))
            target = pid()
            before = processor_seconds(target)
            wait_for(lambda: processor_seconds(target) >= before + busy)  # noqa: B023
            hit.append(target)
            os.kill(target, number)

    thread = threading.Thread(target=send)
    thread.start()
    yield hit
    thread.join()


def refusal(one: IsolatedDecoder, data: bytes) -> DecodeError:
    with pytest.raises(DecodeError) as caught:
        one.decode(data)
    return caught.value


# The same as in this process


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000", "ICO"])
def test_the_pixels_are_the_same(decoder, picture, form):
    one = decoder()
    for seed in range(3):
        data = picture(seed, form, (200, 160))
        np.testing.assert_array_equal(one.decode(data), decode(data, RULE))


@pytest.mark.parametrize(
    "data",
    [b"", b"no image", b"\xff\xd8\xff", encoded((90, 70))[:-30], b"\x89PNG\r\n\x1a\n\xff", encoded((20000, 8000))],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_failure_has_the_same_reason(decoder, data):
    with pytest.raises(DecodeError) as here:
        decode(data, RULE)
    there = refusal(decoder(), data)
    assert (type(there), str(there)) == (type(here.value), str(here.value))


def test_one_process_serves_all_images(decoder, picture):
    one = decoder()
    assert one.pid is None
    one.decode(picture(1))
    first = one.pid
    refusal(one, b"no image")
    one.decode(picture(2))
    assert one.pid == first
    one.close()
    assert not is_alive(first)


def test_a_file_larger_than_any_buffer_goes_through(decoder):
    pixels = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), np.uint8)
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "BMP")
    np.testing.assert_array_equal(decoder().decode(held.getvalue()), decode(held.getvalue(), RULE))


# A process that dies


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_an_image_is_tried_again_where_its_process_died(decoder, slow, number):
    one = decoder()
    with signals(number, lambda: one.pid, 1) as hit:
        pixels = one.decode(slow)
    assert hit
    assert one.pid not in hit
    assert (pixels == [10, 60, 200]).all()


@pytest.mark.parametrize(
    ("number", "kind", "reason"),
    [
        (signal.SIGKILL, OutOfMemoryError, "the decoder was killed, probably for lack of memory"),
        (signal.SIGTERM, TryAgainError, "the decoder was ended from outside (signal 15)"),
        (signal.SIGSEGV, DecodeError, "the decoder crashed (SIGSEGV)"),
        (signal.SIGABRT, DecodeError, "the decoder crashed (SIGABRT)"),
    ],
)
def test_a_second_death_is_the_images_failure_and_harms_no_other(decoder, slow, picture, number, kind, reason):
    one = decoder()
    with signals(number, lambda: one.pid, 2) as hit:
        fault = refusal(one, slow)
    assert len(set(hit)) == 2
    assert (type(fault), str(fault)) == (kind, reason)
    np.testing.assert_array_equal(one.decode(picture(3)), decode(picture(3), RULE))


def test_a_death_between_two_images_is_not_noticed(decoder, picture):
    one = decoder()
    for seed in range(3):
        np.testing.assert_array_equal(one.decode(picture(seed)), decode(picture(seed), RULE))
        os.kill(one.pid, signal.SIGKILL)


def test_an_answer_that_makes_no_sense_is_taken_for_a_crash():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(REPLY.pack(7, 0))
        with pytest.raises(EOFError):
            _read_reply(ours)


# Limits


def test_memory_is_limited_and_the_process_goes_on(decoder, picture):
    one = decoder(memory=24 << 20)
    for _ in range(3):
        fault = refusal(one, encoded((4000, 4000)))
        assert (type(fault), str(fault)) == (OutOfMemoryError, "not enough memory to decode it (24 MB were allowed)")
    assert "VmHWM" in (message := Path(f"/proc/{one.pid}/status").read_text())
    assert int(message.partition("VmHWM:")[2].split()[0]) < 60 << 10
    np.testing.assert_array_equal(one.decode(picture(3)), decode(picture(3), RULE))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "JPEG2000"])
def test_want_of_memory_is_named_so_in_every_format(decoder, form):
    data = encoded((3000, 3000), "RGBA" if form in ("PNG", "TIFF", "WEBP") else "RGB", form)
    one = decoder(memory=12 << 20)
    if form == "JPEG":  # it is read small
        one.decode(data)
    else:
        assert isinstance(refusal(one, data), OutOfMemoryError)


def test_a_file_for_which_there_is_no_memory_is_named_so(decoder):
    fault = refusal(decoder(memory=12 << 20), bytes(40 << 20))
    assert (type(fault), str(fault)) == (OutOfMemoryError, "not enough memory to read it")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_processor_time_is_limited(decoder, picture):
    one = decoder(seconds=0.01)  # counted in whole seconds
    fault = refusal(one, encoded((9900, 9900), "RGBA"))
    assert str(fault) == "it takes more than 0.01 s of processor time to decode"
    assert not isinstance(fault, TryAgainError)
    np.testing.assert_array_equal(one.decode(picture(3)), decode(picture(3), RULE))


def test_processor_time_is_counted_for_each_image_anew(decoder, picture):
    one = decoder(seconds=1)
    data = encoded((3000, 3000))
    one.decode(data)
    while processor_seconds(one.pid) < 2.5:
        one.decode(data)


def test_a_process_that_does_not_answer_is_given_up(decoder, picture):
    one = decoder(patience=0.5, seconds=0.25)
    one.decode(picture(1))
    first = one.pid
    with signals(signal.SIGSTOP, lambda: one.pid, 2, busy=0):
        wait_for(lambda: Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        started = time.monotonic()
        while True:  # the second process may answer once before it is stopped
            try:
                one.decode(picture(2))
            except TryAgainError as error:
                fault = error
                break
            assert time.monotonic() < started + 60
    assert str(fault) == "no answer from the decoder for 0.5 s"
    assert not is_alive(first)


def test_the_process_may_do_little(decoder, picture):
    one = decoder()
    one.decode(picture(1))
    limits = Path(f"/proc/{one.pid}/limits").read_text()
    found = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()[1:]}
    assert found["Max core file size"] == ["0", "0"]
    assert found["Max open files"] == ["16", "16"]
    assert 1 << 31 < int(found["Max data size"][1]) < 1.1 * (1 << 31)
    assert int(found["Max cpu time"][0]) <= 12
    assert len(list(Path(f"/proc/{one.pid}/fd").iterdir())) <= 4


# Ends


def test_ctrl_c_is_not_for_the_process(decoder, picture):
    one = decoder()
    one.decode(picture(1))
    first = one.pid
    assert os.getpgid(first) != os.getpgid(0)
    os.kill(first, signal.SIGINT)
    one.decode(picture(2))
    assert one.pid == first


PARENT = """
import sys
from headstart.extract.decoding.isolated import IsolatedDecoder
from headstart.files.resize import ResizeRule

one = IsolatedDecoder(ResizeRule(32, 24))
data = open(sys.argv[1], "rb").read()
one.decode(open(sys.argv[2], "rb").read())
print(one.pid, flush=True)
if sys.argv[3] == "busy":
    one.decode(data)
input()
"""


@pytest.mark.parametrize("state", ["busy", "idle"])
def test_no_process_outlives_a_parent_that_was_killed(tmp_path, slow, picture, state):
    (tmp_path / "slow").write_bytes(slow)
    (tmp_path / "quick").write_bytes(picture(1))
    command = [sys.executable, "-c", PARENT, tmp_path / "slow", tmp_path / "quick", state]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        pid = int(parent.stdout.readline())
        if state == "busy":
            before = processor_seconds(pid)
            wait_for(lambda: processor_seconds(pid) >= before + 0.1)
        assert is_alive(pid)
        parent.kill()
        wait_for(lambda: not is_alive(pid))


def descriptors() -> set[tuple[str, str]]:
    """Every open descriptor of this process with what it points to; two of them at different times are never equal."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the listing's own, gone by now
            found.add((entry.name, os.readlink(entry)))
    return found


def test_a_thousand_images_and_deaths_leave_no_descriptor(decoder, picture):
    # What earlier tests left open may be closed at any moment: only what is new since the start counts.
    data, before = picture(1), descriptors()
    one = decoder()
    one.decode(data)
    held = len(descriptors() - before)
    for number in range(1000):
        one.decode(data)
        if number % 200 == 0:
            os.kill(one.pid, signal.SIGKILL)
            refusal(one, b"no image")
    assert held >= 2
    assert len(descriptors() - before) == held
    assert len(list(Path(f"/proc/{one.pid}/fd").iterdir())) <= 4
    one.close()
    assert len(descriptors() - before) <= 1  # the pixels, which the caller may still hold


@pytest.mark.parametrize(
    ("program", "reason"),
    [("/nowhere/python", "cannot be started"), ("", "cannot be started"), ("/bin/false", "ended with code 1")],
)
def test_a_process_that_does_not_start_is_an_error_that_says_what_to_do(decoder, monkeypatch, picture, program, reason):
    monkeypatch.setattr(sys, "executable", program)
    with pytest.raises(IsolationError, match=reason) as caught:
        decoder().decode(picture(1))
    assert "--no-isolate" in str(caught.value)
    assert children() == set()


def test_a_process_that_is_killed_while_it_starts_is_started_once_more(decoder, monkeypatch, picture):
    started = []
    await_start = isolated._Process._await_start

    def killed_at_first(process, stderr):
        started.append(process.pid)
        if len(started) == 1:
            os.kill(process.pid, signal.SIGKILL)
        await_start(process, stderr)

    monkeypatch.setattr(isolated._Process, "_await_start", killed_at_first)
    assert decoder().decode(picture(1)).shape == RULE.shape
    assert len(started) == 2


def test_what_the_start_complains_of_is_shown(decoder, monkeypatch, picture):
    monkeypatch.setattr("headstart.extract.decoding.isolated._environment", lambda: {"PYTHONPATH": "/nowhere"})
    monkeypatch.setattr(sys, "executable", sys._base_executable)  # outside the environment there is no package of ours
    with pytest.raises(IsolationError, match="No module named"):
        decoder().decode(picture(1))


def test_a_closed_decoder_starts_nothing(decoder, picture):
    one = decoder()
    one.decode(picture(1))
    one.close()
    one.close()
    with pytest.raises(IsolationError, match="closed"):
        one.decode(picture(1))
    assert one.pid is None


# In a run


class MeanColour:
    exclusive, batch_size = False, 4

    def run(self, pixels: np.ndarray) -> np.ndarray:
        return pixels.mean(axis=(1, 2), dtype=np.float32)


@pytest.fixture
def engine(photos) -> Callable[..., Engine]:
    def engine(session=None, **options) -> Engine:
        return Engine(
            photos, RULE, session or MeanColour(), lambda *content: None, EngineOptions(isolate=True, **options)
        )

    return engine


def test_a_run_leaves_no_process(engine):
    before = children()
    outcomes = engine(workers=3, batch_size=2).outcomes(find_images(engine().root).items)
    next(outcomes)
    assert children() - before
    list(outcomes)
    assert children() == before


def test_a_run_that_is_given_up_leaves_no_process(engine):
    before = children()
    outcomes = engine(workers=2, batch_size=1).outcomes(find_images(engine().root).items)
    next(outcomes)
    outcomes.close()
    assert children() == before


def test_a_run_that_fails_leaves_no_process(engine):
    class Failing(MeanColour):
        def run(self, pixels):
            raise RuntimeError("device lost")

    before = children()
    with pytest.raises(RuntimeError, match="device lost"):
        list(engine(Failing(), workers=2, batch_size=2).outcomes(find_images(engine().root).items))
    assert children() == before


def test_a_system_without_the_means_is_told_so(engine, monkeypatch):
    monkeypatch.setattr("headstart.extract.engines.decoders.os", SimpleNamespace(**vars(os) | {"name": "nt"}))
    with pytest.raises(IsolationError, match="needs a POSIX system"):
        list(engine(workers=1).outcomes(find_images(engine().root).items))


def test_nothing_to_decode_starts_no_process(engine, monkeypatch):
    monkeypatch.setattr("headstart.extract.decoding.isolated._Process", None)
    assert list(engine().outcomes([])) == []


@pytest.mark.parametrize(
    ("number", "reason", "has_digest"), [(signal.SIGSEGV, "crashed", True), (signal.SIGKILL, "was killed", False)]
)
def test_an_image_that_kills_its_decoder_is_one_failure_row(engine, slow, number, reason, has_digest):
    (engine().root / "cat" / "05slow.png").write_bytes(slow)
    items = find_images(engine().root).items

    def slowest() -> int | None:
        return next((pid for pid in children() if processor_seconds(pid) > 0.25), None)

    with signals(number, slowest, 2, busy=0.05) as hit:
        results = list(engine(workers=2, batch_size=25).outcomes(items))
    assert len(set(hit)) == 2
    assert [result.item for result in results] == items
    (lost,) = [result for result in results if result.item.path == b"cat/05slow.png"]
    assert reason in lost.reason
    assert (lost.sha256 != NO_DIGEST) == has_digest
    for result, plain in zip(
        results,
        Engine(engine().root, RULE, MeanColour(), lambda *content: None, EngineOptions(isolate=False)).outcomes(items),
        strict=True,
    ):
        if result is not lost:
            assert result.reason == plain.reason
            np.testing.assert_array_equal(result.vector, plain.vector)


def test_a_store_is_the_same_with_and_without(photos, backbone, tmp_path):
    made = [
        embed(photos, backbone, tmp_path / f"{isolate}.h5", options=EngineOptions(isolate=isolate))
        for isolate in (True, False)
    ]
    (there, ran), (here, ran_here) = made
    for name in ("paths", "sizes", "labels", "failures", "classes", "is_embedded", "splits"):
        if hasattr(there, name):
            np.testing.assert_array_equal(getattr(there, name), getattr(here, name))
    np.testing.assert_array_equal(there.embeddings(), here.embeddings())
    assert (ran.embedded, ran.failed) == (ran_here.embedded, ran_here.failed) == (22, 3)
    assert ran.stages["decode"] > 0


INTERRUPTED = """
import signal
import sys
from headstart.extract import EngineOptions, embed

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started us with it ignored

def listener(progress):
    if progress.done == 5:
        children = [pid for task in __import__("pathlib").Path("/proc/self/task").iterdir()
                    for pid in (task / "children").read_text().split()]
        print(*children, flush=True)
        input()


embed(*sys.argv[1:], options=EngineOptions(workers=2, batch_size=2, isolate=True), progress=listener)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_interrupted_leaves_no_process(photos, backbone, tmp_path, number):
    command = [sys.executable, "-c", INTERRUPTED, photos, backbone, tmp_path / "photos.h5"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as run:
        started = [int(pid) for pid in run.stdout.readline().split()]
        assert started
        run.send_signal(number)
        assert run.wait(60) in (-number, 1, 130)
        wait_for(lambda: not any(map(is_alive, started)))
