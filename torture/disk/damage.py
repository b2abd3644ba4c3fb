"""Bit damage: stores, shards and models are refused by name or read unchanged, and never crash the reader."""

import json
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from torture.processes.process import HangError
from torture.scene import SMALL_SHARDS, Scene
from torture.tally import Tally

BATCH = 250
SECONDS_A_FILE = 10
ENOUGH_CRASHES = 3
PATIENCE = 120.0
"""Seconds per batch; the alarm of a single file cannot interrupt a library that never returns."""
SUBJECTS = ("store", "shard", "carried model", "classifier", "backbone")


def damage(
    scene: Scene, count: int, *, seed: int = 0, subjects: tuple[str, ...] = SUBJECTS, breakage: str = "",
    patience: float = PATIENCE,
) -> Tally:  # fmt: skip
    """Read `count` damaged files in processes that may crash or hang without affecting the others."""
    tally = Tally("bit damage")
    paths = _subjects(scene)
    for number, subject in enumerate(subjects):
        each = count // len(subjects) + (number < count % len(subjects))
        for start in range(0, each, BATCH):
            size = min(BATCH, each - start)
            _batch(scene, tally, subject, paths[subject], (seed + 1) * 1_000_000 + start, size, breakage, patience)
    return tally.done()


def _subjects(scene: Scene) -> dict[str, Path]:
    folder = scene.folder / "damaged.emb"
    if not folder.exists():
        with scene.zygote() as zygote:
            done = zygote.run(*scene.embed(folder), settings=SMALL_SHARDS)
        if done.code:
            raise RuntimeError(str(done))
    shard = sorted(folder.glob("part-*"))[1]
    paths = (scene.store, shard, folder / "model.onnx", scene.classifier, scene.backbone)
    return dict(zip(SUBJECTS, paths, strict=True))


def _batch(
    scene: Scene, tally: Tally, subject: str, path: Path, first: int, size: int, breakage: str, patience: float
) -> None:
    verdicts = scene.folder / "verdicts.jsonl"
    end, crashes = first + size, 0
    while first < end and crashes < ENOUGH_CRASHES:  # after a crash, another process continues
        verdicts.write_text("")
        with scene.zygote() as zygote:
            arguments = (subject, str(path), first, end - first, str(verdicts))
            zygote.start(*arguments, call="torture.disk.damage.judge_many", breakage=breakage)
            try:
                done = zygote.wait(patience)
                how = str(done)
            except HangError as error:
                done, how = None, str(error)
        found = [json.loads(line) for line in verdicts.read_text().splitlines()]
        for seed, kind, verdict, detail in found:
            tally.add(f"{subject}: {verdict}")
            tally.hold(verdict in ("refused", "equal"), f"{subject}, seed {seed}, {kind}: {verdict}: {detail}")
        first += len(found)
        if first < end:
            tally.add(f"{subject}: crashed" if done else f"{subject}: hung")
            tally.hold(False, f"{subject}, seed {first}: {how}")
            first, crashes = first + 1, crashes + 1


def judge_many(subject: str, path: str, first: int, size: int, verdicts: str) -> None:
    """Read files damaged with the seeds from `first` on, and write one line per file; runs in a child process."""
    data = Path(path).read_bytes()
    with tempfile.TemporaryDirectory(dir=Path(verdicts).parent) as folder, open(verdicts, "a") as out:
        judge = JUDGES[subject](Path(path), Path(folder))
        signal.signal(signal.SIGALRM, _too_late)
        for seed in range(first, first + size):
            kind, altered = mutated(data, np.random.default_rng(seed))
            signal.alarm(SECONDS_A_FILE)
            verdict, detail = judge(altered)
            signal.alarm(0)
            out.write(json.dumps([seed, kind, verdict, detail[:300]]) + "\n")
            out.flush()


