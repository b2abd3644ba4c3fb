"""Files that appear whole or not at all: written aside with a checked loop, synced, renamed, their folder synced."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from headstart.files.errors import OutputError
from headstart.files.urls import is_url, without_scheme

TEMPORARY = ".tmp-"
"""How the names of unfinished files begin; whoever holds the lock of their folder may delete them."""


def check_outside(path: str | os.PathLike[str], images: str | os.PathLike[str]) -> None:
    """Refuse an output inside the folder of images, where the next run would take it for one of them.

    Raises
    ------
    OutputError
        Naming a place that will do.
    """
    output, source = without_scheme(os.fspath(path)), without_scheme(os.fspath(images))
    root, place = source.rstrip("/"), output
    if not is_url(output):
        root, place = os.path.realpath(source), os.path.realpath(output)
    if (is_url(root) or os.path.isdir(root)) and place.startswith(os.path.join(root, "")):
        better = os.path.join(os.path.dirname(root), os.path.basename(output))
        raise OutputError(f"{path}: lies inside the folder of images {images}; write it elsewhere, as with -o {better}")


def check_output(path: Path, is_folder: bool = False) -> None:
    """Refuse an output that could not be written, before any work is done for it; a folder may be there already.

    Raises
    ------
    OutputError
        Where a file is a folder, or its own folder is missing or not writable.
    """
    if path.is_dir() and not is_folder:
        raise OutputError(f"{path}: expected the name of a file to write, found a folder; add a file name")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: its folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.R_OK | os.W_OK)):
        raise OutputError(f"{path}: cannot be written (permission denied); choose another place with -o")


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Give an unbuffered file that takes the place of `path` when the block ends well, and vanishes otherwise.

    Raises
    ------
    OutputError
        Where the system refuses a write (a full disk, say); `path` is then what it was.
    """
    temporary = path.parent / f"{TEMPORARY}{os.getpid()}-{path.name[-100:]}"
    try:
        with open(temporary, "wb", buffering=0) as file:
            yield file
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        _discard(temporary)
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None
    except BaseException:
        _discard(temporary)
        raise


def _discard(temporary: Path) -> None:
    """Delete a file if the system lets us; on a disk that fails it will not, and the next run does it."""
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def write_all(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write every byte; a raw write may take fewer than it was given."""
    rest = memoryview(data).cast("B")
    while len(rest):
        rest = rest[file.write(rest) :]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(folder: Path) -> None:
    """Delete what killed runs left in a folder of ours; to be called by the holder of its lock."""
    for leftover in folder.glob(f"{TEMPORARY}*"):
        leftover.unlink(missing_ok=True)
