"""MobileNetV2's weights from a Keras file of the older HDF5 layout, with or without its top, or drawn at random."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.export.errors import WeightsError
from headstart.export.mobilenet_v2.reference import Maps, forward, normalised
from headstart.export.mobilenet_v2.units import Norm, Unit, Weights
from headstart.files.errors import one_line

Array = NDArray[np.float32]
_NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def read_weights(path: Path, units: Sequence[Unit], network: str) -> Weights:
    """Read all weights of the units in the order of the file's layers, whose names differ from release to release.

    Raises
    ------
    WeightsError
        If it holds the weights of another network, too few or too many, or a value that is not finite.
    """
    expected = f"the weights of {network}"
    try:
        layers = list(_layers(path))
    except (KeyError, OSError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{path}: expected {expected}, found a file that cannot be read ({one_line(error)}): fetch it again"
        ) from error
    kernels, norms, at = [], [], 0
    for unit in units:
        for part in ("kernel", "batch norm"):
            wanted = [unit.kernel] if part == "kernel" else [(unit.channels,)] * 4
            found = [array.shape for array in layers[at][1]] if at < len(layers) else None
            if found != wanted:
                raise WeightsError(
                    f"{path}: expected {expected}, found another network's (its layer {at + 1} holds "
                    f"{_shapes(found)}, {unit.name} needs a {part} of {_shapes(wanted)}): "
                    "give the file that fits this backbone and width"
                )
            arrays = layers[at][1]
            if part == "kernel":
                kernels.append(arrays[0])
            else:
                norms.append(Norm(*arrays))
            at += 1
    top = _top(path, layers[at:], units[-1].channels, expected)
    faulty = [name for name, arrays in layers if not all(np.isfinite(array).all() for array in arrays)]
    if faulty:
        raise WeightsError(
            f"{path}: expected {expected}, found {len(faulty)} layers with values that are not finite, the first "
            f"{faulty[0]}: the file is damaged or incomplete, fetch it again"
        )
    return Weights(kernels, norms, top)


def _top(path: Path, rest: list[tuple[str, list[Array]]], channels: int, expected: str) -> tuple[Array, Array] | None:
    if not rest:
        return None
    shapes = [array.shape for array in rest[0][1]]
    if len(rest) > 1 or len(shapes) != 2 or shapes[0] != (channels, *shapes[1]):
        raise WeightsError(
            f"{path}: expected {expected}, found {len(rest)} layers too many, the first {rest[0][0]!r} with "
            f"{_shapes(shapes)}: give the file that fits this backbone and width"
        )
    kernel, bias = rest[0][1]
    return kernel, bias


def _layers(path: Path) -> Iterator[tuple[str, list[Array]]]:
    """Yield the name and arrays of each layer with weights; those of a batch norm in the order of `Norm`."""
    import h5py

    with h5py.File(path, "r") as file:
        root = file.get("model_weights", file)
        for name in map(_text, root.attrs.get("layer_names", [])):
            group = root[name]
            arrays = {_text(key): group[key][()] for key in group.attrs.get("weight_names", [])}
            named = {key.rpartition("/")[2].partition(":")[0]: array for key, array in arrays.items()}
            if set(named) == set(_NORM):
                yield name, [np.asarray(named[part], np.float32) for part in _NORM]
            elif arrays:
                yield name, [np.asarray(array, np.float32) for array in arrays.values()]


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _shapes(shapes: Sequence[tuple[int, ...]] | None) -> str:
    return " and ".join("x".join(map(str, shape)) for shape in shapes) if shapes else "nothing"


def draw_weights(units: Sequence[Unit], seed: int, pixels: Maps) -> Weights:
    """Draw the untrained weights that `headstart.export.weights.untrained` describes, calibrated on scaled pixels."""
    from headstart.export.weights.untrained import he_normal

    rng = np.random.default_rng(seed)
    kernels = [he_normal(rng, unit.kernel) for unit in units]
    norms: list[Norm] = []

    def calibrated(_number: int, maps: Maps) -> Maps:
        one = np.ones(maps.shape[-1], np.float32)
        mean, variance = maps.mean(axis=(0, 1, 2), dtype=np.float64), maps.var(axis=(0, 1, 2), dtype=np.float64)
        norms.append(Norm(one, 0 * one, mean.astype(np.float32), variance.astype(np.float32)))
        return normalised(maps, norms[-1])

    forward(units, Weights(kernels, norms), pixels, calibrated)
    return Weights(kernels, norms)
