"""The seam between a process and the disk: counts every call that changes a folder, and injects a fault at one of them.

Every byte that the product writes goes through Python (HDF5 only lays out files in memory), so a child process that
replaces `open` and a few functions of `os` sees all calls, on any system.
"""

import builtins
import contextlib
import errno
import fcntl
import io
import json
import os
import signal
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any

NEEDS_ROOM = ("open", "write", "fsync", "close", "rename", "mkdir")
"""Calls that a full disk refuses; deleting is still possible."""
GOING_DOWN, NO_FLUSH = 0x8004587D, 2
"""The shutdown call of ext4 and XFS: nothing more reaches the disk."""

_open, _os_open, _os_close = io.open, os.open, os.close


def install(watch: str, *, at: int = 0, fault: str = "", trace: str = "", acks: str = "", pause: float = 0.0) -> "Seam":
    """Replace the functions of this process that write to disk.

    Parameters
    ----------
    watch
        The watched folder; calls on other paths pass through.
    at
        Number of the call with the fault, from 1.
    fault
        ``kill before``, ``kill after``, ``kill torn`` (in the middle of a write), ``power`` (the file system dies with
        the process), ``ENOSPC``, ``EIO``, ``EROFS`` (this call alone), or one of these with `` on`` appended: this call
        and all later ones.
    trace
        A file for the sequence of calls, written if the process ends normally.
    acks
        A file to which the paths of rows are appended once their commit has returned. The paths of all rows that the
        writer has received go to a second file, whose name ends in ``.added``.
    pause
        Seconds added to every write and fsync, as on a slow disk.
    """
    seam = Seam(os.path.realpath(watch), at, fault, pause)
    seam.replace_functions()
    if acks or trace:
        _acknowledge(seam, acks)
    if trace:
        import atexit

        atexit.register(seam.write_trace, trace)
    return seam