def mutated(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Damage bytes in one of many ways; the result always differs."""
    kinds = sorted(MUTATIONS)
    while True:
        kind = kinds[int(rng.integers(len(kinds)))]
        altered = bytes(MUTATIONS[kind](bytearray(data), rng))
        if altered != data:
            return kind, altered


def _flip(data: bytearray, rng: np.random.Generator, times: int) -> bytearray:
    for at in rng.integers(len(data), size=times):
        data[at] ^= 1 << int(rng.integers(8))
    return data


def _span(data: bytearray, rng: np.random.Generator) -> slice:
    size = min(2 ** int(rng.integers(0, 13)), len(data))
    start = int(rng.integers(len(data) - size + 1))
    return slice(start, start + size)


def _fill(data: bytearray, rng: np.random.Generator, value: int) -> bytearray:
    where = _span(data, rng)
    data[where] = bytes([value]) * (where.stop - where.start)
    return data


def _noise(data: bytearray, rng: np.random.Generator) -> bytearray:
    where = _span(data, rng)
    data[where] = rng.bytes(where.stop - where.start)
    return data


def _swap(data: bytearray, rng: np.random.Generator) -> bytearray:
    size = min(2 ** int(rng.integers(0, 10)), len(data) // 2)
    first, second = rng.integers(len(data) - size + 1, size=2)
    one, other = data[first : first + size], data[second : second + size]
    data[first : first + size], data[second : second + size] = other, one
    return data


def _insert(data: bytearray, rng: np.random.Generator) -> bytearray:
    at = int(rng.integers(len(data)))
    return data[:at] + bytearray(rng.bytes(int(rng.integers(1, 600)))) + data[at:]


def _delete(data: bytearray, rng: np.random.Generator) -> bytearray:
    del data[_span(data, rng)]
    return data


def _append(data: bytearray, rng: np.random.Generator) -> bytearray:
    size = int(2 ** rng.integers(0, 13))
    return data + (bytes(size) if rng.random() < 0.5 else rng.bytes(size))


MUTATIONS: dict[str, Callable[[bytearray, np.random.Generator], bytearray]] = {
    "one bit": lambda data, rng: _flip(data, rng, 1),
    "one bit near the end": lambda data, rng: data[:-300] + _flip(data[-300:], rng, 1),
    "one bit near the beginning": lambda data, rng: _flip(data[:600], rng, 1) + data[600:],
    "some bits": lambda data, rng: _flip(data, rng, int(rng.integers(2, 9))),
    "cut off": lambda data, rng: data[: int(rng.integers(len(data)))],
    "cut off near the end": lambda data, rng: data[: -int(rng.integers(1, 300))],
    "zeroed": lambda data, rng: _fill(data, rng, 0),
    "all ones": lambda data, rng: _fill(data, rng, 255),
    "noise": _noise,
    "swapped": _swap,
    "inserted": _insert,
    "deleted": _delete,
    "appended": _append,
    "doubled": lambda data, _rng: data + data,
}

Judge = Callable[[bytes], tuple[str, str]]


def _verdict(read: Callable[[], Any], equal: Callable[[Any], bool], name: str) -> tuple[str, str]:
    from headstart.classify.errors import ClassifierError
    from headstart.extract.errors import ModelError, StoreError
    from headstart.files.errors import DamagedError

    try:
        found = read()
        return ("equal", "") if equal(found) else ("silently wrong", "")
    except (StoreError, ModelError, DamagedError, ClassifierError) as error:
        message = str(error)
        return ("refused", message) if name in message and "\n" not in message else ("unclear", message)
    except BaseException as error:  # the user would see it, whatever it is
        return "not caught", f"{type(error).__name__}: {error}"


def _judge_of_stores(original: Path, folder: Path) -> Judge:
    from headstart.extract.store.store import open_store
    from torture.disk.states import rows_of

    is_shard = original.name.startswith("part-")
    path = folder / "a.emb" / original.name if is_shard else folder / "a.h5"
    path.parent.mkdir(exist_ok=True)
    if is_shard:
        (path.parent / "model.onnx").write_bytes((original.parent / "model.onnx").read_bytes())
    store = path.parent if is_shard else path

    def read() -> Any:
        found = open_store(store)
        return rows_of(found), found.header, found.model().sha256

    path.write_bytes(original.read_bytes())
    expected = read()

    def judge(data: bytes) -> tuple[str, str]:
        path.write_bytes(data)
        return _verdict(read, lambda found: bool(found == expected), path.name)

    return judge


def _judge_of_models(original: Path, folder: Path) -> Judge:
    from headstart.classify.artifact.classifier import read_classifier
    from headstart.extract.inference.model import read_model
    from headstart.extract.store.store import open_store

    path = folder / original.name
    if original.name == "model.onnx":
        for shard in original.parent.glob("part-*"):
            os.link(shard, folder / shard.name)

        def read() -> Any:
            return open_store(folder).model()

    elif b"headstart-classifier" in original.read_bytes():

        def read() -> Any:
            return read_classifier(path).model

    else:

        def read() -> Any:
            return read_model(path)

    path.write_bytes(original.read_bytes())
    expected = _meaning(read())

    def judge(data: bytes) -> tuple[str, str]:
        path.write_bytes(data)
        return _verdict(read, lambda found: _meaning(found) == expected, str(folder))

    return judge


def _meaning(model: Any) -> tuple[Any, ...]:
    """Return everything that determines a model's output: graph, operator version, metadata."""
    import onnx

    proto = onnx.load_model_from_string(model.data)
    operators = [(entry.domain, entry.version) for entry in proto.opset_import]
    return bytes(proto.graph.SerializeToString(deterministic=True)), operators, _said(model.metadata), model.outputs


def _said(metadata: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metadata.items() if name != "sealed"}


def _too_late(_signal: int, _frame: object) -> None:
    raise HangError(f"more than {SECONDS_A_FILE} seconds")


JUDGES: dict[str, Callable[[Path, Path], Judge]] = {
    "store": _judge_of_stores,
    "shard": _judge_of_stores,
    "carried model": _judge_of_models,
    "classifier": _judge_of_models,
    "backbone": _judge_of_models,
}
