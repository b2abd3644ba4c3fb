"""fp32 backbone to int8: static, a scale for each channel of a kernel, calibrated on images of the user's.

Three things make it close to fp32, in this order of effect (docs/performance.md has the figures):

- each kernel's rounding error shifts the mean of its output; the shift is known and taken out of the bias
  (Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction, section 4.2);
- the image's bytes are the first layer's quantised input as they are, with nothing in between;
- each activation's range is the one with the least squared error among shares of its min-max range.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from headstart.export.conversion.cleanup import drop_unused
from headstart.export.conversion.features import Group
from headstart.export.conversion.frameworks import quiet, require
from headstart.export.errors import QuantizationError
from headstart.export.quantization.calibrate import OPERATORS, Ranges, convolutions, is_final, observe, outputs
from headstart.files.graph import add_constant, constant, producer_of

#: If a cosine on the held-out images is below these, the file is not written.
LEAST_COSINE: Final = {"mean": 0.98, "p5": 0.95, "min": 0.90}

#: The same for untrained weights, whose activations differ more from channel to channel.
LEAST_COSINE_UNTRAINED: Final = {"mean": 0.96, "p5": 0.93, "min": 0.85}


@dataclass(frozen=True)
class Agreement:
    """Cosine between the int8 and fp32 embeddings of held-out images: mean, 5th percentile, minimum; number of images.

    For an embedding of several layers, each figure is that of the worst layer.
    """

    mean: float
    p5: float
    min: float
    images: int

    def metadata(self) -> dict[str, float]:
        """Return the figures for the file, to 4 digits."""
        return {
            "cosine_mean": round(self.mean, 4),
            "cosine_p5": round(self.p5, 4),
            "cosine_min": round(self.min, 4),
            "images": self.images,
        }


def quantize_on(
    model: onnx.ModelProto, images: NDArray[np.uint8], *, is_trained: bool, groups: Sequence[Group] = ()
) -> tuple[onnx.ModelProto, Agreement]:
    """Quantise a model on two thirds of the images, and compare it with fp32 on the rest; see `quantize`."""
    is_held_out = np.arange(len(images)) % 3 == 0
    least = LEAST_COSINE if is_trained else LEAST_COSINE_UNTRAINED
    return quantize(model, images[~is_held_out], images[is_held_out], least, groups)


def quantize(
    model: onnx.ModelProto,
    calibration: NDArray[np.uint8],
    held_out: NDArray[np.uint8],
    least: Mapping[str, float] = LEAST_COSINE,
    groups: Sequence[Group] = (),
) -> tuple[onnx.ModelProto, Agreement]:
    """Make the int8 twin of a cleaned fp32 backbone, and compare the two on images that it was not calibrated on.

    Parameters
    ----------
    model : onnx.ModelProto
        As `headstart.export.conversion.convert.convert` returns it; not changed.
    calibration, held_out : ndarray of uint8, (n, h, w, 3), RGB, 0-255
        Different images of the kind that will be embedded, at the model's size.
    least : Mapping
        The thresholds: `LEAST_COSINE`, or `LEAST_COSINE_UNTRAINED`.
    groups : sequence of Group
        The embedding's columns by layer, each of which has to agree by itself; by default they are compared together.

    Returns
    -------
    onnx.ModelProto, Agreement
        With the same input and output, and with QuantizeLinear and DequantizeLinear of the default operator set.

    Raises
    ------
    QuantizationError
        If the cosines to the embeddings of fp32 are below `least`.
    """
    ranges, means = observe(model, calibration)
    twin = onnx.ModelProto.FromString(model.SerializeToString())
    for conv in convolutions(twin.graph):
        _correct_bias(twin.graph, conv, means[conv.name])
    zero_point = _shift_input(twin.graph)
    ranges[_input_of_first(twin.graph)] = (-float(zero_point), 255.0 - zero_point)
    quantized = _insert_quantizers(twin, ranges)
    _feed_bytes(quantized.graph, zero_point)
    onnx.checker.check_model(quantized, full_check=True)
    agreement = compare_layers(embed(quantized, held_out), embed(model, held_out), groups)
    _gate(agreement, least)
    return quantized, agreement


def embed(model: onnx.ModelProto, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Embed images, uint8 (n, h, w, 3), with onnxruntime on the CPU: float32, (n, d)."""
    return np.concatenate([found[0] for found in outputs(model, images, ["embedding"])])


def compare(found: NDArray[np.float32], reference: NDArray[np.float32]) -> Agreement:
    """Compare two sets of embeddings, (n, d), of the same images by their cosines."""
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(reference, axis=1)
    cosine = (found * reference).sum(axis=1) / np.maximum(lengths, np.finfo(np.float32).tiny)
    return Agreement(float(cosine.mean()), float(np.percentile(cosine, 5)), float(cosine.min()), len(cosine))


