"""What a network's activations look like on real images: their ranges, and their means a channel."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from headstart.export.conversion.frameworks import require

Ranges = dict[str, tuple[float, float]]

OPERATORS: Final = ("Conv", "Add", "Clip", "Relu", "MaxPool", "AveragePool", "Concat")
SHARES: Final = np.linspace(0.4, 1.0, 25)
SAMPLED: Final = 20_000
BATCH: Final = 4


def observe(model: onnx.ModelProto, images: NDArray[np.uint8]) -> tuple[Ranges, dict[str, NDArray[np.float64]]]:
    """Run a model over images and look at its activations.

    Parameters
    ----------
    model : onnx.ModelProto
        In fp32; not changed.
    images : ndarray of uint8, (n, h, w, 3), RGB, 0-255

    Returns
    -------
    ranges : dict
        Tensor name -> (low, high), the share of its min-max range with the least squared error.
    means : dict
        Name of a convolution -> float64, (channels,): the mean of each channel that enters it.
    """
    entries = {conv.name: conv.input[0] for conv in convolutions(model.graph)}
    named = {*entries.values(), *(node.output[0] for node in model.graph.node if node.op_type in OPERATORS)}
    names = [node.output[0] for node in model.graph.node if node.output[0] in named and not is_final(node)]
    low, high = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    means: dict[str, list[NDArray[np.float64]]] = {name: [] for name in entries.values()}
    for batch in outputs(model, images, names):
        for name, values in zip(names, batch, strict=True):
            low[name], high[name] = min(low[name], float(values.min())), max(high[name], float(values.max()))
            if name in means:
                means[name].extend(values.mean(axis=(2, 3), dtype=np.float64))
    ranges = _best_ranges(model, images, {name: (low[name], high[name]) for name in names})
    return ranges, {conv: np.mean(means[name], axis=0) for conv, name in entries.items()}


def _best_ranges(model: onnx.ModelProto, images: NDArray[np.uint8], ranges: Ranges) -> Ranges:
    """Shrink each range to the share of it whose quantisation has the least squared error."""
    rng = np.random.default_rng(0)
    errors = {name: np.zeros(len(SHARES)) for name in ranges}
    for batch in outputs(model, images, list(ranges)):
        for name, values in zip(ranges, batch, strict=True):
            sample = rng.choice(values.reshape(-1), SAMPLED)
            errors[name] += [_squared_error(sample, share * np.array(ranges[name])) for share in SHARES]
    best = {name: float(SHARES[errors[name].argmin()]) for name in ranges}
    return {name: (low * best[name], high * best[name]) for name, (low, high) in ranges.items()}


def _squared_error(values: NDArray[np.float32], limits: NDArray[np.float64]) -> float:
    scale = float(np.ptp(limits)) / 255 or 1.0
    zero_point = np.round(-limits[0] / scale)
    steps = np.clip(np.round(values / scale) + zero_point, 0, 255) - zero_point
    return float(np.square(steps * scale - values).sum())


def outputs(model: onnx.ModelProto, images: NDArray[np.uint8], names: list[str]) -> Iterator[list[NDArray[Any]]]:
    """Run images through a model, a few at a time, and give the named tensors."""
    runtime = require("onnxruntime", "onnxruntime")
    tapped = onnx.ModelProto.FromString(model.SerializeToString())
    declared = {output.name for output in tapped.graph.output}
    tapped.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in declared)
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(tapped.SerializeToString(), options, providers=["CPUExecutionProvider"])
    run: Callable[..., list[NDArray[Any]]] = session.run
    for start in range(0, len(images), BATCH):
        yield run(names, {"image": images[start : start + BATCH]})


def is_final(node: onnx.NodeProto) -> bool:
    """Tell whether a node stays in floats: it makes the views, or it joins features of very different sizes."""
    name = str(node.output[0])
    return name == "embedding" or name.startswith("views_")


def convolutions(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Return the convolutions of a graph, in its order."""
    return [node for node in graph.node if node.op_type == "Conv"]
