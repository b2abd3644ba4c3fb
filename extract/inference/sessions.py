"""A model opened on a processor: one class per runtime, with one interface."""

import io
import sys
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.extract.errors import ProviderError
from headstart.extract.inference.model import CUT, Model
from headstart.files.errors import one_line

if TYPE_CHECKING:
    from headstart.extract.inference.providers import Provider


class Session(ABC):
    """An opened model.

    Attributes
    ----------
    provider
        The provider that really runs, as its runtime calls it.
    exclusive
        Whether calls must come one at a time (an accelerator), rather than one from each core.
    batch_size
        Images per batch that suit it.
    passed_over
        What ``auto`` tried before this provider, with the reason why each does not run.
    """

    def __init__(self, provider: "Provider") -> None:
        self.provider, self.exclusive, self.batch_size = provider.name, provider.exclusive, provider.batch_size
        self.passed_over: list[str] = []

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run one batch: uint8 (n, H, W, 3) -> float32 (n, d); from any thread.

        Raises
        ------
        ProviderError
            If the provider fails, for example for lack of memory.
        """
        try:
            return self._run(pixels)
        except Exception as error:  # runtimes raise many types, some without a public name
            raise ProviderError(
                f"{self.provider} failed on a batch of {len(pixels)}: {one_line(error)}; try a smaller --batch-size"
            ) from None

    @abstractmethod
    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]: ...


def _settings() -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    # One thread per call: dividing the cores among calls wastes less than dividing them within each operator.
    settings.intra_op_num_threads = settings.inter_op_num_threads = 1
    return settings


class OnnxruntimeSession(Session):
    """A session of onnxruntime on one of its execution providers."""

    def __init__(self, model: Model, output: str, provider: "Provider") -> None:
        import onnxruntime

        super().__init__(provider)
        self._output = output
        providers = [(provider.name, dict(provider.options))]
        self._session = onnxruntime.InferenceSession(model.data, _settings(), providers=providers)
        self._session.disable_fallback()
        active = list(self._session.get_providers())
        if active[:1] != [provider.name]:
            raise ProviderError(f"{provider.name} does not run here (onnxruntime offered {', '.join(active)})")

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        # Bound input and output: neither is copied on a CPU, and each moves once to and from an accelerator.
        binding = self._session.io_binding()
        binding.bind_cpu_input("image", pixels)
        binding.bind_output(self._output, "cpu")
        self._session.run_with_iobinding(binding)
        result: NDArray[np.float32] = binding.copy_outputs_to_cpu()[0]
        return result


class TensorSession:
    """A part of a network on the CPU, by default its tail."""

    provider = "CPUExecutionProvider"

    def __init__(self, data: bytes, source: str = CUT, output: str = "embedding") -> None:
        import onnxruntime

        self._source, self._output = source, output
        self._session = onnxruntime.InferenceSession(data, _settings(), providers=[self.provider])

    def run(self, tensors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run one batch: float32 (n, h, w, c), or (n, v, h, w, c) of v views -> float32 (n, d); from any thread."""
        result: NDArray[np.float32] = self._session.run([self._output], {self._source: tensors})[0]
        return result


class OpenvinoSession(Session):
    """A model compiled by OpenVINO for the CPU, with one request per calling thread."""

    def __init__(self, model: Model, output: str, provider: "Provider") -> None:
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # it writes ~/intel, and calls home
        import openvino

        super().__init__(provider)
        core = openvino.Core()
        graph = core.read_model(io.BytesIO(model.data))
        self._compiled = core.compile_model(graph, "CPU", dict(provider.options))
        self._port = self._compiled.output(output)
        self._own = threading.local()

    def _run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        self._own.request.infer([pixels], share_inputs=True)
        result: NDArray[np.float32] = self._own.request.get_tensor(self._port).data.copy()
        return result
