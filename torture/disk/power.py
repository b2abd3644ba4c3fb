"""Power cuts: synced data is on disk, and of the rest any part, in any order.

There are two ways. On a file system of its own (ext4 in a file, which needs root), the kernel really drops all data it
has not written. Everywhere else, the calls of a run are recorded, and states are built that POSIX allows after a cut:
any subset of the writes to a file since its last sync, and of the name changes in a folder since the folder's sync.
"""

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headstart.extract.errors import StoreError
from torture.disk.calls import mount
from torture.disk.states import Reference, acknowledged, rows_so_far
from torture.processes.process import Zygote
from torture.scene import SMALL_SHARDS, Scene
from torture.tally import Tally

OUTPUTS = ("photos.h5", "photos.emb")
SECTOR = 512
Event = Sequence[Any]


def replayed_cuts(scene: Scene, count: int, *, seed: int = 0, breakage: str = "", resume: int = 1) -> Tally:
    """Build states that `count` cuts may leave, check acknowledged rows, and continue from one state in `resume`."""
    tally, rng = Tally("power cut (replayed)"), np.random.default_rng(seed)
    with scene.zygote() as zygote:
        recordings = {name: _record(scene, zygote, name, breakage) for name in OUTPUTS}
        for number in range(count):
            name = OUTPUTS[number % len(OUTPUTS)]
            events, reference = recordings[name]
            cut = int(rng.integers(1, len(events) + 1))
            disk = Disk()
            for event in events[:cut]:
                disk.apply(event)
            folder = scene.fresh_folder("cut")
            disk.after_cut(rng).write_to(folder)
            tally.add("cuts")
            where = f"{name}, cut {number} after call {cut} of {len(events)}"
            _check(scene, zygote, folder / name, reference, disk.acknowledged, tally, where, number % resume == 0)
    return tally.done()


def ext4_cuts(scene: Scene, count: int, *, seed: int = 0, breakage: str = "", system: str = "ext4") -> Tally:
    """Shut down a file system during one of a run's calls, mount it again, check the rows, and continue."""
    tally, rng = Tally(f"power cut ({system})"), np.random.default_rng(seed)
    folder, image = scene.fresh_folder("mounted"), scene.folder / "disk.img"
    acks = scene.folder / "acks"
    try:
        _format(image, system)
        with mount(folder, "-o", "loop", str(image)):
            pass
    except (OSError, subprocess.CalledProcessError):
        tally.skipped = f"no {system} can be made and mounted here (needs root)"
        return tally.done()
    with scene.zygote() as zygote:
        recordings = {}
        for name in OUTPUTS:  # written there too, because paths and root are compared
            with mount(folder, "-o", "loop", str(image)):
                recordings[name] = _record(scene, zygote, name, breakage, folder)
        for number in range(count):
            name = OUTPUTS[number % len(OUTPUTS)]
            events, reference = recordings[name]
            calls = sum(event[0] != "ack" for event in events)
            at = int(rng.integers(1, calls + 1))
            acks.unlink(missing_ok=True)
            _format(image, system)
            with mount(folder, "-o", "loop", str(image)):
                seam = {"watch": str(folder), "at": at, "fault": "power", "acks": str(acks)}
                zygote.start(
                    *scene.embed(folder / name), cwd=scene.folder, settings=SMALL_SHARDS, seam=seam, breakage=breakage
                )
                if rng.random() < 0.5:
                    time.sleep(float(rng.uniform(0, 0.1)))
                done = zygote.wait()
            where = f"{name}, cut {number} at call {at} of {calls}"
            if not tally.hold(done.code == -9, f"{where}: no cut: {done}"):
                continue
            tally.add("cuts")
            with mount(folder, "-o", "loop", str(image)):
                _check(scene, zygote, folder / name, reference, acknowledged(acks), tally, where, True)
    return tally.done()


def _format(image: Path, system: str) -> None:
    image.unlink(missing_ok=True)
    with open(image, "wb") as file:
        file.truncate(32 << 20)
    subprocess.run([f"mkfs.{system}", "-q", "-F", str(image)], check=True, capture_output=True)


def _record(
    scene: Scene, zygote: Zygote, name: str, breakage: str, folder: Path | None = None
) -> tuple[list[Event], Reference]:
    target, trace = folder or scene.fresh_folder("cut"), scene.folder / "trace"
    seam = {"watch": str(target), "trace": str(trace)}
    done = zygote.run(
        *scene.embed(target / name), cwd=scene.folder, settings=SMALL_SHARDS, seam=seam, breakage=breakage
    )
    if done.code:
        raise RuntimeError(f"without a cut: {done}")
    root = str(target.resolve())
    events: list[Event] = [_relative(json.loads(line), root) for line in trace.read_text().splitlines()]
    return events, Reference.of(target / name)


def _relative(event: list[Any], root: str) -> Event:
    return [part[len(root) :].strip("/") if isinstance(part, str) and part.startswith(root) else part for part in event]


