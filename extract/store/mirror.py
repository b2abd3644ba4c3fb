"""The cached copy of a store or table at a URL, with a note of which files were the same on both sides."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from headstart.extract.errors import StoreError
from headstart.extract.store.hdf5 import verify
from headstart.extract.store.lock import acquired
from headstart.extract.store.remote_files import RemoteFile, RemoteFiles
from headstart.extract.store.shards import MODEL_FILE, PARTS, SHARD, shards_of
from headstart.extract.store.unpublished import keep_unpublished, paths_of
from headstart.files.atomic import atomic_file, remove_unfinished, write_all
from headstart.files.cache import cache_folder
from headstart.files.errors import OutputError
from headstart.files.filesystems import REQUESTS_AT_ONCE

Note = dict[str, list[object]]
"""Name -> the stamp of the file at the URL, and size and time of the local one, when the two were the same."""


class Mirror:
    """The copy of one URL, in a folder of the cache; raises `OutputError` if the cache cannot be written.

    Attributes
    ----------
    path
        The copy: a file or a folder of shards, named as at the URL.
    base
        What is published, as far as it is known here, and what readers get. For a folder, links to those of its shards
        that are at the URL. For one file, it exists while a run changes the copy and until the result is published; it
        is empty if nothing was published.
    lock
        Held by the process that changes the copy.
    """

    def __init__(self, remote: RemoteFiles) -> None:
        self.remote = remote
        folder = cache_folder().absolute() / hashlib.sha256(os.fsencode(remote.url)).hexdigest()[:32]
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise OutputError(
                f"{folder}: cannot be made for the copy of {remote.url}: {error.strerror}; set HEADSTART_CACHE to "
                "another folder"
            ) from None
        self.path, self.lock, self._note_file = folder / remote.name, folder / ".lock", folder / ".note"
        self.base = folder / "published" / remote.name
        self._update_lock = folder / ".fetch.lock"
        self._others: set[str] = set()  # shards that other machines have published during a run, and their paths
        self._taken: set[bytes] = set()

    def updating(self) -> AbstractContextManager[object]:
        """Hold the lock of the process that updates the copy until the end of a `with` statement; others wait."""
        return acquired(self._update_lock)

    def update(self, *, check: bool = False) -> dict[str, RemoteFile]:
        """Download what differs, and give what is at the URL.

        With `check`, local files are compared with their digests too, so that a damaged copy is downloaded again.
        """
        there, note = self.remote.list(), self._read_note()
        wanted = [name for name, file in there.items() if not self._is_here(name, file, note, check)]
        try:
            if self.remote.is_folder:
                self._add(there, wanted)
            elif wanted or (note and not there):
                self._replace(there)
        except KeyboardInterrupt:
            remove_unfinished(self._at(MODEL_FILE).parent)
            raise
        self._write_note(there, note, wanted)
        return there

    def _add(self, there: dict[str, RemoteFile], wanted: Sequence[str]) -> None:
        """Bring a folder to what is published, plus what only runs here have made and nobody has outdated."""
        before = shards_of(self.base)
        gone = [shard.name for shard in before if shard.name not in there]
        if not (wanted or gone):
            return
        for folder in (self.path, self.base):
            folder.mkdir(parents=True, exist_ok=True)
        _at_once(lambda name: self._download(name, there[name].size), wanted)
        known = {shard.name for shard in before} | there.keys()
        own = [shard for shard in shards_of(self.path) if shard.name not in known]
        published = [self._at(name) for name in sorted(there) if SHARD.fullmatch(name)]
        keep_unpublished(own, self.path, before, published)
        for name in gone:
            self._at(name).unlink(missing_ok=True)
            (self.base / name).unlink()
        for name in wanted:  # last, so that a run that is killed before does it all again
            _link(self._at(name), self.base / name)

    def _download(self, name: str, size: int) -> None:
        path = self._at(name)
        if not (SHARD.fullmatch(name) and path.exists()) or _is_damaged(path):
            self.remote.download(name, path, size)

    def _replace(self, there: dict[str, RemoteFile]) -> None:
        """Replace a copy that is one file by what is published, if anything, and keep what only runs here have made."""
        new = self.path.with_name(f"{self.path.name}.new")
        new.unlink(missing_ok=True)
        _at_once(lambda name: self.remote.download(name, new, there[name].size), list(there))
        parts = self.path.with_name(self.path.name + PARTS)
        own = [self.path] if self.base.exists() and self.path.exists() else []
        if own or shards_of(parts):
            base = [self.base] if self.base.exists() and self.base.stat().st_size else []
            keep_unpublished([*own, *shards_of(parts)], parts, base, [new] if there else [])
        self.path.unlink(missing_ok=True)
        if there:
            new.replace(self.path)
        self.base.unlink(missing_ok=True)

    def begin(self) -> None:
        """Remember what is published, for as long as a run's result is not."""
        if self.remote.is_folder or self.base.exists():
            return
        self.base.parent.mkdir(exist_ok=True)
        if not self.path.exists():
            self.base.touch()
            return
        _link(self.path, self.base)

    def readable(self) -> Path | None:
        """Return the copy of what is published, as far as it is known here; None if nothing is."""
        if self.remote.is_folder:
            return self.base if shards_of(self.base) else None
        if self.base.exists():
            return self.base if self.base.stat().st_size else None
        return self.path if self.path.exists() else None

    def upload(self, begun: dict[str, RemoteFile]) -> None:
        """Upload what exists only here, to a URL that had the files `begun` when the run began.

        Raises `StoreError` if another machine has written to the URL since (for a folder: rows of the same paths, whose
        shards stay here), and `OutputError` if it cannot be written.
        """
        there, note = self.remote.list(), self._read_note()
        missing = [name for name in self._names() if not self._is_there(name, there.get(name), note)]
        for name in missing:
            self._require_ours(name, begun.get(name), there.get(name))
        overtaken = self._overtaken(there, missing) if self.remote.is_folder else []
        missing = [name for name in missing if name not in overtaken]
        for name in missing[:1]:  # first the model, if any: shards without it are no store
            self._put(name)
        _at_once(self._put, missing[1:])
        there = self.remote.list() if missing else there
        for name in missing:
            if name not in there or there[name].size != self._at(name).stat().st_size:
                raise OutputError(
                    f"{self.remote.url}: {name} was uploaded, but is missing or of another length; your results are "
                    f"saved at {self._at(name)}: run the same command again"
                )
        self._write_note(there, note, missing)
        if overtaken:
            raise self._changed(overtaken[0], "no other rows of its images", "some")
        if not self.remote.is_folder:
            self.base.unlink(missing_ok=True)

    def _put(self, name: str) -> None:
        self.remote.upload(self._at(name), name)
        if self.remote.is_folder:
            self.base.mkdir(parents=True, exist_ok=True)
            _link(self._at(name), self.base / name)

    def _overtaken(self, there: dict[str, RemoteFile], own: Sequence[str]) -> list[str]:
        """Return which of these shards have rows of paths that other machines have published since the run began."""
        known = self._others | {shard.name for shard in shards_of(self.base)}
        new = [name for name in there if SHARD.fullmatch(name) and name not in known]
        if new:
            with tempfile.TemporaryDirectory(dir=self.path.parent) as folder:
                _at_once(lambda name: self.remote.download(name, Path(folder, name), there[name].size), new)
                self._taken |= paths_of(Path(folder, name) for name in new)
            self._others.update(new)
        shards = [name for name in own if SHARD.fullmatch(name)] if self._taken else []
        return [name for name in shards if not self._taken.isdisjoint(paths_of([self._at(name)]))]

    def forget(self) -> None:
        """Delete the copy of a table, and the note."""
        self.path.unlink(missing_ok=True)
        self._note_file.unlink(missing_ok=True)

    def _names(self) -> list[str]:
        if not self.remote.is_folder:
            return [self.path.name] if self.path.exists() else []
        shards = [shard.name for shard in shards_of(self.path)]
        return [MODEL_FILE, *shards] if shards else []

    def _at(self, name: str) -> Path:
        return self.path / name if self.remote.is_folder else self.path

    def _is_as_noted(self, name: str, note: Note) -> bool:
        return name in note and note[name][1:] == self._stamp(name)

    def _is_here(self, name: str, file: RemoteFile, note: Note, check: bool) -> bool:
        """Tell whether the local file is the one at the URL, or was made from it by a run."""
        if not self._at(name).exists():
            return False
        if self.remote.is_folder and not (self.base / name).exists():
            return False
        is_same = bool(SHARD.fullmatch(name)) or (name in note and note[name][0] == file.stamp)
        is_trusted = self.remote.is_folder or self.base.exists() or self._is_as_noted(name, note)
        base = self.base / name if self.remote.is_folder else self.base
        checked = [self._at(name), base] if check and name != MODEL_FILE else []
        return is_same and is_trusted and not any(map(_is_damaged, checked))

    def _is_there(self, name: str, file: RemoteFile | None, note: Note) -> bool:
        """Tell whether the file at the URL is the local one."""
        if file is None or SHARD.fullmatch(name):
            return file is not None
        return self._is_as_noted(name, note) and note[name][0] == file.stamp

    def _require_ours(self, name: str, begun: RemoteFile | None, now: RemoteFile | None) -> None:
        if now is None or now == begun:
            return
        if name == MODEL_FILE and self.remote.has_content(name, self._at(name).read_bytes()):
            return
        raise self._changed(name, begun or "none", now)

    def _changed(self, name: str, begun: object, now: object) -> StoreError:
        return StoreError(
            f"{self.remote.url}: {name} changed at the URL during this run: expected {begun}, found {now}; "
            f"your results are saved at {self._at(name)}: run the same command again to merge them"
        )

    def _stamp(self, name: str) -> Sequence[object]:
        try:
            status = self._at(name).stat()
        except FileNotFoundError:
            return []
        return [status.st_size, status.st_mtime_ns]

    def _read_note(self) -> Note:
        try:
            note = json.loads(self._note_file.read_bytes())
        except (FileNotFoundError, ValueError, RecursionError):
            return {}
        is_sound = isinstance(note, dict) and all(isinstance(entry, list) and entry for entry in note.values())
        return note if is_sound else {}  # without a note, files count as changed and are downloaded

    def _write_note(self, there: dict[str, RemoteFile], note: Note, same: Collection[str]) -> None:
        kept = {name: note[name] for name in there if name in note}
        new = {name: [there[name].stamp, *self._stamp(name)] for name in there if name in same}
        with atomic_file(self._note_file) as file:
            write_all(file, json.dumps(kept | new).encode())


def _is_damaged(file: Path) -> bool:
    try:
        if file.exists() and file.stat().st_size:
            verify(file)
    except StoreError:
        return True
    return False


def _link(file: Path, name: Path) -> None:
    """Give a file another name; files are replaced, never changed."""
    name.unlink(missing_ok=True)
    try:
        os.link(file, name)
    except OSError:
        shutil.copy2(file, name)


def _at_once(work: Callable[[str], None], names: Sequence[str]) -> None:
    pool, is_stopped = ThreadPoolExecutor(REQUESTS_AT_ONCE), False
    try:
        for _ in pool.map(work, names):
            pass
    except KeyboardInterrupt:
        is_stopped = True  # the store may never answer
        raise
    finally:
        pool.shutdown(wait=not is_stopped, cancel_futures=True)
