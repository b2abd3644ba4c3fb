"""Run contenders in turn, round after round, each in its own process, so that a drifting machine is fair to all."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.console import Console

from bench.speed.contenders import CONTENDERS, Task
from headstart.files.cores import cores

BASELINE = "keras"


@dataclass(frozen=True)
class Result:
    """The measurements of one contender over all rounds.

    Attributes
    ----------
    name
        A key of `bench.speed.contenders.CONTENDERS`.
    rates
        Images per second in each round; empty if the contender could not run.
    cpu_seconds
        CPU seconds per image, median.
    peak_mb
        Peak resident memory of the process, MiB.
    note
        Why the contender could not run.
    """

    name: str
    rates: list[float]
    cpu_seconds: float
    peak_mb: float
    note: str = ""

    @property
    def rate(self) -> float:
        """Median images per second."""
        return median(self.rates)


def race(task: Task, rounds: int, console: Console, names: list[str] | None = None) -> dict[str, Result]:
    """Run every contender once per round."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names or CONTENDERS}
    notes: dict[str, str] = {}
    for number in range(rounds):
        for name in runs:
            if name in notes:
                continue
            done = subprocess.run(
                [sys.executable, "-m", "bench.speed.contenders", name, json.dumps(asdict(task))],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                notes[name] = (done.stderr.strip().splitlines() or ["no message"])[-1][:120]
                console.print(f"{name}: {notes[name]}", markup=False)
                continue
            runs[name].append(json.loads(done.stdout.splitlines()[-1]))
            latest = runs[name][-1]
            console.print(f"round {number + 1}: {name}: {latest['images'] / latest['seconds']:.1f} images/s")
    return {name: _result(name, found, notes.get(name, "")) for name, found in runs.items()}


def ratio(results: dict[str, Result], name: str, baseline: str = BASELINE) -> float | None:
    """Return the median ratio of a contender's rate to the baseline's rate in the same round."""
    pairs = list(zip(results[name].rates, results[baseline].rates, strict=False))
    return median(mine / theirs for mine, theirs in pairs) if pairs else None


def shares(results: dict[str, Result]) -> dict[str, float]:
    """Return the share of the roofline for each precision: cores / (decode + inference seconds on one core)."""
    found = {}
    for precision in ("fp32", "int8"):
        parts = ("one core decode", f"one core {precision}", f"headstart {precision}")
        if all(part in results and results[part].rates for part in parts):
            decode, infer, whole = (results[part].rates for part in parts)
            found[precision] = median(
                rate * (1 / d + 1 / i) / cores() for rate, d, i in zip(whole, decode, infer, strict=False)
            )
    return found


def _result(name: str, runs: list[dict[str, Any]], note: str) -> Result:
    if not runs:
        return Result(name, [], 0.0, 0.0, note)
    return Result(
        name,
        rates=[run["images"] / run["seconds"] for run in runs],
        cpu_seconds=median(run["cpu_seconds"] / run["images"] for run in runs),
        peak_mb=max(run["peak_mb"] for run in runs),
        note=note,
    )
