"""Files that appear whole or not at all: written under a temporary name, synced, and renamed."""

import errno
import os
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from headstart.files.errors import OutputError
from headstart.files.urls import is_url, without_scheme

TEMPORARY = ".tmp-"
"""Prefix of unfinished files; the holder of their folder's lock may delete them."""


def check_outside(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]
) -> None:
    """Refuse an output inside the image folder, where the next run would treat it as an image.

    Raises
    ------
    OutputError
        Naming an output that is allowed.
    """
    if not isinstance(images, str | os.PathLike):  # image files, of which none is a folder
        return
    output, source = without_scheme(os.fspath(path)), without_scheme(os.fspath(images))
    root, target = source.rstrip("/"), output
    if not is_url(output):
        root, target = os.path.realpath(source), os.path.realpath(output)
    if (is_url(root) or os.path.isdir(root)) and target.startswith(os.path.join(root, "")):
        better = os.path.join(os.path.dirname(root), os.path.basename(output))
        raise OutputError(
            f"{path}: lies inside the image folder {images}; write it elsewhere, for example with -o {better}"
        )


def check_output(path: Path, is_folder: bool = False) -> None:
    """Refuse an output that cannot be written before any work is done; `is_folder` allows an existing folder.

    Raises
    ------
    OutputError
        If the path is a folder, or its folder is missing or not writable.
    """
    if path.is_dir() and not is_folder:
        raise OutputError(f"{path}: expected the name of a file to write, found a folder; add a file name")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: its folder {path.parent} does not exist; make it first")
    try:
        # Permission bits do not decide (root, read-only mounts, quotas): only a file that was created is proof.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            raise PermissionError(errno.EACCES, "permission denied")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another output with -o") from None


def check_model_output(path: Path, kind: str) -> None:
    """Refuse a model file that cannot be written, or that would replace a file of another kind.

    Parameters
    ----------
    path
        The ONNX file to write.
    kind
        ``"backbone"`` or ``"classifier"``.

    Raises
    ------
    OutputError
        If the name does not end in ``.onnx``, or as `check_output`.
    """
    check_output(path)
    if path.suffix != ".onnx":
        raise OutputError(f"{path}: expected a name that ends in .onnx, for example -o {path.stem}.onnx")
    if path.exists() and f"headstart-{kind}".encode() not in path.read_bytes():
        raise OutputError(f"{path}: exists and is not a {kind}; choose another output with -o")


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open an unbuffered file that replaces `path` if the block succeeds, and is deleted otherwise.

    Raises
    ------
    OutputError
        If the system refuses a write (a full disk, for example); `path` is then unchanged.
    """
    temporary = path.parent / f"{TEMPORARY}{os.getpid()}-{path.name[-100:]}"
    try:
        with open(temporary, "wb", buffering=0) as file:
            _keep_mode(path, file)
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


def _keep_mode(path: Path, file: BinaryIO) -> None:
    """Give a new file the permissions of the file that it replaces, before anything is in it."""
    if hasattr(os, "fchmod"):
        with suppress(FileNotFoundError, PermissionError):
            os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))


def _discard(temporary: Path) -> None:
    """Delete a file if the system allows it; otherwise the next run does."""
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def write_all(file: BinaryIO, data: bytes | memoryview) -> None:
    """Write all bytes; one raw write may accept only a part."""
    rest = memoryview(data).cast("B")
    while len(rest):
        rest = rest[file.write(rest) :]


def write_file(path: Path, data: bytes) -> None:
    """Write a whole file or leave `path` unchanged, and delete leftovers of killed runs.

    No lock is needed: of several processes that write one path, each writes its own file, and the last one stays.

    Raises
    ------
    OutputError
        If the system refuses.
    """
    remove_unfinished_of(path, keep=is_running)
    with atomic_file(path) as file:
        write_all(file, data)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, if the system supports it."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS):  # network and user space
            raise
    finally:
        os.close(descriptor)


def remove_unfinished(folder: Path) -> None:
    """Delete the temporary files of killed runs in a folder; only the holder of its lock may call this."""
    for leftover in folder.glob(f"{TEMPORARY}*"):
        leftover.unlink(missing_ok=True)


def remove_unfinished_of(output: Path, keep: Callable[[int], bool] = lambda _process: False) -> None:
    """Delete the leftovers of killed runs beside a single output file.

    Parameters
    ----------
    output
        The file that the runs were to write.
    keep
        Says for each process number whether its file stays. By default none does: the caller holds the output's lock.

    Raises
    ------
    OutputError
        If the system refuses.
    """
    for leftover in output.parent.glob(f"{TEMPORARY}*"):
        process = leftover.name.removeprefix(TEMPORARY).removesuffix(f"-{output.name[-100:]}")
        if process.isdigit() and not keep(int(process)):  # without a number it belongs to another file
            try:
                leftover.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"{leftover}: cannot be deleted: {error.strerror or error}") from None


def is_running(process: int) -> bool:
    """Tell whether a process of this machine is running; if that cannot be known, it counts as running."""
    if os.name == "nt":  # there, signal 0 is Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
