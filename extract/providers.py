"""Execution providers: the processors that onnxruntime can run a model on, and a session on one of them."""

from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

import numpy as np
from numpy.typing import NDArray

from extract.errors import ProviderError
from extract.model import Model


@dataclass(frozen=True)
class Provider:
    """One processor.

    Attributes
    ----------
    name
        onnxruntime's name for it.
    options
        Ours, for onnxruntime.
    exclusive
        Whether it works on one batch at a time.
    batch_size
        Images a batch: on a CPU few, so that a batch's tensors stay in the core's cache.
    """

    name: str
    options: dict[str, str] = field(default_factory=dict)
    exclusive: bool = True
    batch_size: int = 64


PROVIDERS: dict[str, Provider] = {
    "tensorrt": Provider("TensorrtExecutionProvider"),
    "cuda": Provider("CUDAExecutionProvider"),
    "openvino": Provider("OpenVINOExecutionProvider"),
    "coreml": Provider("CoreMLExecutionProvider"),
    "directml": Provider("DmlExecutionProvider"),
    "cpu": Provider("CPUExecutionProvider", exclusive=False, batch_size=4),
}
AUTO = ("cuda", "coreml", "directml", "cpu")
"""The order in which ``auto`` tries them. TensorRT and OpenVINO, which compile for minutes, are taken only by name."""


class Session:
    """A model open on one provider.

    Attributes
    ----------
    provider
        onnxruntime's name of the provider that really runs.
    exclusive
        Whether calls must come one at a time (an accelerator), rather than one from each core.
    batch_size
        Images a batch that suit it.
    passed_over
        What ``auto`` tried before this provider, each with the reason why it does not run.
    """

    def __init__(self, model: Model, provider: str, output: str) -> None:
        import onnxruntime

        wanted = PROVIDERS[provider]
        self.provider, self.exclusive, self.batch_size = wanted.name, wanted.exclusive, wanted.batch_size
        self._output = output
        self.passed_over: list[str] = []
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        # One thread a call: the cores are shared out among calls, which wastes less than sharing out each operator.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            model.data, options, providers=[(wanted.name, dict(wanted.options))]
        )
        self._session.disable_fallback()

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run one batch: uint8 (n, H, W, 3) -> float32 (n, d).

        Raises
        ------
        ProviderError
            Where the provider fails, for want of memory for example.
        """
        try:
            result: NDArray[np.float32] = self._session.run([self._output], {"image": pixels})[0]
        except Exception as error:  # onnxruntime raises many types, some of them without a public name
            reason = " ".join(str(error).split())[:300]
            raise ProviderError(
                f"{self.provider} failed on a batch of {len(pixels)}: {reason}; try a smaller --batch-size"
            ) from None
        return result

    @property
    def active(self) -> list[str]:
        """The providers that the session holds, first the one that is preferred."""
        return list(self._session.get_providers())


def open_session(model: Model, provider: str = "auto", output: str = "embedding") -> Session:
    """Open a model on a provider, and prove with one batch that it runs there.

    Parameters
    ----------
    provider
        A name of `PROVIDERS`, or ``"auto"`` for the first of `AUTO` that runs on this machine.

    Raises
    ------
    ProviderError
        Where the name is unknown, or that provider is absent or does not run. There is no fallback to another.
    """
    available = _available()
    if provider == "auto":
        return _first_that_runs(model, [name for name in AUTO if PROVIDERS[name].name in available], output)
    if provider not in PROVIDERS:
        raise ProviderError(f"unknown provider {provider!r}; expected auto or one of {', '.join(PROVIDERS)}")
    if PROVIDERS[provider].name not in available:
        here = ", ".join(name for name, entry in PROVIDERS.items() if entry.name in available)
        raise ProviderError(f"provider {provider!r} is not in the installed onnxruntime; here: {here}")
    return _open(model, provider, output)


def _available() -> list[str]:
    try:
        import onnxruntime
    except ImportError:
        raise ProviderError(
            "onnxruntime is not installed; pip install onnxruntime, or onnxruntime-gpu where there is an NVIDIA GPU"
        ) from None
    if _is_installed("onnxruntime") and _is_installed("onnxruntime-gpu"):
        raise ProviderError(
            "onnxruntime and onnxruntime-gpu are both installed, one over the other; uninstall both, then install one"
        )
    return list(onnxruntime.get_available_providers())


def _is_installed(distribution: str) -> bool:
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
    pixels = np.zeros((1, model.rule.height, model.rule.width, 3), np.uint8)
    try:
        session = Session(model, name, output)
        if session.active[:1] != [session.provider]:
            raise ProviderError(f"provider {name!r} does not run here (onnxruntime offered {session.active})")
        session.run(pixels)
    except ProviderError:
        raise
    except Exception as error:  # onnxruntime raises many types, some of them without a public name
        reason = " ".join(str(error).split())[:300]
        raise ProviderError(f"{model.source}: does not run on provider {name!r}: {reason}") from None
    return session
