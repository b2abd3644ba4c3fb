"""SIGKILL at random moments, repeatedly, until each run completes."""

import shutil
import signal
import time
from pathlib import Path

import numpy as np

from headstart.extract.errors import StoreError
from torture.disk.states import Reference, acknowledged, rows_so_far
from torture.processes.process import Zygote
from torture.scene import CLASSES, SMALL_SHARDS, Scene, leftovers
from torture.tally import Tally

OUTPUTS = ("photos.h5", "photos.emb", "predictions.csv")


def kills(scene: Scene, count: int, *, seed: int = 0, outputs: tuple[str, ...] = OUTPUTS, breakage: str = "") -> Tally:
    """Kill runs of `embed` and `score` at random moments, and restart each until it completes.

    Each output is made from all photos, then again after some photos were removed, moved or added. Committed rows must
    exist after every kill, and the result must equal that of an undisturbed run.
    """
    tally, rng = Tally("SIGKILL at random moments"), np.random.default_rng(seed)
    tally.counts["kills"] = 0
    with scene.zygote() as zygote:
        stages = [_Stage(scene, zygote, name, tally) for name in outputs]
        while tally.counts["kills"] < count and len(tally.broken) < 20:
            for stage in stages:
                if tally.counts["kills"] < count:
                    stage.go_through(rng, count, breakage)
    return tally.done()


class _Stage:
    """One output, and the results of undisturbed runs of its two steps."""

    def __init__(self, scene: Scene, zygote: Zygote, name: str, tally: Tally) -> None:
        self.scene, self.zygote, self.name, self.tally = scene, zygote, name, tally
        self.photos = [scene.photos, _changed(scene)]
        folder = scene.fresh_folder(f"reference-{name}")
        self.references, self.seconds = [], 0.0
        for photos in self.photos:
            started = time.monotonic()
            done = zygote.run(*self._arguments(folder / name, photos), cwd=scene.folder, settings=SMALL_SHARDS)
            self.seconds = time.monotonic() - started
            if done.code:
                raise RuntimeError(f"the reference: {done}")
            self.references.append(Reference.of(folder / name))
            shutil.rmtree(folder)
            folder.mkdir()

    def go_through(self, rng: np.random.Generator, limit: int, breakage: str) -> None:
        folder = self.scene.fresh_folder(f"killed-{self.name}")
        output = folder / self.name
        for photos, reference in zip(self.photos, self.references, strict=True):
            acks = self.scene.folder / "acks"
            acks.unlink(missing_ok=True)
            while not self._run_or_kill(output, photos, reference, acks, rng, limit, breakage):
                pass
            self.tally.add("runs completed")
            difference = reference.difference(output)
            self.tally.hold(not difference, f"after kills: {difference}")
            found = [] if output.is_dir() else leftovers(folder)
            self.tally.hold(not found, f"{self.name}: left behind: {found}")

    def _run_or_kill(
        self, output: Path, photos: Path, reference: Reference, acks: Path, rng: np.random.Generator,
        limit: int, breakage: str,
    ) -> bool:  # fmt: skip
        seam = {"watch": str(output.parent), "acks": str(acks)}
        self.zygote.start(
            *self._arguments(output, photos), cwd=self.scene.folder, settings=SMALL_SHARDS, seam=seam, breakage=breakage
        )
        may_kill = self.tally.counts["kills"] < limit
        if may_kill and not self.zygote.is_over(float(rng.uniform(0, 1.1 * self.seconds))):
            self.zygote.send(signal.SIGKILL)
        done = self.zygote.wait()
        if done.code == -signal.SIGKILL:
            self.tally.add("kills")
        self.tally.hold(done.code in (0, -signal.SIGKILL), f"{self.name}: restarted: {done}")
        if self.name.endswith((".h5", ".emb")):
            self._check_rows(output, reference, acks)
        return done.code != -signal.SIGKILL

    def _check_rows(self, output: Path, reference: Reference, acks: Path) -> None:
        try:
            found = rows_so_far(output)
        except StoreError as error:
            self.tally.hold(False, f"after a kill, repair is needed: {error}")
            return
        promised = acknowledged(acks)
        self.tally.add("acknowledged rows checked", len(promised))
        lost = [path for path in promised if found.get(path) != reference.rows[path]]
        self.tally.hold(not lost, f"{self.name}: acknowledged rows lost or wrong: {sorted(lost)[:5]}")

    def _arguments(self, output: Path, photos: Path) -> list[object]:
        if self.name.endswith((".h5", ".emb")):
            return self.scene.embed(output, photos)
        return self.scene.score(output, photos)


def _changed(scene: Scene) -> Path:
    """Return a copy of the photos with the same times, in which some were removed, moved or added."""
    folder = scene.folder / "changed"
    if folder.exists():
        return folder
    shutil.copytree(scene.photos, folder, copy_function=shutil.copy2)
    first, second = (sorted((folder / name).glob("0*.png")) for name in CLASSES[:2])
    for gone in first[:2]:
        gone.unlink()
    for moved in second[:2]:
        moved.rename(folder / CLASSES[2] / f"moved-{moved.name}")
    for number in range(6):
        (folder / CLASSES[3] / f"new-{number}.png").write_bytes(first[-1].read_bytes() + bytes([number]))
    return folder
