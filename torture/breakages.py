"""Ways to break the product on purpose in one process, so that a test can show what it would notice."""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

WRITERS = (
    "headstart.files.atomic",
    "headstart.extract.store.writer",
    "headstart.extract.store.rows",
    "headstart.extract.store.hdf5",
    "headstart.classify.scoring.predictions",
    "headstart.classify.artifact.write",
)


def _replace(name: str, value: Any, modules: tuple[str, ...]) -> None:
    for module in modules:
        setattr(importlib.import_module(module), name, value)


class _WithoutSync:
    """The module `os` with an `fsync` that does nothing for some files."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    @staticmethod
    def fsync(_descriptor: int) -> None:
        return None


def no_fsync() -> None:
    """Sync nothing."""
    importlib.import_module("headstart.files.atomic").os = _WithoutSync()  # type: ignore[attr-defined]


def no_folder_sync() -> None:
    """Sync files, but not their names."""
    _replace("sync_folder", lambda _folder: None, ("headstart.files.atomic", "headstart.extract.store.writer"))


def in_place() -> None:
    """Write files under their final name, where everyone sees them grow."""

    @contextmanager
    def file(path: Path) -> Iterator[BinaryIO]:
        with open(path, "wb", buffering=0) as found:
            yield found
            os.fsync(found.fileno())

    _replace("atomic_file", file, WRITERS)


def raw_errors() -> None:
    """Let system errors through as they are."""

    @contextmanager
    def file(path: Path) -> Iterator[BinaryIO]:
        temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
        with open(temporary, "wb", buffering=0) as found:
            yield found
            os.fsync(found.fileno())
        os.replace(temporary, path)

    _replace("atomic_file", file, WRITERS)


def keeps_unfinished() -> None:
    """Do not delete the leftovers of a killed run."""
    _replace("remove_unfinished", lambda _folder: None, ("headstart.files.atomic", "headstart.extract.store.writer"))
    _replace(
        "remove_unfinished_of",
        lambda _output: None,
        ("headstart.files.atomic", "headstart.extract.store.writer", "headstart.classify.scoring.score"),
    )


def no_digest() -> None:
    """Trust a store without checking its digest."""

    @contextmanager
    def verified(path: Path) -> Iterator[tuple[BinaryIO, str]]:
        with open(path, "rb") as file:
            yield file, file.read(512)[25:89].decode("ascii", "replace")

    _replace("verified", verified, ("headstart.extract.store.shard_reader", "headstart.extract.store.hdf5"))
    _replace(
        "states_digest", lambda _file, _digest: True, ("headstart.extract.store.store", "headstart.extract.store.hdf5")
    )


def no_seal() -> None:
    """Trust an ONNX file without checking its digest."""
    _replace("has_seal", lambda _data, _source: True, ("headstart.extract.inference.model",))


def no_lock() -> None:
    """Let every run write, without a lock."""

    @contextmanager
    def locked(_lock: Path, _store: Path) -> Iterator[None]:
        yield

    _replace("locked", locked, ("headstart.extract.store.lock", "headstart.extract.store.writer"))


def _writer() -> Any:
    return importlib.import_module("headstart.extract.store.writer").StoreWriter


def forgets() -> None:
    """Acknowledge every third shard, but do not write it."""
    write, count = _writer()._write_shard, [0]

    def sometimes(writer: Any, *columns: Any) -> None:
        count[0] += 1
        if count[0] % 3:
            write(writer, *columns)

    _writer()._write_shard = sometimes


def drops_finished() -> None:
    """Discard the finished work of an interrupted run."""
    leave = _writer().__exit__

    def forgetful(writer: Any, *error: Any) -> None:
        writer._pending = []
        leave(writer, *error)

    _writer().__exit__ = forgetful


def leaks() -> None:
    """Leak a descriptor and five megabytes for every shard."""
    write = _writer()._write_shard

    def leaking(writer: Any, *columns: Any) -> None:
        write(writer, *columns)
        writer.leaked = [*getattr(writer, "leaked", []), os.open(writer.folder, os.O_RDONLY), bytearray(5_000_000)]

    _writer()._write_shard = leaking


def deaf() -> None:
    """End the process at once on a signal."""
    leave: Callable[..., None] = lambda _number, _frame: os._exit(0)  # noqa: E731
    importlib.import_module("headstart.console")._stop = leave  # type: ignore[attr-defined]


BREAKAGES: dict[str, Callable[[], None]] = {
    "no fsync": no_fsync,
    "no folder sync": no_folder_sync,
    "in place": in_place,
    "raw errors": raw_errors,
    "keeps unfinished": keeps_unfinished,
    "no digest": no_digest,
    "no seal": no_seal,
    "no lock": no_lock,
    "forgets": forgets,
    "drops finished": drops_finished,
    "leaks": leaks,
    "deaf": deaf,
}
