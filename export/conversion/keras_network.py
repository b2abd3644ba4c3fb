"""A Keras application as an export uses a network: the counterpart of `headstart.export.mobilenet_v2.network`."""

from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray

from headstart.export.backbones import Plan
from headstart.export.conversion import network
from headstart.export.conversion.convert import translate
from headstart.export.conversion.features import Group
from headstart.export.conversion.frameworks import Frameworks

if TYPE_CHECKING:
    from headstart.export.weights.load import Weights


class KerasNetwork:
    """A network that Keras builds and tf2onnx translates.

    Attributes
    ----------
    reference : str
        What the ONNX model is compared with.
    packages : tuple of str
        The packages whose versions the file states.
    """

    reference = "keras"
    packages: tuple[str, ...] = ("headstart", "tensorflow", "keras", "tf2onnx", "onnx")

    def __init__(self, plan: Plan, source: "Weights", frameworks: Frameworks) -> None:
        from headstart.export.weights.load import load_weights

        self._plan, self._frameworks = plan, frameworks
        built = network.build_network(plan, frameworks)
        load_weights(built, source, plan, frameworks)
        self._network = network.with_blocks(built, plan, frameworks)

    @property
    def graph(self) -> onnx.GraphProto:
        """The translated graph, from preprocessed pixels to the outputs."""
        return translate(self._network, self._plan, self._frameworks)

    @property
    def groups(self) -> list[Group]:
        """The groups of columns of an embedding."""
        return network.layout(self._network)

    @property
    def cut_shape(self) -> tuple[int, ...] | None:
        """Height, width and channels of the tensor at the cut; None without one."""
        return network.cut_shape(self._network)

    def embeddings(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed images, uint8 (n, h, w, 3), RGB, 0-255, with Keras: float32 (n, d)."""
        return network.keras_embeddings(self._network, images, self._plan)

    def tensors(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the tensors at the cut with Keras: float32 (n, h, w, c)."""
        return network.keras_tensors(self._network, images, self._plan)
