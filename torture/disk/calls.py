"""A fault at every call that changes the disk: the process is killed there, or the system refuses the call."""

import contextlib
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.extract.errors import StoreError
from torture.disk.states import Reference, acknowledged, rows_so_far
from torture.processes.process import Done, Zygote
from torture.scene import SMALL_SHARDS, Scene, leftovers
from torture.tally import Tally

KILLS = ("kill before", "kill after", "kill torn")
REFUSALS = ("ENOSPC on", "EIO on", "EROFS on", "ENOSPC", "EIO")
COMMANDS = ("photos.h5", "photos.emb", "predictions.csv", "classifier.onnx")


@dataclass
class _Job:
    """A command that is tested at every call."""

    scene: Scene
    zygote: Zygote
    name: str
    folder: Path
    reference: Reference
    calls: int

    @classmethod
    def make(cls, scene: Scene, zygote: Zygote, name: str) -> "_Job":
        """Run once without a fault, and count the calls."""
        folder, trace = scene.fresh_folder(f"calls-{name}"), scene.folder / "trace"
        job = cls(scene, zygote, name, folder, Reference({}, None), 0)
        done = job.run(seam={"watch": str(folder), "trace": str(trace)})
        if done.code:
            raise RuntimeError(f"without a fault: {done}")
        job.calls = sum('["ack"' not in line for line in trace.read_text().splitlines())
        job.reference = Reference.of(folder / name)
        return job

    def run(self, **options: object) -> Done:
        """Run the command in the folder in its current state."""
        output = self.folder / self.name
        arguments = {
            ".h5": self.scene.embed, ".emb": self.scene.embed, ".csv": self.scene.score, ".onnx": self.scene.train,
        }[output.suffix](output)  # fmt: skip
        self.zygote.start(*arguments, cwd=self.scene.folder, settings=SMALL_SHARDS, **options)  # type: ignore[arg-type]
        return self.zygote.wait()

    def begin_again(self) -> None:
        """Empty the folder."""
        shutil.rmtree(self.folder)
        self.folder.mkdir()

    def is_store(self) -> bool:
        """Whether rows can be read before the run has ended."""
        return self.name.endswith((".h5", ".emb"))


def killed_at_calls(
    scene: Scene, every: int = 1, *, commands: tuple[str, ...] = COMMANDS, seed: int = 0, breakage: str = ""
) -> Tally:
    """Kill each command before, during and after every call (or one in `every`), and run it again."""
    tally = Tally("SIGKILL at every system call")
    for job, at, fault in _points(scene, tally, commands, KILLS, every, seed):
        acks = scene.folder / "acks"
        acks.unlink(missing_ok=True)
        where = f"{job.name}: {fault} call {at}"
        done = job.run(seam=_seam(job, at, fault, acks), breakage=breakage)
        if not tally.hold(done.code == -signal.SIGKILL, f"{where}: was not killed: {done}"):
            continue
        tally.add(f"{job.name}: kills")
        _check_acknowledged(job, acks, tally, where)
        _check_goes_on(job, tally, where, breakage)
    return tally.done()


def refused_at_calls(
    scene: Scene, every: int = 1, *, commands: tuple[str, ...] = COMMANDS, seed: int = 0, breakage: str = ""
) -> Tally:
    """Refuse every call (or one in `every`) of each command, alone or with all later ones; then run without fault."""
    tally = Tally("ENOSPC, EIO and EROFS at every system call")
    for job, at, fault in _points(scene, tally, commands, REFUSALS, every, seed):
        acks = scene.folder / "acks"
        acks.unlink(missing_ok=True)
        where = f"{job.name}: {fault} at call {at}"
        done = job.run(seam=_seam(job, at, fault, acks), breakage=breakage)
        tally.add(f"{job.name}: refused" if done.code else f"{job.name}: did without")
        if done.code == 0:
            difference = job.reference.difference(job.folder / job.name)
            tally.hold(not difference, f"{where}: reports success: {difference}")
        else:
            tally.hold(done.is_clear_error, f"{where}: {done}")
        _check_acknowledged(job, acks, tally, where)
        _check_goes_on(job, tally, where, breakage)
    return tally.done()


