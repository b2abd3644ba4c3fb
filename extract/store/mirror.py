"""The copy that this machine keeps of a store or table at a URL, and a note of when the two were the same."""

import hashlib
import json
import os
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from headstart.extract.errors import StoreError
from headstart.extract.store.hdf5 import verify
from headstart.extract.store.remote_files import Found, Objects
from headstart.extract.store.shards import MODEL_FILE, PARTS, SHARD, shards_of
from headstart.files.atomic import atomic_file, write_all
from headstart.files.errors import OutputError
from headstart.files.filesystems import REQUESTS_AT_ONCE

Note = dict[str, list[object]]
"""Name -> what was at the URL (its stamp), and here (size and time), when the two were the same."""


def cache_folder() -> Path:
    """Give where copies are kept: ``HEADSTART_CACHE``, or ``headstart`` in the user's own cache."""
    chosen = os.environ.get("HEADSTART_CACHE")
    return Path(chosen) if chosen else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headstart"


class Mirror:
    """A folder of the cache, for one URL.

    A file here that is not as noted was finished by a run and not put at the URL yet.

    Attributes
    ----------
    place
        The copy: a file or a folder of shards, of the name that it has at the URL.
    lock
        Of whoever changes it.

    Raises
    ------
    OutputError
        Where the cache cannot be written.
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        folder = cache_folder().absolute() / hashlib.sha256(os.fsencode(objects.url)).hexdigest()[:32]
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise OutputError(
                f"{folder}: cannot be made, to copy {objects.url} to: {error.strerror}; set HEADSTART_CACHE to another "
                "folder"
            ) from None
        self.place, self.lock, self._note_file = folder / objects.name, folder / ".lock", folder / ".note"
        self._fetch_lock = folder / ".fetch.lock"

    def fetching(self) -> FileLock:
        """Give the lock of whoever brings the copy up to date, which others wait for."""
        return FileLock(self._fetch_lock, fallback_to_soft=False)

    def fetch(self) -> dict[str, Found]:
        """Bring the copy up to date, and give what is at the URL."""
        there, note = self.objects.found(), self._read_note()
        for name in note.keys() - there.keys():  # deleted there
            if self._is_as_noted(name, note):
                self._at(name).unlink(missing_ok=True)
        wanted = [name for name, found in there.items() if not self._is_here(name, found, note)]
        for name in wanted:
            self._at(name).parent.mkdir(exist_ok=True)
            if not self._is_as_noted(name, note):
                self._set_aside(name)
        _at_once(lambda name: self.objects.fetch(name, self._at(name), there[name].size), wanted)
        self._write_note(there, note, wanted)
        return there

    def put(self, begun: dict[str, Found]) -> None:
        """Put at the URL what is here alone.

        Parameters
        ----------
        begun
            What was at the URL when the copy was fetched.

        Raises
        ------
        StoreError
            Where another machine has written there since.
        OutputError
            Where it cannot be written.
        """
        there, note = self.objects.found(), self._read_note()
        missing = [name for name in self._names() if not self._is_there(name, there.get(name), note)]
        for name in missing:
            self._require_ours(name, begun.get(name), there.get(name))
        for name in missing[:1]:  # the model, if any: shards without it would be no store
            self.objects.put(self._at(name), name)
        _at_once(lambda name: self.objects.put(self._at(name), name), missing[1:])
        there = self.objects.found() if missing else there
        for name in missing:
            if name not in there or there[name].size != self._at(name).stat().st_size:
                raise OutputError(
                    f"{self.objects.url}: {name} was put there, but is missing or of another length; it is kept as "
                    f"{self._at(name)}: run the same command again"
                )
        self._write_note(there, note, missing)

    def forget(self) -> None:
        """Delete the copy, and the note, of a table."""
        self.place.unlink(missing_ok=True)
        self._note_file.unlink(missing_ok=True)

    def _names(self) -> list[str]:
        if not self.objects.is_folder:
            return [self.place.name] if self.place.exists() else []
        shards = [shard.name for shard in shards_of(self.place)]
        return [MODEL_FILE, *shards] if shards else []

    def _at(self, name: str) -> Path:
        return self.place / name if self.objects.is_folder else self.place

    def _is_as_noted(self, name: str, note: Note) -> bool:
        return name in note and note[name][1:] == self._stamp(name)

    def _is_here(self, name: str, found: Found, note: Note) -> bool:
        """Tell whether what is here is what is at the URL, or was made from it."""
        is_known = bool(SHARD.fullmatch(name)) or (name in note and note[name][0] == found.stamp)
        return is_known and self._at(name).exists()

    def _is_there(self, name: str, found: Found | None, note: Note) -> bool:
        """Tell whether what is at the URL is what is here."""
        if found is None or SHARD.fullmatch(name):
            return found is not None
        return self._is_as_noted(name, note) and note[name][0] == found.stamp

    def _require_ours(self, name: str, begun: Found | None, now: Found | None) -> None:
        if now is None or now == begun:
            return
        if name == MODEL_FILE and self.objects.holds(name, self._at(name).read_bytes()):
            return
        raise StoreError(
            f"{self.objects.url}: {name} was written by another run meanwhile: expected {begun or 'none'}, found "
            f"{now}; what this run made is kept as {self._at(name)}: run the same command again"
        )

    def _set_aside(self, name: str) -> None:
        """Keep the rows of a file that was never put at the URL, as a shard for the next run."""
        place = self._at(name)
        if self.objects.is_folder or not place.exists():
            return
        parts = place.with_name(place.name + PARTS)
        with suppress(StoreError):
            digest = verify(place)
            parts.mkdir(exist_ok=True)
            last = shards_of(parts)[-1:]
            number = int(last[0].name.split("-")[1]) + 1 if last else 1
            place.replace(parts / f"part-{number:08d}-{digest[:16]}.h5")

    def _stamp(self, name: str) -> Sequence[object]:
        try:
            found = self._at(name).stat()
        except FileNotFoundError:
            return []
        return [found.st_size, found.st_mtime_ns]

    def _read_note(self) -> Note:
        try:
            note: Note = json.loads(self._note_file.read_bytes())
        except (FileNotFoundError, ValueError):
            return {}
        return note

    def _write_note(self, there: dict[str, Found], note: Note, same: Collection[str]) -> None:
        kept = {name: note[name] for name in there if name in note}
        new = {name: [there[name].stamp, *self._stamp(name)] for name in there if name in same}
        with atomic_file(self._note_file) as file:
            write_all(file, json.dumps(kept | new).encode())


def _at_once(work: Callable[[str], None], names: Sequence[str]) -> None:
    with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
        for _ in pool.map(work, names):
            pass
