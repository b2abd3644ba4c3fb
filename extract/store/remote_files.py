"""The files of a store or table at a URL: looked at, fetched and put, each again and again while that fails."""

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
from headstart.files.filesystems import list_files, open_filesystem, read_url, version_of, with_retries

WHOLE = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "oci"})
"""Where an object appears whole or not at all; elsewhere a file has another name while it is being put."""


@dataclass(frozen=True)
class Found:
    """A file at a URL: its size in bytes, and a text that is another once its content is."""

    size: int
    stamp: str

    def __str__(self) -> str:
        return f"{self.size:,} bytes ({self.stamp})"


class Objects:
    """What a URL stands for: one file, or where it ends in .emb a folder of shards with their model.

    Raises
    ------
    LocationError, MissingExtraError
        As `open_filesystem`.
    OutputError
        If the URL does not name a file.
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
        self._is_whole = not WHOLE.isdisjoint([protocol] if isinstance(protocol, str) else protocol)

    def found(self) -> dict[str, Found]:
        """Give the files that are there, by name; nothing where there is nothing.

        Raises
        ------
        LocationError
            If they cannot be listed.
        """
        try:
            self._files.invalidate_cache()
            entries = self._entries()
        except FileNotFoundError:
            return {}
        except Exception as error:  # each kind of store raises its own
            raise self._told(LocationError, "cannot be looked at", error) from None
        return {name: Found(int(entry.get("size") or 0), _stamp(entry)) for name, entry in entries.items()}

    def _entries(self) -> dict[str, dict[str, Any]]:
        if self.is_folder:
            below = {PurePosixPath(name): entry for name, entry in list_files(self._files, self._root).items()}
            ours = {path: entry for path, entry in below.items() if path.parent.name == self.name}
            return {p.name: entry for p, entry in ours.items() if p.name == MODEL_FILE or SHARD.fullmatch(p.name)}
        entry = with_retries(lambda: self._files.info(self._root))
        if entry.get("type") == "directory":
            raise IsADirectoryError("expected a file, found a folder; add a file name, or a folder's that ends in .emb")
        return {self.name: entry}

    def fetch(self, name: str, place: Path, size: int) -> None:
        """Copy a file of so many bytes to a place here, whole or not at all.

        Raises
        ------
        LocationError
            If it cannot be read.
        OutputError
            Where it cannot be written here.
        """
        with atomic_file(place) as file:

            def get() -> None:
                self._files.get_file(self._at(name), file.name)
                length = os.fstat(file.fileno()).st_size
                if length != size:
                    raise OSError(f"{name}: expected {size:,} bytes, found {length:,}")

            try:
                with_retries(get)
            except Exception as error:
                raise self._told(LocationError, "cannot be read", error) from None

    def holds(self, name: str, data: bytes) -> bool:
        """Tell whether a file is there with these bytes.

        Raises
        ------
        LocationError
            If it cannot be read.
        """
        try:
            return read_url(f"{self.url}/{name}" if self.is_folder else self.url) == data
        except OSError as error:
            raise self._told(LocationError, "cannot be read", error) from None

    def put(self, place: Path, name: str) -> None:
        """Copy a file from here, whole or not at all.

        Raises
        ------
        OutputError
            Where it cannot be written.
        """
        self._write(
            name,
            lambda target: self._files.put_file(str(place), target),
            f"; it is kept as {place}: run the same command again",
        )

    def check_writable(self) -> None:
        """Write an empty file and delete it, so that what could not be written is known before any work is done.

        Raises
        ------
        OutputError
            Where it cannot be written.
        """
        name = f".headstart-{uuid.uuid4().hex}"
        self._write(name, lambda target: self._files.pipe_file(target, b""))
        with suppress(Exception):  # some may write, and not delete
            self._files.rm_file(self._at(name))

    def _write(self, name: str, write: Callable[[str], Any], hint: str = "") -> None:
        target = self._at(name)
        aside = target if self._is_whole else self._at(f"{TEMPORARY}{uuid.uuid4().hex}-{name}")

        def attempt() -> None:
            if self._is_whole:
                write(target)
                return
            if self._folder:
                self._files.makedirs(self._folder, exist_ok=True)
            write(aside)
            if self._files.exists(target):  # not every kind of store moves a file over another
                self._files.rm_file(target)
            self._files.mv(aside, target)

        try:
            with_retries(attempt)
        except Exception as error:
            if not self._is_whole:
                with suppress(Exception):
                    self._files.rm_file(aside)
            raise self._told(OutputError, "cannot be written", error, hint) from None

    def _at(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _told(self, kind: type[HeadstartError], what: str, error: Exception, hint: str = "") -> HeadstartError:
        if isinstance(error, PermissionError) or "credential" in str(error).lower():
            hint = f"; credentials are taken from where its own tools find them{hint}"
        return kind(f"{self.url}: {what}: {one_line(error)}{hint}")


def _stamp(entry: dict[str, Any]) -> str:
    tag = entry.get("ETag") or entry.get("etag")
    return str(tag).strip('"') if tag else f"{version_of(entry):x}"
