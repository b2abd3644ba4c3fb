"""The contenders of `make bench`: ways to turn a folder of photos into embeddings, one function each.

Each runs in its own process, ``python -m bench.speed.contenders NAME ARGUMENTS``, and prints one JSON object: seconds
and CPU seconds of the work alone (imports, models and one warm-up batch are not timed), images, and the process's peak
memory.
"""

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BATCH = 32


@dataclass(frozen=True)
class Task:
    """The input of a contender: a folder of photos, a backbone in fp32 and in int8, and Keras weights (or None)."""

    images: str
    fp32: str
    int8: str
    weights: str | None


Work = Callable[[], int]


def keras_pipeline(task: Task) -> Work:
    """Build a plain Keras pipeline: image_dataset_from_directory, preprocess_input, predict."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import tensorflow as tf

    size = (224, 224)
    network = keras.applications.MobileNetV2(
        include_top=False, weights=task.weights, input_shape=(*size, 3), pooling="avg"
    )
    photos = keras.utils.image_dataset_from_directory(
        task.images, labels=None, image_size=size, batch_size=BATCH, shuffle=False, verbose=False
    )
    prepared = photos.map(keras.applications.mobilenet_v2.preprocess_input).prefetch(tf.data.AUTOTUNE)
    network.predict(prepared.take(1), verbose=0)
    return lambda: len(network.predict(prepared, verbose=0))


def torch_pipeline(task: Task) -> Work:
    """Build a plain PyTorch pipeline: ImageFolder, DataLoader with one worker per core, model.eval()."""
    import torch
    import torchvision

    weights = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V1
    network = torchvision.models.mobilenet_v2()
    network.classifier = torch.nn.Identity()
    network.train(False)
    photos = torchvision.datasets.ImageFolder(task.images, weights.transforms())
    loader = torch.utils.data.DataLoader(photos, batch_size=BATCH, num_workers=_cores())

    def work() -> int:
        with torch.inference_mode():
            return sum(len(network(pixels)) for pixels, _ in loader)

    return work


def bare_session(task: Task, model: str) -> Work:
    """Run onnxruntime with its defaults on arrays in memory, without reading or decoding."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, 224, 224, 3)).astype(np.uint8)
    batches = max(1, min(len(_files(task)), 1000) // BATCH)
    session.run(["embedding"], {"image": pixels})

    def work() -> int:
        for _ in range(batches):
            session.run(["embedding"], {"image": pixels})
        return batches * BATCH

    return work


def one_core_session(task: Task, model: str) -> Work:
    """Run Headstart's session on one core, one call at a time: the inference part of the roofline."""
    import numpy as np

    from headstart.extract import open_session, read_model

    session = open_session(read_model(model), "cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (session.batch_size, 224, 224, 3)).astype(np.uint8)
    batches = max(1, min(len(_files(task)), 400) // session.batch_size)

    def work() -> int:
        for _ in range(batches):
            session.run(pixels)
        return batches * session.batch_size

    return work


def one_core_decode(task: Task) -> Work:
    """Read and decode on one core: the other part of the roofline."""
    from headstart.extract import read_model
    from headstart.extract.decoding.decode import decode

    rule = read_model(task.fp32).rule
    files = _files(task)[:400]
    return lambda: sum(bool(decode(file.read_bytes(), rule).size) for file in files)


def decode_only(task: Task) -> Work:
    """Read and decode with one thread per core."""
    from concurrent.futures import ThreadPoolExecutor

    from headstart.extract import read_model
    from headstart.extract.decoding.decode import decode

    rule = read_model(task.fp32).rule

    def work() -> int:
        with ThreadPoolExecutor(_cores()) as pool:
            return sum(pool.map(lambda file: bool(decode(file.read_bytes(), rule).size), _files(task)))

    return work


def headstart_embed(task: Task, model: str, provider: str = "cpu") -> Work:
    """Run all of `headstart embed`: list, read, hash, decode, embed, store durably, compact."""
    from headstart.extract import EngineOptions, embed, open_session, read_model

    open_session(read_model(model), provider)

    def work() -> int:
        with tempfile.TemporaryDirectory() as folder:
            _, summary = embed(task.images, model, Path(folder) / "photos.h5", options=EngineOptions(provider))
            return summary.embedded

    return work


CONTENDERS: dict[str, Callable[[Task], Work]] = {
    "keras": keras_pipeline,
    "torch": torch_pipeline,
    "bare fp32": lambda task: bare_session(task, task.fp32),
    "bare int8": lambda task: bare_session(task, task.int8),
    "decode": decode_only,
    "headstart fp32": lambda task: headstart_embed(task, task.fp32),
    "headstart int8": lambda task: headstart_embed(task, task.int8),
    "openvino bf16": lambda task: headstart_embed(task, task.fp32, "openvino-bf16"),
    "openvino int8": lambda task: headstart_embed(task, task.int8, "openvino"),
    "one core decode": one_core_decode,
    "one core fp32": lambda task: one_core_session(task, task.fp32),
    "one core int8": lambda task: one_core_session(task, task.int8),
}


def run(name: str, task: Task) -> dict[str, Any]:
    """Build a contender and measure its work."""
    work = CONTENDERS[name](task)
    started, cpu = time.perf_counter(), time.process_time()
    images = work()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "images": images,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds + children.ru_utime + children.ru_stime,
        "peak_mb": peak_mb(),
    }


def peak_mb() -> float:
    """Return this process's peak resident memory, MiB.

    On Linux, ``ru_maxrss`` includes the parent's memory at the time of the fork; ``VmHWM`` does not.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def _files(task: Task) -> list[Path]:
    return sorted(path for path in Path(task.images).rglob("*") if path.is_file())


def _cores() -> int:
    from headstart.files.cores import cores

    return cores()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(run(sys.argv[1], Task(**json.loads(sys.argv[2])))) + "\n")