class Seam:
    """Counts calls, and makes one of them fail."""

    def __init__(self, watch: str, at: int, fault: str, pause: float) -> None:
        self.watch, self._at, self._fault, self.pause = watch, at, fault, pause
        self.count = 0
        self.events: list[Sequence[Any]] = []
        self._paths: dict[int, str] = {}

    def replace_functions(self) -> None:
        """Replace `open` and the functions of `os` that change a folder."""
        builtins.open = io.open = self._opened
        for name, function in {
            "open": self._descriptor,
            "close": self._closed,
            "fsync": self._synced(os.fsync),
        }.items():
            setattr(os, name, function)
        for name, kind in {"replace": "rename", "rename": "rename"}.items():
            setattr(os, name, self._of_two(getattr(os, name), kind))
        for name, kind in {"unlink": "unlink", "remove": "unlink", "mkdir": "mkdir", "rmdir": "rmdir"}.items():
            setattr(os, name, self._of_one(getattr(os, name), kind))

    def call(
        self, kind: str, details: Sequence[Any], do: Callable[[], Any], torn: Callable[[], Any] | None = None
    ) -> Any:
        """Make a call, or inject the fault."""
        self.count += 1
        is_due = self.count == self._at or (self._fault.endswith(" on") and self._at and self.count > self._at)
        fault = self._fault.removesuffix(" on") if is_due else ""
        if fault in ("ENOSPC", "EIO", "EROFS", "EDQUOT"):
            if fault != "ENOSPC" or kind in NEEDS_ROOM:
                if torn and self.count == self._at and self._fault.endswith(" on"):
                    return torn()  # a nearly full disk first accepts a part
                number = getattr(errno, fault)
                raise OSError(number, os.strerror(number), str(details[0]))
        elif fault == "kill before":
            die()
        elif fault == "kill torn":
            if torn:
                torn()
            die()
        elif fault == "power":
            cut_power(self.watch)
        try:
            result = do()
            self.events.append((kind, *details))
            return result
        except OSError:
            self.events.append(("failed", details[0]))
            raise
        finally:
            if fault == "kill after":
                die()

    def write_trace(self, path: str) -> None:
        """Write the sequence of calls as JSON lines."""
        with _open(path, "w") as file:
            file.writelines(json.dumps(event) + "\n" for event in self.events)

    def is_watched(self, path: Any) -> bool:
        """Tell whether a path lies in the watched folder."""
        return isinstance(path, str) and (path + os.sep).startswith(self.watch + os.sep)

    def _full(self, path: Any, folder: int | None = None) -> Any:
        if isinstance(path, int):
            return None
        name = os.fsdecode(path)
        if folder is not None:
            return os.path.join(self._paths.get(folder, "/elsewhere"), name)
        parent, last = os.path.split(os.path.abspath(name))
        return os.path.join(os.path.realpath(parent), last)

    def _opened(
        self, file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
        newline: Any = None, closefd: bool = True, opener: Any = None,
    ) -> Any:  # fmt: skip
        path = self._full(file) if set(mode) & set("wax+") else None
        if path is None or opener is not None or not self.is_watched(path):  # a file without a name cannot be lost
            return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = _File(self, path, mode.replace("b", "").replace("t", ""))
        if buffering == 0:
            return raw
        buffered = (io.BufferedRandom if "+" in mode else io.BufferedWriter)(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def _descriptor(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        full = self._full(path, dir_fd)
        if not self.is_watched(full):
            return _os_open(path, flags, mode, dir_fd=dir_fd)
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            descriptor = self.call(
                "open", [full, bool(flags & os.O_TRUNC)], lambda: _os_open(path, flags, mode, dir_fd=dir_fd)
            )
        else:
            descriptor = _os_open(path, flags, mode, dir_fd=dir_fd)
        self._paths[descriptor] = full
        return int(descriptor)

    def _closed(self, descriptor: int) -> None:
        self._paths.pop(descriptor, None)
        _os_close(descriptor)

    def _synced(self, function: Callable[[Any], None]) -> Callable[[Any], None]:
        def fsync(descriptor: Any) -> None:
            number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
            if number not in self._paths:
                return function(descriptor)
            time.sleep(self.pause)
            return self.call("fsync", [self._paths[number]], lambda: function(number))  # type: ignore[no-any-return]

        return fsync

    def _of_one(self, function: Callable[..., None], kind: str) -> Callable[..., None]:
        def replacement(path: Any, *more: Any, dir_fd: int | None = None) -> None:
            full = self._full(path, dir_fd)
            if not self.is_watched(full):
                return function(path, *more, dir_fd=dir_fd)
            if kind in ("unlink", "rmdir") and not os.path.lexists(full):
                return function(path, *more, dir_fd=dir_fd)
            self.call(kind, [full], lambda: function(path, *more, dir_fd=dir_fd))
            return None

        return replacement

    def _of_two(self, function: Callable[..., None], kind: str) -> Callable[..., None]:
        def replacement(source: Any, target: Any, **more: Any) -> None:
            full = [self._full(source), self._full(target)]
            if self.is_watched(full[1]):
                self.call(kind, full, lambda: function(source, target, **more))
            else:
                function(source, target, **more)

        return replacement


class _File(io.FileIO):
    """A raw file in the watched folder."""

    def __init__(self, seam: Seam, path: str, mode: str) -> None:
        self._seam, self._path = seam, path
        seam.call("open", [path, "w" in mode], lambda: super(_File, self).__init__(path, mode))
        seam._paths[self.fileno()] = path

    def write(self, data: Any) -> int:
        time.sleep(self._seam.pause)
        view = memoryview(data).cast("B")
        half = view[: max(1, len(view) // 2)]
        details = [self._path, self.tell(), view.hex()]
        whole, part = (lambda: super(_File, self).write(view)), (lambda: super(_File, self).write(half))
        return int(self._seam.call("write", details, whole, part))

    def close(self) -> None:
        if self.closed or not hasattr(self, "_seam"):
            return super().close()
        self._seam._paths.pop(self.fileno(), None)
        try:
            self._seam.call("close", [self._path], lambda: None)
        finally:
            super().close()
        return None


def die() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def cut_power(folder: str) -> None:
    """Shut down the file system of a folder without flushing, and kill this process."""
    descriptor = _os_open(folder, os.O_RDONLY)
    fcntl.ioctl(descriptor, GOING_DOWN, struct.pack("I", NO_FLUSH))
    die()


def _acknowledge(seam: Seam, acks: str) -> None:
    from headstart.extract.store.writer import StoreWriter

    commit, add = StoreWriter.commit, StoreWriter.add

    def note(name: str, paths: list[str]) -> None:
        descriptor = _os_open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        with contextlib.closing(_open(descriptor, "wb", buffering=0)) as file:
            file.write("".join(json.dumps(path) + "\n" for path in paths).encode())

    def added(writer: Any, outcome: Any) -> Any:
        result = add(writer, outcome)
        if acks:
            note(f"{acks}.added", [outcome.item.path.decode("utf-8", "surrogateescape")])
        return result

    def acknowledged(writer: Any) -> None:
        paths = [outcome.item.path.decode("utf-8", "surrogateescape") for outcome in writer._pending]
        commit(writer)
        if not paths:
            return
        seam.events.append(("ack", str(writer.folder), paths))
        if acks:
            note(acks, paths)

    setattr(StoreWriter, "add", added)  # noqa: B010
    setattr(StoreWriter, "commit", acknowledged)  # noqa: B010  (mypy holds that methods are not to be replaced)