def compare_layers(found: NDArray[np.float32], reference: NDArray[np.float32], groups: Sequence[Group]) -> Agreement:
    """Compare each layer's columns by themselves, so that large values hide no fault in small ones: the worst of all.

    The means and deviations of a layer are one vector, because means alone may be near zero, where their direction is
    noise. Without groups the embedding is compared as a whole.
    """
    layers = {name: [group for group in groups if group.name == name] for name in (group.name for group in groups)}
    parts = [slice(own[0].start, own[-1].start + own[-1].size) for own in layers.values()] or [slice(None)]
    each = [compare(found[:, part], reference[:, part]) for part in parts]
    mean, p5, least = (min(getattr(one, name) for one in each) for name in ("mean", "p5", "min"))
    return Agreement(mean, p5, least, len(found))


def quantized_kernel(kernel: NDArray[np.floating]) -> NDArray[np.floating]:
    """Round a kernel, (outputs, ...), to int8 with one scale per output channel, and return it as floats."""
    scale = np.abs(kernel).reshape(len(kernel), -1).max(axis=1) / 127
    scale = np.where(scale > 0, scale, 1).reshape(-1, *[1] * (kernel.ndim - 1))
    rounded: NDArray[np.floating] = np.clip(np.round(kernel / scale), -127, 127) * scale
    return rounded


def _gate(agreement: Agreement, thresholds: Mapping[str, float]) -> None:
    for name, least in thresholds.items():
        found = getattr(agreement, name)
        if not found >= least:
            raise QuantizationError(
                f"int8 embeddings agree too little with fp32: {name} cosine {found:.4f} on {agreement.images} images "
                f"held out, expected at least {least}; nothing is written: calibrate on other images, or use fp32"
            )


def _correct_bias(graph: onnx.GraphProto, conv: onnx.NodeProto, mean: NDArray[np.float64]) -> None:
    """Add to the bias what the output's mean loses to the rounding of the kernel: sum over inputs of (W - Wq) E[x]."""
    kernel = _constant(graph, conv.input[1])
    lost = (kernel - quantized_kernel(kernel)).sum(axis=tuple(range(2, kernel.ndim)))
    shift = lost[:, 0] * mean if kernel.shape[1] == 1 and len(mean) == len(kernel) else lost @ mean
    _add_to_bias(graph, conv, shift)


def _shift_input(graph: onnx.GraphProto) -> int:
    """Round the pixels' offset, as a zero point is a whole number; the first bias compensates the difference."""
    conv = convolutions(graph)[0]
    subtract = producer_of(graph, conv.input[0])
    if subtract is None or subtract.op_type != "Sub":
        raise QuantizationError("expected the graph to begin with Transpose, Cast, Sub, Conv: export it again")
    offset = _constant(graph, subtract.input[1]).reshape(-1)
    zero_point = int(np.round(offset.mean()))
    kernel = _constant(graph, conv.input[1])
    _add_to_bias(graph, conv, kernel.sum(axis=(2, 3)) @ (zero_point - offset))
    return zero_point


def _insert_quantizers(model: onnx.ModelProto, ranges: Ranges) -> onnx.ModelProto:
    require("onnxruntime", "onnxruntime")
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    limits = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high)) for name, (low, high) in ranges.items()
    }
    with quiet():
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, limits),
            nodes_to_quantize=None,
            nodes_to_exclude=[node.name for node in model.graph.node if is_final(node)],
            op_types_to_quantize=list(OPERATORS),
            extra_options={},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    quantized: onnx.ModelProto = quantizer.model.model
    del quantized.opset_import[:]
    quantized.opset_import.extend(model.opset_import)
    return quantized


def _feed_bytes(graph: onnx.GraphProto, zero_point: int) -> None:
    """Make the image's bytes the quantised input of the first convolution, without Cast, Sub and QuantizeLinear."""
    dequantize = producer_of(graph, convolutions(graph)[0].input[0])
    node = dequantize
    for expected in ("DequantizeLinear", "QuantizeLinear", "Sub", "Cast"):
        if node is None or node.op_type != expected:
            raise QuantizationError(f"expected {expected} before the first convolution of the quantised graph")
        source = node.input[0]
        if node is not dequantize:
            graph.node.remove(node)
        node = producer_of(graph, source)
    graph.initializer.append(numpy_helper.from_array(np.array(zero_point, np.uint8), "pixel_zero_point"))
    scale = add_constant(graph, "pixel_scale", 1.0)
    del dequantize.input[:]  # type: ignore[union-attr]  # the loop's first turn made sure of it
    dequantize.input.extend([source, scale, "pixel_zero_point"])  # type: ignore[union-attr]
    drop_unused(graph)


def _input_of_first(graph: onnx.GraphProto) -> str:
    return str(convolutions(graph)[0].input[0])


def _constant(graph: onnx.GraphProto, name: str) -> NDArray[Any]:
    value = constant(graph, name)
    if value is None:
        raise QuantizationError(f"expected {name!r} to be a constant of the graph: export the backbone again")
    return value


def _add_to_bias(graph: onnx.GraphProto, conv: onnx.NodeProto, shift: NDArray[np.float64]) -> None:
    bias = _constant(graph, conv.input[2]) if len(conv.input) == 3 else 0.0
    del conv.input[2:]
    name = f"{conv.name}_bias_{len(graph.initializer)}"
    conv.input.append(add_constant(graph, name, bias + shift))
