"""A folder of difficult files, each with its expected result."""

import os
import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from headstart.extract import EngineOptions, embed
from torture.pictures.bombs import bombs
from torture.pictures.case import Case
from torture.pictures.contents import broken_blocks, cut_off, kinds, not_images, turned
from torture.pictures.entries import names, special_files


def cases() -> list[Case]:
    """Create every case; those that this system cannot write are left out later."""
    groups: tuple[Callable[[], Iterable[Case]], ...]
    groups = (not_images, cut_off, kinds, bombs, broken_blocks, turned, special_files, names)
    return [case for group in groups for case in group()]


def images(count: int, backbone: Path) -> dict[str, object]:
    """Embed the folder `count` times with different options, and count wrong results.

    Returns
    -------
    files, inputs, embedded, failed: counts per run; wrong: one line per wrong result.
    """
    figures: dict[str, object] = {}
    wrong: list[str] = []
    for number in range(count):
        with tempfile.TemporaryDirectory() as folder:
            options = EngineOptions(workers=1 + number % 3, batch_size=1 + 7 * number, isolate=number % 2 == 0)
            found, faults = check(Path(folder), backbone, options)
            figures |= found
            wrong += [f"run {number}: {fault}" for fault in faults]
    return {"runs": count, **figures, "wrong": wrong}


def check(folder: Path, backbone: Path, options: EngineOptions | None = None) -> tuple[dict[str, int], list[str]]:
    """Embed every case once in this folder; return counts, and one line per wrong result."""
    put = {case.name: case for case in cases() if _put(folder / "photos", case)}
    store, summary = embed(folder / "photos", backbone, folder / "photos.h5", options=options)
    vectors, embedded = np.asarray(store.embeddings(), np.float32), np.asarray(store.is_embedded)
    row = {os.fsencode(path): number for number, path in enumerate(store.paths)}
    failures = {os.fsencode(path): reason for path, reason in store.failures.items()}
    wrong = [f"{name!r}: no row" for name in put.keys() - row.keys()]
    wrong += [f"{name!r}: a row, but no such file" for name in row.keys() - put.keys()]
    for name in put.keys() & row.keys():
        case, reason = put[name], failures.get(name, "")
        if bool(reason) == bool(embedded[row[name]]):
            wrong.append(f"{name!r}: neither embedded nor failed, or both")
        if case.reason is not None and not re.search(case.reason or "^$", reason):
            wrong.append(f"{name!r}: {reason!r}, expected {case.reason!r}")
        if not reason and case.like:
            distance = float(np.abs(vectors[row[name]] - vectors[row[case.like]]).max())
            if not distance < 0.05:
                wrong.append(f"{name!r}: {distance:.3f} from {case.like!r}")
    counts = {"files": len(put), "inputs": summary.inputs, "embedded": summary.embedded, "failed": summary.failed}
    if summary.inputs != summary.embedded + summary.failed or summary.inputs != len(put):
        wrong.append(f"counts do not add up: {counts}")
    return counts, sorted(wrong)


def _put(folder: Path, case: Case) -> bool:
    path = os.path.join(os.fsencode(folder), case.name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if callable(case.make):
        try:
            case.make(path)
        except (OSError, AttributeError):
            return False
        return True
    try:
        with open(path, "wb") as file:
            file.write(case.make)
    except OSError:  # some file systems refuse some names
        return False
    return True