def full_disk(scene: Scene, levels: int, *, seed: int = 0, breakage: str = "") -> Tally:
    """Run `embed` and `score` on file systems of several sizes, mostly too small, and again once there is space."""
    tally = Tally("a full file system (tmpfs)")
    with contextlib.ExitStack() as mounted:
        folder = scene.fresh_folder("tmpfs")
        try:
            mounted.enter_context(mount(folder, "-t", "tmpfs", "-o", "size=4m", "tmpfs"))
        except (OSError, subprocess.CalledProcessError):
            tally.skipped = "no file system can be mounted here (needs root)"
            return tally.done()
        with scene.zygote() as zygote:
            for name in ("photos.h5", "predictions.csv"):
                path = folder / name
                job = _Job(scene, zygote, name, folder, Reference({}, None), 0)
                done = job.run()
                job.reference = Reference.of(path)
                needed = path.stat().st_size
                path.unlink()
                for level in range(levels // 2):
                    _at_level(job, tally, int(level * 12 * needed / (levels // 2)), breakage)
                    tally.hold(done.code == 0, f"{name}: without a fault: {done}")
    return tally.done()


def _at_level(job: _Job, tally: Tally, room: int, breakage: str) -> None:
    ballast, block = job.folder / "ballast", 4096
    free = shutil.disk_usage(job.folder).free
    ballast.write_bytes(bytes(max(0, free - room) // block * block))
    done = job.run(breakage=breakage)
    where = f"{job.name}: {room} bytes of room"
    tally.add(f"{job.name}: refused" if done.code else f"{job.name}: fitted")
    tally.hold(done.code == 0 or done.is_clear_error, f"{where}: {done}")
    ballast.unlink()
    _check_goes_on(job, tally, where, "")
    for path in job.folder.iterdir():
        path.unlink()


@contextlib.contextmanager
def mount(folder: Path, *arguments: str) -> Iterator[None]:
    """Mount a file system on a folder for the duration of the block.

    Raises
    ------
    OSError, subprocess.CalledProcessError
        If that is not possible.
    """
    subprocess.run(["mount", *arguments, str(folder)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def _points(
    scene: Scene, tally: Tally, commands: tuple[str, ...], faults: tuple[str, ...], every: int, seed: int
) -> Iterator[tuple[_Job, int, str]]:
    rng = np.random.default_rng(seed)
    with scene.zygote("classifier.onnx" in commands) as zygote:
        for name in commands:
            job = _Job.make(scene, zygote, name)
            tally.add(f"{name}: calls", job.calls)
            for fault in faults:
                for at in range(1 + int(rng.integers(every)), job.calls + 1, every):
                    job.begin_again()
                    yield job, at, fault
                    if len(tally.broken) >= 20:
                        return


def _seam(job: _Job, at: int, fault: str, acks: Path) -> dict[str, object]:
    return {"watch": str(job.folder), "at": at, "fault": fault, "acks": str(acks)}


def _check_acknowledged(job: _Job, acks: Path, tally: Tally, where: str) -> None:
    if not job.is_store():
        return
    try:
        found = rows_so_far(job.folder / job.name)
    except StoreError as error:
        tally.hold(False, f"{where}: repair is needed: {error}")
        return
    promised = acknowledged(acks)
    tally.add("acknowledged rows checked", len(promised))
    lost = [path for path in promised if found.get(path) != job.reference.rows[path]]
    tally.hold(not lost, f"{where}: acknowledged rows lost or wrong: {sorted(lost)[:5]}")


def _check_goes_on(job: _Job, tally: Tally, where: str, breakage: str) -> None:
    done = job.run(breakage=breakage)
    if tally.hold(done.code == 0, f"{where}: run again: {done}"):
        difference = job.reference.difference(job.folder / job.name)
        tally.hold(not difference, f"{where}: run again: {difference}")
        found = leftovers(job.folder)
        found = [name for name in found if not (job.name.endswith(".emb") and name.startswith("part-"))]
        if job.name.endswith(".onnx"):  # without a lock, a leftover may belong to another process
            tally.add("unfinished classifiers left behind", len(found))
        else:
            tally.hold(not found, f"{where}: left behind: {found}")
