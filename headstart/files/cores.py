"""The cores and memory that this process may use."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

CGROUPS, OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def cores() -> int:
    """Count the cores that this process may use; a container's quota of 1.5 cores counts as 2."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _cgroups("cpu"):
        old = _numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us")
        for limit in (_numbers(folder / "cpu.max"), old):
            if len(limit) == 2 and min(limit) > 0:
                found = min(found, math.ceil(limit[0] / limit[1]))
    return found


def machine_memory() -> int:
    """Return the bytes of memory of this machine or its container, whichever is less; 8 GiB if unknown."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 << 30
    for folder in _cgroups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            found = min([found, *_numbers(folder / name)])
    return found


def _cgroups(controller: str) -> Iterator[Path]:
    """Return the folders with limits on this process: its cgroup and all above it, of versions 2 and 1.

    Without a cgroup namespace the path is the host's, of which a container sees only the end: the root counts always.
    """
    with suppress(OSError, ValueError):
        for line in OWN_CGROUPS.read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" or controller in controllers.split(","):
                top = CGROUPS if number == "0" else CGROUPS / controller
                inner = PurePosixPath(path.lstrip("/"))
                yield from (top / part for part in (inner, *inner.parents))


def _numbers(file: Path) -> list[int]:
    """Return the numbers in a file; none if it is missing or sets no limit (``max``)."""
    try:
        return [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []
