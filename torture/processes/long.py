"""A long run: memory per item, and no leaked descriptor or thread."""

import os
import time
from pathlib import Path
from statistics import median

from torture.processes.process import PATIENCE, Zygote
from torture.scene import Scene, link_photos
from torture.tally import Tally

BYTES_PER_ITEM = 3_000
"""Path, digest, numbers and index of a row as Python objects, twice while the store is compacted."""
SLACK = 24 << 20
"""Bytes by which the peaks of two equal runs may differ."""


def long_run(scene: Scene, few: int, many: int, *, breakage: str = "") -> Tally:
    """Embed `few` and `many` linked photos, and compare their memory, descriptors and threads."""
    tally = Tally("a long run")
    peaks = {}
    with scene.zygote() as zygote:
        for count in (few, many):
            photos = link_photos(scene.photos, scene.folder / f"linked-{count}", count)
            output = scene.fresh_folder(f"long-{count}") / "photos.h5"
            zygote.start(*scene.embed(output, photos), cwd=scene.folder, breakage=breakage)
            peaks[count] = _watch(zygote, Path("/proc") / str(zygote.process))
            done = zygote.wait()
            tally.hold(
                done.code == 0 and f"{count} embedded, 0 failed" in done.out, f"{count}: {done} {done.out[:200]}"
            )
            tally.add("images", count)
    if not peaks[few]:
        tally.skipped = "no /proc here"
        return tally.done()
    grown = {what: peaks[many][what] - peaks[few][what] for what in peaks[few]}
    tally.counts |= {f"{what}, {count}": found for count in peaks for what, found in peaks[count].items()}
    tally.counts["bytes per item"] = round(grown["bytes"] / (many - few))
    allowed = SLACK + BYTES_PER_ITEM * (many - few)
    tally.hold(grown["bytes"] < allowed, f"memory grew by {grown['bytes']:,} bytes, more than {allowed:,}")
    for what in ("descriptors", "threads"):
        tally.hold(grown[what] <= 2, f"{what} grew from {peaks[few][what]} to {peaks[many][what]}")
    return tally.done()


def _watch(zygote: Zygote, process: Path) -> dict[str, int]:
    """Watch a process until it ends; empty without /proc.

    Returns
    -------
    The peak of its memory, and the medians of its descriptors and threads over the last quarter, where a leak is
    largest; brief peaks do not count.
    """
    seen: list[dict[str, int]] = []
    end = time.monotonic() + 30 * PATIENCE
    while not zygote.is_over(0.01) and time.monotonic() < end:
        try:
            seen.append(_now(process))
        except (OSError, LookupError):
            continue
    if not seen:
        return {}
    late = seen[3 * len(seen) // 4 :]
    return {"bytes": max(now["bytes"] for now in seen)} | {
        what: int(median(now[what] for now in late)) for what in ("descriptors", "threads")
    }


def _now(process: Path) -> dict[str, int]:
    lines = (process / "status").read_text().splitlines()
    status = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    return {
        "bytes": 1024 * int(status["VmHWM"][0]),
        "descriptors": len(os.listdir(process / "fd")),
        "threads": int(status["Threads"][0]),
    }
