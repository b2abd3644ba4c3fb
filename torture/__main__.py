"""``make torture``: every fault at length, one table of what was counted.

TORTURE_SCALE makes all of it shorter (0.1: a tenth), TORTURE_ONLY=kills,power runs some, TORTURE_OUTPUT is the folder
of torture.md and torture.json (build/torture), TORTURE_SEED another choice of moments and bits.
"""

import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torture.calls import full_disk, killed_at_calls, refused_at_calls
from torture.damage import damage
from torture.fuzz import fuzz
from torture.images import images
from torture.interrupts import COMMANDS, interrupts
from torture.kills import kills
from torture.long import long_run
from torture.power import ext4_cuts, replayed_cuts
from torture.races import races, reads_while_writing, told_in_time
from torture.scene import Scene
from torture.tally import Tally


def faults(scale: float, seed: int) -> dict[str, Callable[[Scene], Tally]]:
    """Give every fault at its full length, or a share of it."""

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
        "told": lambda scene: told_in_time(scene, times(50)),
        "reads": lambda scene: reads_while_writing(scene, times(1000)),
        "interrupts": lambda scene: interrupts(scene, times(10), commands=(*COMMANDS, "export"), seed=seed),
        "long": lambda scene: long_run(scene, times(20_000), times(200_000)),
    }


def main() -> int:
    """Run what is asked for; the exit code is 1 where something did not hold."""
    scale, seed = float(os.environ.get("TORTURE_SCALE", "1")), int(os.environ.get("TORTURE_SEED", "0"))
    output = Path(os.environ.get("TORTURE_OUTPUT", "build/torture"))
    output.mkdir(parents=True, exist_ok=True)
    known = faults(scale, seed)
    wanted = os.environ.get("TORTURE_ONLY", ",".join(known)).split(",")
    tallies: list[Tally] = []
    for name in wanted:
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
    """Count numbers, and take every line of `wrong`, `escaped` and `hung` for something that did not hold."""
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
    """Give one table, and under it what did not hold."""
    lines = [
        f"Measured on {platform.system()} {platform.release()}, Python {platform.python_version()}.",
        "",
        "| fault | counted | did not hold | seconds |",
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
