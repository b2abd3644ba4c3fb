"""Ctrl-C and SIGTERM at any moment of any command: finished work is kept, and a message says how to continue."""

import signal
import time
from pathlib import Path

import numpy as np

from headstart.extract.errors import StoreError
from torture.disk.states import Reference, acknowledged, rows_so_far
from torture.processes.process import Done, Zygote, session_members, wait_until
from torture.scene import SMALL_SHARDS, Scene
from torture.tally import Tally

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
COMMANDS = ("embed", "train", "evaluate", "score", "demo")
ADVICE = "run the same command"
WITH_KEPT_ROWS = ("embed",)
SLOW_DISK = 0.05


def interrupts(
    scene: Scene, count: int, *, commands: tuple[str, ...] = COMMANDS, seed: int = 0, breakage: str = ""
) -> Tally:
    """Send each signal to each command at `count` random moments after its start."""
    tally, rng = Tally("Ctrl-C and SIGTERM"), np.random.default_rng(seed)
    with scene.zygote(True) as zygote:
        for command in commands:
            folder = scene.fresh_folder("interrupted")
            started = time.monotonic()
            done = zygote.run(*_arguments(scene, command, folder), cwd=folder)
            seconds = time.monotonic() - started
            if not tally.hold(done.code == 0, f"{command}, not interrupted: {done}"):
                continue
            reference = Reference.of(folder / "photos.h5") if command in WITH_KEPT_ROWS else None
            for number in (*CODES,) * count:
                folder = scene.fresh_folder("interrupted")
                _interrupt(
                    scene, zygote, command, folder, number, float(rng.uniform(0.0, 0.6 * seconds)), breakage, tally
                )
                if reference:
                    _check_goes_on(scene, zygote, folder / "photos.h5", reference, tally)
    return tally.done()


def _arguments(scene: Scene, command: str, folder: Path) -> list[object]:
    return {
        "embed": scene.embed(folder / "photos.h5", isolated=True),
        "train": scene.train(folder / "classifier.onnx"),
        "evaluate": ["evaluate", scene.store, "--classifier", scene.classifier],
        "score": scene.score(folder / "predictions.csv", isolated=True),
        "demo": ["demo", "--weights", "random", "-o", folder / "demo"],
        "export": ["export", "--weights", "random", "--image-size", "96", "-o", folder / "backbone.onnx"],
    }[command]


def _interrupt(
    scene: Scene, zygote: Zygote, command: str, folder: Path, number: signal.Signals, after: float, breakage: str,
    tally: Tally,
) -> None:  # fmt: skip
    acks = scene.folder / "acks"
    added = acks.with_name("acks.added")
    added.unlink(missing_ok=True)
    seam = {"watch": str(folder), "pause": SLOW_DISK, "acks": str(acks)}
    arguments = _arguments(scene, command, folder)
    zygote.start(*arguments, cwd=folder, settings=SMALL_SHARDS, seam=seam, breakage=breakage)
    if command in ("embed", "score"):
        wait_until(lambda: added.exists() or zygote.is_over(0))
    else:
        time.sleep(0.1)  # until the command has started
    if not zygote.is_over(after):
        zygote.send(number)
    done = zygote.wait()
    leader = zygote.process
    where = f"{command}, {number.name} after {after:.3f} s"
    if done.code == 0 or (done.code == -number and done.out and not done.err.startswith("error")):
        tally.add(f"{command}: already finished")  # an exiting interpreter has no handlers any more
    else:
        tally.add(f"{command}: interrupted")
        tally.hold(_is_clear(done, CODES[number]), f"{where}: {done}")
    if command in WITH_KEPT_ROWS:
        _check_kept(folder / "photos.h5", acknowledged(added), tally, where)
    is_alone = wait_until(lambda: not session_members(leader), 5.0)
    tally.hold(is_alone, f"{where}: left processes {session_members(leader)}")


def _is_clear(done: Done, code: int) -> bool:
    """Whether the last line says how to continue; Python may print lines before it."""
    last = done.err.splitlines()[-1:] or [""]
    return done.code == code and last[0].startswith("error: ") and ADVICE in last[0]


def _check_kept(output: Path, finished: set[str], tally: Tally, where: str) -> None:
    try:
        lost = finished - rows_so_far(output).keys()
    except StoreError as error:
        tally.hold(False, f"{where}: repair is needed: {error}")
        return
    tally.add("finished rows checked", len(finished))
    tally.hold(not lost, f"{where}: finished rows lost: {sorted(lost)[:5]}")


def _check_goes_on(scene: Scene, zygote: Zygote, output: Path, reference: Reference, tally: Tally) -> None:
    done = zygote.run(*scene.embed(output), cwd=output.parent, settings=SMALL_SHARDS)
    difference = reference.difference(output)
    tally.hold(done.code == 0 and not difference, f"embed: run again: {done} {difference}")
