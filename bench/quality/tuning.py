"""``make bench-tune``: compare a tuned tail with frozen features and with running the whole network in every epoch.

Settings come from the environment: BENCH_IMAGES (class folders; by default drawn pictures), BENCH_WEIGHTS (a Keras
weights file; by default random weights, whose figures mean nothing), BENCH_CUT (block_12), BENCH_VIEWS (4),
BENCH_EPOCHS (the recipe's), BENCH_FOLDS (number of five folds that are tuned; 5), BENCH_WHOLE (number of these that
are also tuned the usual way, minutes each; 0), BENCH_ROWS (rows of a drawn store of tensors, to measure memory; 0).
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 5
VIEWS = int(os.environ.get("BENCH_VIEWS", "4"))


@dataclass(frozen=True)
class Result:
    """Result of one fold: accuracy (0-1), log loss (nats) and seconds of training."""

    accuracy: float
    log_loss: float
    seconds: float


def main() -> None:
    """Export, embed, tune and train for each fold, and print Markdown tables."""
    from rich.console import Console

    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tensors, stores, lines = _stores(folder, console)
        found: dict[str, list[Result]] = {}
        splits = list(_splits(tensors))[: int(os.environ.get("BENCH_FOLDS", FOLDS))]
        whole = int(os.environ.get("BENCH_WHOLE", "0"))
        for number, split in enumerate(splits):
            for name, store in stores.items():
                found.setdefault(name, []).append(_headed(_with_splits(store, split), folder))
            found.setdefault("tuned", []).append(_tuned(_with_splits(tensors, split), folder))
            if number < whole:
                found.setdefault("tuned, whole network every epoch", []).append(
                    _tuned(_with_splits(tensors, split), folder, live=True)
                )
            console.print(f"fold {number + 1}: { ({name: results[-1] for name, results in found.items()}) }")
        lines += _table(found)
        rows = int(os.environ.get("BENCH_ROWS", "0"))
        if rows:
            lines += ["", _memory(folder, rows)]
    sys.stdout.write("\n".join(lines) + "\n")


def _stores(folder: Path, console: Any) -> tuple[Any, dict[str, Any], list[str]]:
    """Embed the photos up to the cut and with whole networks; also return lines about the cost of each."""
    from headstart.demo.pictures import draw_pictures
    from headstart.export import export_backbone
    from headstart.extract import embed

    images = os.environ.get("BENCH_IMAGES") or str(draw_pictures(folder / "photos", per_class=60, broken=False).folder)
    weights = os.environ.get("BENCH_WEIGHTS") or "random"
    block = os.environ.get("BENCH_CUT", "block_12")
    kinds: dict[str, dict[str, Any]] = {"cut": {"cut": block}, "top": {}, "all blocks": {"features": "all-blocks"}}
    stores, seconds = {}, {}
    for name, options in kinds.items():
        export_backbone(folder / f"{name}.onnx", weights=weights, **options)
        model = _with_views(folder / f"{name}.onnx")
        started = time.perf_counter()
        stores[name], summary = embed(images, model, folder / f"{name}.h5")
        seconds[name] = time.perf_counter() - started
        console.print(f"embedded: {name}, {seconds[name]:.0f} s")
    count, photos = summary.embedded, sum(int(size) for size in stores["cut"].rows.size if size > 0)
    held = 2 * stores["cut"].header.dim
    lines = [
        f"{count} photos of {photos / count / 1000:.0f} KB, {len(stores['cut'].classes)} classes, {VIEWS} views, cut "
        f"after {block}: {held / 1000:.0f} KB of tensors per photo ({held * count / photos:.1f} times its file), "
        f"embedded at {seconds['top'] / seconds['cut']:.2f} times the rate of the whole network",
        "",
    ]
    return stores.pop("cut"), {f"frozen, {name}": store for name, store in stores.items()}, lines


def _with_views(backbone: Path) -> Path:
    """Return the backbone with BENCH_VIEWS views."""
    from headstart.export import export_backbone

    output = backbone.with_name(f"{backbone.stem}-views.onnx")
    return export_backbone(output, weights=backbone, views=VIEWS).path if VIEWS > 1 else backbone


def _splits(store: Any) -> Iterator[NDArray[np.int8]]:
    """Divide the photos into stratified folds; duplicates of a photo stay in one fold."""
    from headstart.classify.split.folds import draw_folds
    from headstart.classify.split.holdout import draws_of
    from headstart.extract.sources.items import SPLITS

    folds = draw_folds(store.labels, draws_of(store, 0, None), FOLDS)
    for fold in range(FOLDS):
        yield np.where(folds == fold, SPLITS.index("test"), SPLITS.index("train")).astype(np.int8)


def _with_splits(store: Any, split: NDArray[np.int8]) -> Any:
    return replace(store, rows=replace(store.rows, split=split))


def _headed(store: Any, folder: Path) -> Result:
    from headstart.classify import train

    started = time.perf_counter()
    evaluation = train(store, folder / "classifier.onnx", false_alarms=0).evaluation
    return Result(evaluation.accuracy, evaluation.log_loss, time.perf_counter() - started)


def _tuned(tensors: Any, folder: Path, *, live: bool = False) -> Result:
    """Tune on the training photos of a fold, embed all with the tuned tail, and train a head; `live`: the usual way."""
    from headstart.extract import embed
    from headstart.tune import Recipe, tune_backbone

    recipe = Recipe(epochs=int(os.environ.get("BENCH_EPOCHS", Recipe.epochs)))
    started = time.perf_counter()
    for left in folder.glob("tuned*"):
        left.unlink()
    rows = _Live.of(tensors, folder / "cut.onnx") if live else tensors
    made = tune_backbone(rows, folder / "tuned.onnx", recipe=recipe)
    store, _ = embed(tensors, _with_views(made.path) if live else made.path, folder / "tuned.h5")
    result = _headed(_with_splits(store, tensors.rows.split), folder)
    return replace(result, seconds=time.perf_counter() - started)


class _Live:
    """A store of tensors that are computed from the photos whenever they are read."""

    @staticmethod
    def of(tensors: Any, backbone: Path) -> Any:
        """Return a store of the same rows that reads, decodes and runs the trunk in Keras each time."""
        from concurrent.futures import ThreadPoolExecutor

        from headstart.extract import read_model
        from headstart.extract.decoding.decode import decode
        from headstart.extract.store.store import Store
        from headstart.files.cores import cores

        trunk = read_model(backbone)  # with one view; the views are drawn below
        network = keras_trunk(trunk, os.environ.get("BENCH_WEIGHTS") or "random")
        pool = ThreadPoolExecutor(cores())
        rng = np.random.default_rng(0)

        def picture(row: int) -> NDArray[np.uint8]:
            data = (Path(tensors.header.root) / tensors.paths[row]).read_bytes()
            return decode(data, trunk.rule)

        class Live(Store):
            def embeddings(self, which: NDArray[Any] | None = None) -> NDArray[np.float32]:
                numbers = np.arange(len(self)) if which is None else np.asarray(which)
                pictures = np.stack(list(pool.map(picture, numbers.tolist())))
                flipped = rng.random(len(pictures)) < 1 / VIEWS
                pictures[flipped] = pictures[flipped, :, ::-1]
                found: NDArray[np.float32] = network(pictures)
                return found

            def model(self) -> Any:
                return trunk

        values = {name: getattr(tensors, name) for name in tensors.__dataclass_fields__}
        own: dict[str, Any] = {
            "shape": tensors.header.shape[-3:],
            "model": trunk.metadata,
            "model_sha256": trunk.sha256,
        }
        return Live(**values | {"header": replace(tensors.header, **own)})


def keras_trunk(trunk: Any, weights: str) -> Any:
    """Return the frozen part of the network in Keras: uint8 (n, h, w, 3) to float32 (n, h, w, c)."""
    from headstart.export.backbones import make_plan
    from headstart.export.conversion.frameworks import load_frameworks
    from headstart.export.conversion.network import TENSOR, build_network, preprocess, with_blocks
    from headstart.export.weights.load import find_weights, load_weights

    said = trunk.metadata
    plan = make_plan(
        said["backbone"], tuple(said["image_size"]), said["width"] or 1.0, "squash", cut=said["cut"]["block"]
    )
    frameworks = load_frameworks(with_gpu=True)
    network = build_network(plan, frameworks)
    load_weights(network, find_weights(weights, plan, 0), plan, frameworks)
    cut = with_blocks(network, plan, frameworks).output[TENSOR]
    part = frameworks.keras.Model(network.input, cut)
    run = frameworks.tensorflow.function(lambda pixels: part(pixels, training=False))
    return lambda pixels: run(preprocess(pixels, plan)).numpy()


def _table(found: dict[str, list[Result]]) -> list[str]:
    lines = ["| what | folds | accuracy | log loss | seconds per fold |", "|---|---:|---:|---:|---:|"]
    for name, results in found.items():
        means = [
            float(np.mean([getattr(r, column) for r in results])) for column in ("accuracy", "log_loss", "seconds")
        ]
        lines.append(f"| {name} | {len(results)} | {means[0]:.4f} | {means[1]:.4f} | {means[2]:.1f} |")
    whole = found.get("tuned, whole network every epoch", [])
    if whole:
        same = found["tuned"][: len(whole)]
        ratio = sum(r.seconds for r in same) / sum(r.seconds for r in whole)
        better = float(np.mean([a.accuracy - b.accuracy for a, b in zip(same, whole, strict=True)]))
        lines += ["", f"On the same folds, cached tensors take {ratio:.2f} of the time; accuracy {better:+.4f}"]
    return lines


def _memory(folder: Path, rows: int) -> str:
    """Tune for one epoch on a drawn store of many rows in its own process, and return its peak memory as text."""
    command = [sys.executable, "-m", "bench.quality.tuning", "memory", str(folder), str(rows)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return f"One epoch on {rows} cached tensors: at most {done.stdout.strip()} MB of memory"


def tune_drawn(folder: Path, rows: int) -> None:
    """Write a store of drawn tensors, tune on it for one epoch, and print this process's peak memory in MB."""
    import resource

    from headstart.extract import read_model
    from headstart.extract.store.hdf5 import Column, write_hdf5
    from headstart.extract.store.rows import columns_of
    from headstart.extract.store.schema import Rows
    from headstart.extract.store.store import open_store
    from headstart.tune import Recipe, tune_backbone

    given, model = open_store(folder / "cut.h5"), read_model(folder / "cut.onnx")
    own: dict[str, Any] = {"shape": given.header.shape[-3:], "model": model.metadata, "model_sha256": model.sha256}
    header = replace(given.header, **own)
    labels = np.arange(rows, dtype=np.int32) % len(header.classes)
    n = np.arange(rows)
    drawn = Rows(
        path=np.array([b"%08d.jpg" % number for number in n]),
        sha256=np.random.default_rng(0).integers(0, 256, (rows, 32), np.uint8),
        size=n, mtime_ns=n, label=labels, split=np.zeros(rows, np.int8), status=np.zeros(rows, np.int8),
        reason=np.zeros(rows, "S1"),
    )  # fmt: skip

    def pieces() -> Iterator[NDArray[np.float16]]:
        rng = np.random.default_rng(1)
        few = rng.normal(0, 1, (len(header.classes), *header.shape)).astype(np.float16)
        for start in range(0, rows, 256):
            mine = labels[start : start + 256]
            yield few[mine] + rng.normal(0, 1, (len(mine), *header.shape)).astype(np.float16)

    columns = {
        **columns_of(drawn),
        "model": Column.of(np.frombuffer(model.data, np.uint8)),
        header.output: Column(np.dtype("<f2"), (rows, *header.shape), pieces()),
    }
    write_hdf5(folder / "drawn.h5", header.to_attributes(), columns)
    tune_backbone(folder / "drawn.h5", folder / "drawn.onnx", recipe=Recipe(epochs=1))
    sys.stdout.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["memory"]:
        tune_drawn(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
