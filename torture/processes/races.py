"""Two writers of one output, and readers during a run."""

import json
import re
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torture.disk.states import Reference, rows_of
from torture.processes.process import Zygote, wait_until
from torture.scene import SMALL_SHARDS, Scene
from torture.tally import Tally

SECONDS_TO_REFUSE = 1.0
SLOW_DISK = 0.01
SLOWER_DISK = 0.04
"""Seconds per call, so that two runs started together meet even on a busy machine."""
SECONDS_TO_GIVE_UP = 300


def races(scene: Scene, count: int, *, breakage: str = "") -> Tally:
    """Start two runs on one output at the same time: one writes, the other stops and names the writer."""
    tally = Tally("two writers at once")
    with scene.zygote() as first, scene.zygote() as second:
        reference = None
        for number in range(count):
            name = ("photos.h5", "photos.emb")[number % 2]
            folder = scene.fresh_folder("race")
            seam = {"watch": str(folder), "pause": SLOWER_DISK}
            options: dict[str, Any] = {
                "settings": SMALL_SHARDS,
                "seam": seam,
                "breakage": breakage,
            }
            for zygote in (first, second):
                zygote.start(*scene.embed(folder / name), cwd=scene.folder, **options)
            _one_wins(first, second, tally, f"race {number}")
            if number == 0:
                reference = Reference.of(folder / name)
            elif number % 2 == 0 and reference:
                difference = reference.difference(folder / name)
                tally.hold(not difference, f"race {number}: {difference}")
    return tally.done()


def _one_wins(first: Zygote, second: Zygote, tally: Tally, where: str) -> None:
    done = {zygote.process: zygote.wait() for zygote in (first, second)}
    tally.add("races")
    codes = sorted(each.code for each in done.values())
    if not tally.hold(codes == [0, 1], f"{where}: {[str(each) for each in done.values()]}"):
        return
    winner = next(process for process, each in done.items() if each.code == 0)
    loser = next(each for each in done.values() if each.code)
    named = re.search(r"being written by process (\d+) on ", loser.err)
    tally.hold(loser.is_clear_error, f"{where}: {loser}")
    if tally.hold(named is not None and int(named[1]) == winner, f"{where}: held by {winner}, but: {loser}"):
        tally.add("named the writer")


def refused_in_time(scene: Scene, count: int) -> Tally:
    """Measure how long a second run takes to stop, from the moment it asks for the lock."""
    from headstart.extract.errors import BusyError
    from headstart.extract.store.lock import locked

    tally = Tally("time until a second writer is refused")
    tally.counts["slowest, ms"] = 0
    with scene.zygote() as zygote:
        for number in range(count):
            folder = scene.fresh_folder("busy")
            output, lock = folder / "photos.h5", folder / ".photos.h5.lock"
            seam = {"watch": str(folder), "pause": 0.1}
            zygote.start(*scene.embed(output), cwd=scene.folder, settings=SMALL_SHARDS, seam=seam)
            wait_until(lambda path=lock: path.exists() and path.stat().st_size)
            started = time.monotonic()
            try:
                with locked(lock, output):
                    message = ""
            except BusyError as error:
                message = str(error)
            seconds = time.monotonic() - started
            tally.hold(f"process {zygote.process} " in message, f"{number}: {message!r}, held by {zygote.process}")
            tally.hold(seconds < SECONDS_TO_REFUSE, f"{number}: refused after {seconds:.2f} s")
            tally.counts["slowest, ms"] = max(tally.counts["slowest, ms"], round(1000 * seconds))
            tally.add("asked")
            zygote.wait()
    return tally.done()


