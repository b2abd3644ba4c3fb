"""Execution providers: the processors that a model can run on, one record per provider."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from headstart.extract.errors import ModelError, ProviderError
from headstart.extract.inference.model import Model
from headstart.extract.inference.sessions import OnnxruntimeSession, OpenvinoSession, Session
from headstart.extract.inference.subgraph import only
from headstart.files.cores import cores
from headstart.files.errors import one_line

LEAST_COSINE = 0.98
"""Smallest accepted cosine between a provider's embeddings of test images and the CPU's: bf16 reaches 0.99."""


@dataclass(frozen=True)
class Provider:
    """One processor, and the settings that suit it.

    Attributes
    ----------
    name
        Its name in onnxruntime, or the name and processor of another runtime.
    options
        Options for the runtime.
    exclusive
        Whether it runs one batch at a time.
    batch_size
        Images per batch: few on a CPU, so that a batch's tensors stay in the core's cache.
    session
        The class that opens a model on it.
    """

    name: str
    options: Mapping[str, str] = field(default_factory=dict)
    exclusive: bool = True
    batch_size: int = 64
    session: type[OnnxruntimeSession] | type[OpenvinoSession] = OnnxruntimeSession

    def open(self, model: Model, output: str) -> Session:
        """Open a model on this provider."""
        return self.session(model, output, self)

    def is_installed(self) -> bool:
        """Tell whether its runtime is installed and supports it."""
        if self.session is OpenvinoSession:
            return find_spec("openvino") is not None
        return self.name in _onnxruntime_offers()


_CUDA = {
    # Exact arithmetic (no TF32); algorithms chosen by heuristics; memory as needed, not in powers of two.
    "use_tf32": "0",
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",
}
_OPENVINO = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": str(cores()), "NUM_STREAMS": str(cores())}

PROVIDERS: dict[str, Provider] = {
    "tensorrt": Provider("TensorrtExecutionProvider"),
    "tensorrt-fp16": Provider("TensorrtExecutionProvider", {"trt_fp16_enable": "1"}),
    "cuda": Provider("CUDAExecutionProvider", _CUDA),
    "coreml": Provider("CoreMLExecutionProvider"),
    "directml": Provider("DmlExecutionProvider"),
    "openvino": Provider("OpenVINO CPU", {**_OPENVINO, "INFERENCE_PRECISION_HINT": "f32"}, False, 4, OpenvinoSession),
    "openvino-bf16": Provider(
        "OpenVINO CPU bf16", {**_OPENVINO, "INFERENCE_PRECISION_HINT": "bf16"}, False, 4, OpenvinoSession
    ),
    "cpu": Provider("CPUExecutionProvider", exclusive=False, batch_size=4),
}
AUTO = ("cuda", "coreml", "directml", "cpu")
"""The order in which ``auto`` tries them. TensorRT compiles for minutes, and OpenVINO is faster than onnxruntime only
in bf16, which is less exact: both must be named."""


def open_session(model: Model, provider: str = "auto", output: str = "embedding") -> Session:
    """Open a model on a provider, and check with one batch that it runs there and agrees with the CPU.

    Parameters
    ----------
    provider
        A name of `PROVIDERS`, or ``"auto"`` for the first of `AUTO` that runs on this machine.

    Raises
    ------
    ProviderError
        If the name is unknown, or that provider is absent, does not run, or disagrees with the CPU. There is no
        fallback to another.
    """
    if provider == "auto":
        return _first_that_runs(model, [name for name in AUTO if PROVIDERS[name].is_installed()], output)
    if provider not in PROVIDERS:
        raise ProviderError(f"unknown provider {provider!r}; expected auto or one of {', '.join(PROVIDERS)}")
    if not PROVIDERS[provider].is_installed():
        installed = ", ".join(name for name, entry in PROVIDERS.items() if entry.is_installed())
        raise ProviderError(f"provider {provider!r} is not installed; here: {installed}")
    return _open(model, provider, output)


def _onnxruntime_offers() -> list[str]:
    try:
        import onnxruntime
    except ImportError:
        raise ProviderError(
            "onnxruntime is not installed; pip install onnxruntime, or onnxruntime-gpu for an NVIDIA GPU"
        ) from None
    if _is_distributed("onnxruntime") and _is_distributed("onnxruntime-gpu"):
        raise ProviderError(
            "onnxruntime and onnxruntime-gpu are both installed, one over the other; uninstall both, then install one"
        )
    return list(onnxruntime.get_available_providers())


def _is_distributed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def _first_that_runs(model: Model, names: list[str], output: str) -> Session:
    reasons: list[str] = []
    for name in names:
        try:
            session = _open(model, name, output)
            session.passed_over = reasons
            return session
        except ProviderError as error:
            reasons.append(str(error))
    raise ProviderError("no provider runs here: " + "; ".join(reasons))


def _open(model: Model, name: str, output: str) -> Session:
    pixels = _probe(model)
    try:
        part = only(model, output)
        session = PROVIDERS[name].open(part, output)
        values = session.run(pixels)
    except Exception as error:  # runtimes raise many types, some without a public name
        raise ProviderError(f"{model.source}: does not run on provider {name!r}: {one_line(error)}") from None
    if values.shape != (expected := (len(pixels), *model.outputs[output])):
        raise ModelError(
            f"{model.source}: its output {output!r} is {values.shape} for {len(pixels)} images, expected {expected} "
            "as its graph says; export it again"
        )
    if name != "cpu":
        _require_agreement(name, values, PROVIDERS["cpu"].open(part, output).run(pixels))
    return session


def _require_agreement(name: str, values: NDArray[np.float32], reference: NDArray[np.float32]) -> None:
    values, reference = values.reshape(len(values), -1), reference.reshape(len(reference), -1)
    lengths = np.linalg.norm(values, axis=1) * np.linalg.norm(reference, axis=1)
    cosine = float(((values * reference).sum(axis=1) / np.maximum(lengths, np.finfo(np.float32).tiny)).min())
    if not cosine >= LEAST_COSINE:
        raise ProviderError(
            f"provider {name!r} runs here but disagrees with the CPU (cosine {cosine:.4f}, expected at "
            f"least {LEAST_COSINE}); use --provider cpu"
        )


def _probe(model: Model) -> NDArray[np.uint8]:
    """Return two synthetic images of smooth colours, uint8 (2, H, W, 3)."""
    rng = np.random.default_rng(0)
    height, width = model.rule.height, model.rule.width
    coarse = rng.integers(0, 256, (2, height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    return np.ascontiguousarray(coarse.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width])
