"""The files of a store or table at a URL: listed, downloaded and uploaded, with retries."""

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from headstart.extract.store.shards import MODEL_FILE, SHARD
from headstart.files.atomic import TEMPORARY, atomic_file
from headstart.files.errors import HeadstartError, LocationError, OutputError, one_line
from headstart.files.filesystems import list_files, open_filesystem, version_of, with_retries

ATOMIC = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci"})
"""Protocols whose objects appear whole or not at all; elsewhere a file is uploaded under another name first."""


@dataclass(frozen=True)
class RemoteFile:
    """A file at a URL: its size in bytes, and a text that changes with its content."""

    size: int
    stamp: str

    def __str__(self) -> str:
        return f"{self.size:,} bytes ({self.stamp})"


class RemoteFiles:
    """The files behind one URL: a single file, or for a URL that ends in .emb a folder of shards and their model.

    Raises as `open_filesystem`, and `OutputError` if the URL does not name a file.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._files, self._root = open_filesystem(url)
        self.name = PurePosixPath(self._root).name
        if self.name in ("", ".", ".."):
            raise OutputError(f"{url}: expected the URL of a file, found none; add its name")
        self.is_folder = self.name.endswith(".emb")
        self._folder = self._root if self.is_folder else self._root.rpartition("/")[0]
        protocol = self._files.protocol
        self._is_atomic = not ATOMIC.isdisjoint([protocol] if isinstance(protocol, str) else protocol)

    def list(self) -> dict[str, RemoteFile]:
        """Return the files by name; none if nothing is there; raises `LocationError` if they cannot be listed."""
        try:
            self._files.invalidate_cache()
            entries = self._entries()
        except FileNotFoundError:
            return {}
        except Exception as error:  # each file system raises its own
            raise self._error(LocationError, "cannot be listed", error) from None
        return {name: RemoteFile(int(entry.get("size") or 0), _stamp(entry)) for name, entry in entries.items()}

    def _entries(self) -> dict[str, dict[str, Any]]:
        if self.is_folder:
            paths = {PurePosixPath(name): entry for name, entry in list_files(self._files, self._root).items()}
            direct = {path.name: entry for path, entry in paths.items() if path.parent.name == self.name}
            return {name: entry for name, entry in direct.items() if name == MODEL_FILE or SHARD.fullmatch(name)}
        entry = with_retries(lambda: self._files.info(self._root))
        if entry.get("type") == "directory":
            raise IsADirectoryError("expected a file, found a folder; add a file name, or name a folder that ends .emb")
        return {self.name: entry}

    def download(self, name: str, path: Path, size: int) -> None:
        """Copy a file of so many bytes to a local path, whole or not at all.

        Raises `LocationError` if it cannot be read, and `OutputError` if it cannot be written here.
        """
        with atomic_file(path) as file:

            def attempt() -> None:
                self._files.get_file(self._at(name), file.name)
                if (length := os.fstat(file.fileno()).st_size) != size:
                    raise OSError(f"{name}: expected {size:,} bytes, found {length:,}")

            try:
                with_retries(attempt)
            except Exception as error:
                raise self._error(LocationError, "cannot be read", error) from None

    def has_content(self, name: str, data: bytes) -> bool:
        """Tell whether a file has these bytes; raises `LocationError` if it cannot be read."""
        try:
            return bool(with_retries(lambda: self._files.cat_file(self._at(name))) == data)
        except Exception as error:
            raise self._error(LocationError, "cannot be read", error) from None

    def upload(self, path: Path, name: str) -> None:
        """Copy a local file to the URL, whole or not at all; raises `OutputError` if it cannot be written."""
        next_step = f"; your results are saved at {path}: run the same command again"
        self._write(name, lambda target: self._files.put_file(str(path), target), next_step)

    def check_writable(self) -> None:
        """Write an empty file and delete it, to find faults before any work is done.

        Raises `OutputError` if nothing can be written.
        """
        name = f".headstart-{uuid.uuid4().hex}"
        self._write(name, lambda target: self._files.pipe_file(target, b""))
        with suppress(Exception):  # some users may write and not delete
            self._files.rm_file(self._at(name))

    def _write(self, name: str, write: Callable[[str], Any], next_step: str = "") -> None:
        target, aside = self._at(name), self._at(f"{TEMPORARY}{uuid.uuid4().hex}-{name}")

        def attempt() -> None:
            if self._is_atomic:
                write(target)
                return
            if self._folder:
                self._files.makedirs(self._folder, exist_ok=True)
            write(aside)
            if self._files.exists(target):  # not every file system moves a file over another
                self._files.rm_file(target)
            self._files.mv(aside, target)

        try:
            with_retries(attempt)
        except Exception as error:
            with suppress(Exception):
                self._files.rm_file(aside)
            raise self._error(OutputError, "cannot be written", error, next_step) from None

    def _at(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _error(self, kind: type[HeadstartError], what: str, error: Exception, next_step: str = "") -> HeadstartError:
        if isinstance(error, PermissionError) or "credential" in str(error).lower():
            next_step = f"; check the credentials that its own tools use{next_step}"
        return kind(f"{self.url}: {what}: {one_line(error)}{next_step}")


def _stamp(entry: dict[str, Any]) -> str:
    tag = entry.get("ETag") or entry.get("etag")
    return str(tag).strip('"') if tag else f"{version_of(entry):x}"
