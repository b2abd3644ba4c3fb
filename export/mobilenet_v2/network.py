"""MobileNetV2 as an export uses a network: its graph, the layout of its embedding, and a reference to compare with."""

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import onnx
from numpy.typing import NDArray

from headstart.export.backbones import Plan, listed
from headstart.export.conversion.features import Group, groups_of
from headstart.export.conversion.images import calibration_images
from headstart.export.conversion.network import POOLINGS, TENSOR
from headstart.export.mobilenet_v2.graph import block_names, build_graph, shapes_of, wanted_blocks
from headstart.export.mobilenet_v2.read import draw_weights, read_weights
from headstart.export.mobilenet_v2.reference import Maps, forward
from headstart.export.mobilenet_v2.units import units_of
from headstart.files.errors import OptionError

if TYPE_CHECKING:
    from headstart.export.weights.load import Weights


class ArrayNetwork:
    """A network built from its arrays, without Keras.

    Attributes
    ----------
    reference : str
        What the ONNX model is compared with.
    packages : tuple of str
        The packages whose versions the file states.
    """

    reference = "numpy"
    packages: tuple[str, ...] = ("headstart", "onnx")

    def __init__(self, plan: Plan, source: "Weights") -> None:
        self._plan, self._units = plan, units_of(plan.width)
        if plan.cut is not None and plan.cut not in self._ends:
            raise OptionError(
                f"{plan.describe()} has no block {plan.cut!r} to cut after: choose one of {listed(self._ends)}"
            )
        if source.path is None:
            self.weights = draw_weights(
                self._units, source.seed or 0, self._scaled(calibration_images(plan.image_size))
            )
        else:
            self.weights = read_weights(source.path, self._units, plan.describe())

    @property
    def _ends(self) -> list[str]:
        return block_names(self._units)

    @property
    def _wanted(self) -> dict[str, str]:
        return wanted_blocks(self._units, self._plan.features, self._plan.cut, TENSOR)

    @property
    def graph(self) -> onnx.GraphProto:
        """The graph on scaled pixels (see `build_graph`)."""
        return build_graph(self._units, self.weights, self._plan.image_size, self._wanted)

    @cached_property
    def groups(self) -> list[Group]:
        """The groups of columns of an embedding."""
        blocks = () if self._plan.cut is not None else self._wanted
        return groups_of(self._units[-1].channels, shapes_of(self._units, self._plan.image_size, blocks))

    @property
    def cut_shape(self) -> tuple[int, int, int] | None:
        """Height, width and channels of the tensor at the cut; None without one."""
        cut = self._plan.cut
        return None if cut is None else shapes_of(self._units, self._plan.image_size, [cut])[cut]

    def embeddings(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed images, uint8 (n, h, w, 3), RGB, 0-255, with the reference: float32 (n, d)."""
        return np.concatenate([self._embedding(maps, blocks) for maps, blocks in self._each(images)])

    def tensors(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute the tensors at the cut with the reference: float32 (n, h, w, c)."""
        return np.concatenate([blocks[self._plan.cut or ""] for _, blocks in self._each(images)]).astype(np.float32)

    def _embedding(self, maps: Maps, blocks: dict[str, Maps]) -> NDArray[np.float32]:
        outputs = {"top": maps, **blocks}
        parts = [POOLINGS[group.pooling](outputs[group.name], axis=(1, 2), dtype=np.float64) for group in self.groups]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def _each(self, images: NDArray[np.uint8]) -> Iterator[tuple[Maps, dict[str, Maps]]]:
        for image in images:  # one at a time, which fits in a processor's cache
            yield forward(self._units, self.weights, self._scaled(image[None]))

    def _scaled(self, images: NDArray[np.uint8]) -> Maps:
        pixels = self._plan.backbone.pixels
        scaled: Maps = (images - np.array(pixels.offset, np.float32)) * np.float32(pixels.scale)
        return scaled
