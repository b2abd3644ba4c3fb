"""A classifier of scikit-learn that amounts to no layers, written as ONNX by skl2onnx."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.errors import HeadError
from headstart.classify.heads.rows import blocks_of
from headstart.files.errors import MissingExtraError, one_line

ML_OPSET = 3
UNLIKELY = 1e-3
"""Share of the probability that all classes together may get although the classifier rules them out: the logarithm of 0
is not finite, and numbers next to 0 have few exact digits in float32."""


@dataclass(frozen=True)
class ConvertedHead:
    """A fitted classifier of scikit-learn.

    Attributes
    ----------
    pipeline
        The classifier, which has ``predict_proba``; its classes are the codes 0..k-1.
    inputs, classes
        Length of an embedding, and k.
    """

    pipeline: Any = field(repr=False)
    inputs: int
    classes: int

    @property
    def floor(self) -> float:
        """The least probability; smaller ones are raised to it."""
        return UNLIKELY / self.classes

    def logits(self, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the logarithms of its probabilities, float64 (n, k)."""
        blocks = [probabilities_of(self.pipeline, block) for block in blocks_of(embeddings)]
        logits: NDArray[np.float64] = np.log(np.maximum(np.concatenate(blocks), self.floor))
        return logits

    def to_onnx(self, opset: int) -> Any:
        """Convert it, with the input ``embedding`` and the output ``probabilities``.

        Raises
        ------
        HeadError
            If skl2onnx cannot convert it.
        MissingExtraError
            If skl2onnx is not installed.
        """
        name = name_of(self.pipeline)
        try:
            from skl2onnx import to_onnx
            from skl2onnx.common.data_types import FloatTensorType
        except ImportError:
            raise MissingExtraError(
                f'to write a {name} needs skl2onnx, which is not installed: pip install "headstart[sklearn-heads]"'
            ) from None
        inputs = [("embedding", FloatTensorType([None, self.inputs]))]
        options, opsets = {id(self.pipeline): {"zipmap": False}}, {"": opset, "ai.onnx.ml": ML_OPSET}
        try:
            return to_onnx(self.pipeline, initial_types=inputs, options=options, target_opset=opsets)
        except Exception as error:  # its converters raise many types
            raise HeadError(f"a {name} cannot be written as ONNX: {one_line(error)}; use another classifier") from None


def name_of(head: Any) -> str:
    """Return the name of a classifier, or of the one at the end of a pipeline."""
    return type(head.steps[-1][1] if hasattr(head, "steps") else head).__name__


def probabilities_of(head: Any, embeddings: NDArray[np.float32]) -> NDArray[np.float64]:
    """Ask a fitted classifier for its probabilities, (n, k).

    Raises
    ------
    HeadError
        If it raises anything.
    """
    try:
        return np.asarray(head.predict_proba(embeddings), np.float64)
    except Exception as error:
        raise HeadError(f"the {name_of(head)} fails on {len(embeddings)} images: {one_line(error)}") from error
