"""``make torture``: inject every fault at full length, and print one table of counts.

TORTURE_SCALE shortens all runs (0.1: a tenth), TORTURE_ONLY=kills,power selects some, TORTURE_OUTPUT is the folder for
torture.md and torture.json (build/torture), and TORTURE_SEED selects other moments and bits.
"""

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torture.disk.calls import full_disk, killed_at_calls, refused_at_calls
from torture.disk.damage import damage
from torture.disk.power import ext4_cuts, replayed_cuts
from torture.pictures.folder import images
from torture.pictures.fuzz import fuzz
from torture.processes.interrupts import COMMANDS, interrupts
from torture.processes.kills import kills
from torture.processes.long import long_run
from torture.processes.races import races, reads_while_writing, refused_in_time
from torture.scene import Scene
from torture.tally import Tally


def faults(scale: float, seed: int) -> dict[str, Callable[[Scene], Tally]]:
    """Return every fault, at full length or a share of it."""

    def times(number: int) -> int:
        return max(1, round(number * scale))

    every = max(1, round(1 / scale))
    return {
        "kills": lambda scene: kills(scene, times(1000), seed=seed),
        "calls": lambda scene: killed_at_calls(scene, every, seed=seed),
        "refusals": lambda scene: refused_at_calls(scene, every, seed=seed),
        "full": lambda scene: full_disk(scene, max(2, times(30)), seed=seed),
        "power": lambda scene: replayed_cuts(scene, times(1000), seed=seed, resume=5),
        "ext4": lambda scene: ext4_cuts(scene, times(100), seed=seed),
        "damage": lambda scene: damage(scene, times(10_000), seed=seed),
        "images": lambda scene: _tallied("bad images", images(times(6), scene.backbone)),
        "fuzz": lambda scene: _tallied("image fuzz", fuzz(times(100_000), seed * 1_000_000)),
        "races": lambda scene: races(scene, times(100)),
        "second": lambda scene: refused_in_time(scene, times(50)),
        "reads": lambda scene: reads_while_writing(scene, times(1000)),
        "interrupts": lambda scene: interrupts(scene, times(10), commands=(*COMMANDS, "export"), seed=seed),
        "long": lambda scene: long_run(scene, times(20_000), times(200_000)),
    }


def main() -> int:
    """Run the selected faults; the exit code is 1 if a promise was broken."""
    scale, seed = float(os.environ.get("TORTURE_SCALE", "1")), int(os.environ.get("TORTURE_SEED", "0"))
    output = Path(os.environ.get("TORTURE_OUTPUT", "build/torture"))
    output.mkdir(parents=True, exist_ok=True)
    known = faults(scale, seed)
    selected = os.environ.get("TORTURE_ONLY", ",".join(known)).split(",")
    tallies: list[Tally] = []
    for name in selected:
        with tempfile.TemporaryDirectory(prefix="torture-") as folder:
            scene = Scene.make(Path(folder))
            try:
                tallies.append(known[name](scene))
            finally:
                scene.close()
        sys.stderr.write(f"{_row(tallies[-1])}\n")
        (output / "torture.md").write_text(to_markdown(tallies))
        (output / "torture.json").write_text(json.dumps([tally.to_json() for tally in tallies], indent=2) + "\n")
    sys.stdout.write(to_markdown(tallies))
    return int(any(tally.broken for tally in tallies))


def _tallied(fault: str, figures: Mapping[str, Any]) -> Tally:
    """Count numbers, and report every line of `wrong`, `escaped` and `hung` as a broken promise."""
    tally = Tally(fault)
    for name, value in figures.items():
        if isinstance(value, int | float) and name != "seconds":
            tally.add(name, value)
        elif isinstance(value, list):
            tally.broken += [f"{name}: {line}" for line in value]
    tally.hold(figures.get("slowest", 0) < 10, "a mutant took 10 s or more")
    tally.hold(figures.get("most_memory", 0) <= 1024, "decoding took more than 1,024 MB")
    return tally.done()


def to_markdown(tallies: list[Tally]) -> str:
    """Return one table, followed by the broken promises."""
    lines = [
        f"Measured on {platform.system()} {platform.release()}, Python {platform.python_version()}.",
        "",
        "| fault | counted | broken promises | seconds |",
        "|---|---|---:|---:|",
        *(_row(tally) for tally in tallies),
        "",
        *(f"- {tally.fault}: {line}" for tally in tallies for line in tally.broken),
    ]
    return "\n".join(lines) + "\n"


def _row(tally: Tally) -> str:
    counts = "; ".join(f"{what} {number:,}" for what, number in tally.counts.items())
    return f"| {tally.fault} | {tally.skipped or counts} | {len(tally.broken)} | {tally.seconds} |"


if __name__ == "__main__":
    sys.exit(main())