def _check(
    scene: Scene, zygote: Zygote, output: Path, reference: Reference, promised: set[str], tally: Tally, where: str,
    goes_on: bool,
) -> None:  # fmt: skip
    tally.add("acknowledged rows checked", len(promised))
    try:
        found = rows_so_far(output)
    except StoreError as error:
        tally.hold(False, f"{where}: repair is needed: {error}")
        return
    lost = [path for path in promised if found.get(path) != reference.rows[path]]
    tally.add("acknowledged rows lost", len(lost))
    tally.hold(not lost, f"{where}: acknowledged rows lost: {sorted(lost)[:5]}")
    if not goes_on:
        return
    done = zygote.run(*scene.embed(output), cwd=scene.folder, settings=SMALL_SHARDS)
    if tally.hold(done.code == 0, f"{where}: run again: {done}"):
        difference = reference.difference(output)
        tally.hold(not difference, f"{where}: run again: {difference}")
        tally.add("runs completed")


@dataclass
class _File:
    """The synced content of a file, and the writes since its last sync."""

    data: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list)

    def settle(self) -> None:
        for offset, data in self.pending:
            _put(self.data, offset, data)
        self.pending = []

    def after_cut(self, rng: np.random.Generator) -> bytes:
        """Keep any part of the unsynced writes: all, none, or each write whole, torn at a sector, or not at all."""
        data, way = bytearray(self.data), int(rng.integers(4))
        for offset, written in self.pending if way else []:
            share = 1.0 if way == 1 else float(rng.choice([0.0, 1.0, rng.random()]))
            kept = len(written) if share == 1.0 else int(share * len(written)) // SECTOR * SECTOR
            _put(data, offset, written[:kept])
        if way == 3 and self.pending:  # the length was written, the data was not
            end = max(offset + len(written) for offset, written in self.pending)
            data.extend(bytes(max(0, end - len(data))))
        return bytes(data)


@dataclass
class _Folder:
    """The synced names of a folder, and the name changes since its last sync."""

    names: dict[str, "_File | _Folder"] = field(default_factory=dict)
    pending: list[tuple[str, str, "_File | _Folder"]] = field(default_factory=list)

    def settle(self) -> None:
        for change in self.pending:
            _rename(self.names, *change)
        self.pending = []

    def after_cut(self, rng: np.random.Generator) -> "_Folder":
        names, way, share = dict(self.names), int(rng.integers(3)), float(rng.random())
        for change in self.pending if way else []:
            if way == 1 or rng.random() < share:
                _rename(names, *change)
        return _Folder({name: _survivor(entry, rng) for name, entry in names.items()})

    def write_to(self, path: Path) -> None:
        """Write the folder to disk."""
        for name, entry in self.names.items():
            if isinstance(entry, _Folder):
                (path / name).mkdir()
                entry.write_to(path / name)
            else:
                (path / name).write_bytes(entry.data)


class Disk:
    """A folder after a series of calls, and after a power cut.

    Attributes
    ----------
    acknowledged
        Paths whose commit has returned.
    """

    def __init__(self) -> None:
        self.root = _Folder()
        self.acknowledged: set[str] = set()
        self._live: dict[str, _File | _Folder] = {"": self.root}

    def apply(self, event: Event) -> None:
        """Apply one call of a trace (see `torture.disk.seam`)."""
        kind, path, *more = event
        if kind == "ack":
            self.acknowledged.update(more[0])
        elif kind == "open":
            self._opened(path, more[0])
        elif kind == "write":
            self._file(path).pending.append((more[0], bytes.fromhex(more[1])))
        elif kind == "fsync":
            self._live[path].settle()
        elif kind == "mkdir":
            self._live[path] = _Folder()
            self._note("", path, self._live[path])
        elif kind == "rename":
            entry = self._live.pop(path)
            self._live[more[0]] = entry
            self._note(path, more[0], entry)
        elif kind in ("unlink", "rmdir"):
            self._note(path, "", self._live.pop(path))

    def after_cut(self, rng: np.random.Generator) -> _Folder:
        """Return a state that a cut may leave."""
        return self.root.after_cut(rng)

    def _opened(self, path: str, truncates: bool) -> None:
        if path not in self._live:
            self._live[path] = _File()
            self._note("", path, self._live[path])
        elif truncates:
            file = self._file(path)
            file.data, file.pending = bytearray(), []

    def _file(self, path: str) -> _File:
        found = self._live[path]
        assert isinstance(found, _File)
        return found

    def _note(self, source: str, target: str, entry: "_File | _Folder") -> None:
        folder, _, _ = (target or source).rpartition("/")
        parent = self._live[folder]
        assert isinstance(parent, _Folder)
        parent.pending.append((source.rpartition("/")[2], target.rpartition("/")[2], entry))


def _rename(names: "dict[str, _File | _Folder]", source: str, target: str, entry: "_File | _Folder") -> None:
    if source and names.get(source) is entry:
        del names[source]
    if target:
        names[target] = entry


def _survivor(entry: "_File | _Folder", rng: np.random.Generator) -> "_File | _Folder":
    return entry.after_cut(rng) if isinstance(entry, _Folder) else _File(bytearray(entry.after_cut(rng)))


def _put(data: bytearray, offset: int, written: bytes) -> None:
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    data[offset : offset + len(written)] = written
