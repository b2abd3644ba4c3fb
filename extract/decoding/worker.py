"""The worker process of `isolated`, started as ``python -m headstart.extract.decoding.worker``.

On standard input, a socket, it receives a task, a length and the bytes of an image file; it replies with a kind, a
length and UTF-8 text: the reason of a failure, or lines: the metadata, if they were the task, and notes. The pixels are
written to shared memory. It opens no files but those of decoders that it imports when it needs them, and its resources
are limited.
"""

import math
import mmap
import os
import resource
import signal
import struct
import sys
import time
from contextlib import suppress

from headstart.extract.decoding.decode import decode_bytes
from headstart.extract.decoding.exif import read_metadata
from headstart.extract.errors import DecodeError, OutOfMemoryError, TryAgainError
from headstart.files.resize import ResizeRule

REQUEST = struct.Struct("<BQ")
TASKS = DECODE, DESCRIBE = range(66, 68)
REPLY = struct.Struct("<BH")
KINDS = READY, DONE, FAILED, TRY_AGAIN, NO_MEMORY = range(82, 87)
LONGEST_TEXT = 2000
OPEN_FILES = 16
_DIES_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux' prctl(2)."""


def main() -> None:
    """Serve requests until the socket is closed."""
    descriptor, height, width, fit, grey_bits, memory, seconds = sys.argv[1:]
    rule = ResizeRule(int(height), int(width), fit, int(grey_bits))
    with mmap.mmap(int(descriptor), math.prod(rule.shape)) as block:
        os.close(int(descriptor))
        _limit(int(memory))
        _reply(READY)
        _be_silent()
        while head := sys.stdin.buffer.read(REQUEST.size):
            task, size = REQUEST.unpack(head)
            _allow(float(seconds) + size / 1e6)
            try:
                data = sys.stdin.buffer.read(size)
            except MemoryError:
                sys.exit(NO_MEMORY)  # the rest of the data would be taken for the next request
            _reply(*(_describe(data) if task == DESCRIBE else _decode(data, rule, block)))


def _describe(data: bytes) -> tuple[int, str]:
    notes: list[str] = []
    metadata = read_metadata(data, notes)
    return DONE, "\n".join([metadata.to_line(), *notes])


def _decode(data: bytes, rule: ResizeRule, block: mmap.mmap) -> tuple[int, str]:
    notes: list[str] = []
    try:
        block[:] = decode_bytes(data, rule, notes)
    except OutOfMemoryError as error:
        return NO_MEMORY, str(error)
    except TryAgainError as error:
        return TRY_AGAIN, str(error)
    except DecodeError as error:
        return FAILED, str(error)
    return DONE, "\n".join(notes)


def _reply(kind: int, text: str = "") -> None:
    data = text.encode("utf-8", "replace")[:LONGEST_TEXT]
    os.write(0, REPLY.pack(kind, len(data)) + data)


def _limit(memory: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the run, which ends this process
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        with suppress(OSError):  # /proc is not mounted
            _lower(resource.RLIMIT_DATA, _data_in_use() + memory)


def _lower(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (most, most))


def _data_in_use() -> int:
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData:"))


def _allow(seconds: float) -> None:
    """Let the kernel end this process (SIGXCPU) after so many more seconds of processor time."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = math.ceil(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _be_silent() -> None:
    # Errors at the start are reported by the parent; warnings of libraries about hostile bytes are not.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)


if __name__ == "__main__":
    main()