def reads_while_writing(scene: Scene, count: int, *, breakage: str = "") -> Tally:
    """Read an output `count` times while runs commit and compact it: each must be a correct beginning of the rows."""
    tally = Tally("reads while a run writes")
    with ExitStack() as stack:
        writer, reader = (stack.enter_context(scene.zygote()) for _ in range(2))
        for name in ("photos.h5", "photos.emb"):
            reference = _finished(scene, writer, name)
            found: list[Any] = []
            end = time.monotonic() + SECONDS_TO_GIVE_UP
            while len(found) < count // 2 and time.monotonic() < end and len(tally.broken) < 20:
                folder, log = scene.fresh_folder("read"), scene.folder / "reads.jsonl"
                log.unlink(missing_ok=True)
                seam = {"watch": str(folder), "pause": SLOW_DISK}
                output = folder / name
                reader.start(str(output), str(log), count // 2 - len(found), call="torture.processes.races.read_on")
                wait_until(log.exists)
                done = writer.run(
                    *scene.embed(output), cwd=scene.folder, settings=SMALL_SHARDS, seam=seam, breakage=breakage
                )
                tally.hold(done.code == 0, f"{name}: the writer: {done}")
                (folder / "done").touch()
                seen = reader.wait()
                tally.hold(seen.code == 0, f"{name}: the reader: {seen}")
                seen_now = [json.loads(line) for line in log.read_text().splitlines()]
                found += [seen for seen in seen_now if seen[0] != "unfinished"]
                tally.add("refused as unfinished", len(seen_now) - sum(s[0] != "unfinished" for s in seen_now))
                _check(output, reference, seen_now, tally)
            tally.add("reads of rows", len(found))
    return tally.done()


def _finished(scene: Scene, zygote: Zygote, name: str) -> Reference:
    folder = scene.fresh_folder("read")
    done = zygote.run(*scene.embed(folder / name), cwd=scene.folder, settings=SMALL_SHARDS)
    if done.code:
        raise RuntimeError(str(done))
    return Reference.of(folder / name)


def _check(output: Path, reference: Reference, found: list[Any], tally: Tally) -> None:
    """Check a reader's observations: whole prefixes of the rows, in the order they are written."""
    order = sorted(reference.rows)
    for kind, detail in found:
        if kind == "rows":
            wrong = [path for path in detail["paths"] if detail["rows"][path] != _shown(reference.rows[path])]
            tally.hold(not wrong, f"{output.name}: wrong rows {wrong[:3]}")
            tally.add("reads of a part" if len(detail["paths"]) < len(order) else "reads of the whole")
            is_prefix = sorted(detail["paths"]) == order[: len(detail["paths"])]
            tally.hold(is_prefix, f"{output.name}: {len(detail['paths'])} rows are no beginning")
        else:
            tally.hold(kind == "unfinished", f"{output.name}: {detail}")


def _shown(row: Any) -> str:
    import hashlib

    return hashlib.sha256(repr(row).encode()).hexdigest()


def read_on(output: str, log: str, most: int) -> None:
    """Read a store repeatedly, and record the rows; runs in a child process."""
    from headstart.extract.errors import StoreError
    from headstart.extract.store.shards import PARTS, files_of, shards_of
    from headstart.extract.store.store import open_files, open_store

    path, count, looked = Path(output), 0, 0
    with open(log, "w") as file:
        while not (path.parent / "done").exists() and count < most:
            looked += 1
            parts = path.with_name(path.name + PARTS)
            try:
                in_parts = looked % 2 and path.suffix == ".h5" and shards_of(parts)
                store = open_files(parts, files_of(parts)) if in_parts else open_store(path)
                rows = {path: _shown(row) for path, row in rows_of(store).items()}
                seen: list[Any] = ["rows", {"paths": list(rows), "rows": rows}]
            except StoreError as error:
                text = str(error)
                clear = ("not finished", "without finished shards", "no such store", "was removed", "has replaced")
                seen = ["unfinished" if any(words in text for words in clear) else "unclear", text]
            except BaseException as error:  # a reader would see it, whatever it is
                seen = ["not caught", f"{type(error).__name__}: {error}"]
            count += seen[0] != "unfinished"
            file.write(json.dumps(seen) + "\n")
            file.flush()
            time.sleep(SLOW_DISK / 4)
