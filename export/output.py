"""Writing the one file, whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path

from headstart.files.errors import OutputError, one_line


def check_output(path: Path) -> None:
    """Find out, before minutes of work, whether a file can be written at `path`.

    Raises
    ------
    OutputError
        The path is a folder, its folder is missing, or nothing can be written there.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder: give the path of a file, e.g. {path / 'backbone.onnx'}")
    if path.suffix != ".onnx":
        raise OutputError(f"{path}: expected a name that ends in .onnx")
    if path.exists() and not _is_backbone(path):
        raise OutputError(f"{path}: exists and is no backbone of Headstart: choose another name")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: the folder {path.parent} does not exist: create it, or write elsewhere")
    try:
        # Permission bits say little (root, read-only mounts, quotas): only a file that was made proves it.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(f"{path}: cannot write in the folder {path.parent} ({error.strerror}): {_NEXT}") from error


def _is_backbone(path: Path) -> bool:
    try:
        return b"headstart-backbone" in path.read_bytes()
    except OSError:
        return False


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` so that `path` holds all of it or what it held before, also after a loss of power.

    Raises
    ------
    OutputError
        A write failed; nothing is left behind.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"{path}: writing {len(content):,} bytes failed ({one_line(error)}): {_NEXT}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


_NEXT = "free space, change its permissions, or write elsewhere"


def _sync_folder(folder: Path) -> None:
    # Windows cannot open a folder; there the rename itself is all that can be had.
    if os.name != "nt":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
