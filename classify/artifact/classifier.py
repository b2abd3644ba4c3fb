"""The classifier file: one ONNX graph from image to probabilities, with its classes and its provenance inside."""

import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.artifact.graph import DISTANCE, PREDICTION, PROBABILITIES, head_of, runner_of
from headstart.classify.confidence.precision import ClassThreshold
from headstart.classify.errors import ClassifierError
from headstart.classify.split.seen import TRAINED_ON, entry_of, is_named
from headstart.extract.inference.model import Model, read_model
from headstart.extract.sources.labels import codes_among
from headstart.extract.store.store import Store

FORMAT, SCHEMA = "headstart-classifier", 1


@dataclass(frozen=True)
class ClassifierFile:
    """A classifier file that has been read and checked.

    Attributes
    ----------
    model
        The graph: outputs ``probabilities`` (n, k) and ``embedding`` (n, d); if it marks images as unknown, also
        ``unknown``, (n, 1), and ``prediction``, (n, k + 2), which is probabilities, distance and unknown; if it marks
        them by their distance, also ``distance``, (n, 1).
    """

    model: Model

    @property
    def classes(self) -> list[str]:
        """Class names, in the order of the probabilities."""
        return list(self.model.metadata["classes"])

    @property
    def prediction(self) -> str:
        """Name of the most complete output: ``prediction``, or ``probabilities`` if it marks nothing as unknown."""
        return PREDICTION if PREDICTION in self.model.outputs else PROBABILITIES

    @property
    def has_distance(self) -> bool:
        """Whether the second last column of ``prediction`` is a distance."""
        return DISTANCE in self.model.outputs

    @property
    def class_thresholds(self) -> dict[str, ClassThreshold]:
        """The classes with a threshold of their own, below which a prediction is unknown."""
        stored = self.model.metadata.get("thresholds", {}).get("classes", {})
        return {name: ClassThreshold(**values) for name, values in stored.items()}

    @cached_property
    def _heads(self) -> dict[str, Any]:
        return {output: runner_of(head_of(self.model.data, output)) for output in {PROBABILITIES, self.prediction}}

    def probabilities(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the head alone, in numpy: float32 (n, d) -> float32 (n, k)."""
        return self._run(PROBABILITIES, embeddings)

    def predictions(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Run the head alone, in numpy, for the output `prediction`: float32 (n, d) -> (n, k + 2) or (n, k)."""
        return self._run(self.prediction, embeddings)

    def _run(self, output: str, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        result: NDArray[np.float32] = self._heads[output](embeddings)
        return result

    def has_seen(self, store: Store) -> NDArray[np.bool_] | None:
        """Tell which rows of a store, bool (n,), its head was fitted on; None if it does not say (release 0.1)."""
        digests = entry_of(self.model.data, TRAINED_ON)
        return is_named(store, digests) if digests else None

    def without_left_out(self, store: Store) -> Store:
        """Take the label from the rows of those classes that its training left out."""
        left_out = self.model.metadata.get("trained_on", {}).get("left_out", [])
        codes = codes_among(store.classes, left_out)
        kept = [name for name, code in zip(store.classes, codes, strict=True) if code < 0]
        return store if len(kept) == len(codes) else store.with_classes(kept)

    def require_store_of_same_backbone(self, store: Store) -> None:
        """Refuse a store whose embeddings come from another backbone.

        Raises
        ------
        ClassifierError
            If they do.
        """
        expected, found = self.model.backbone_sha256, store.header.model_sha256
        if expected != found:
            raise ClassifierError(
                f"{store.location}: its embeddings come from backbone {found[:16]}, but {self.model.source} was "
                f"trained on those of {expected[:16]}; embed the images with the same backbone"
            )


def read_classifier(path: str | os.PathLike[str]) -> ClassifierFile:
    """Read a classifier file, here or at a URL.

    Raises
    ------
    ClassifierError
        If the file is missing, incomplete, or a backbone rather than a classifier.
    ModelError
        If it is damaged, or of another version.
    """
    model = read_model(path)
    if model.metadata.get("format") != FORMAT:
        raise ClassifierError(
            f"{path}: expected a classifier, found a backbone; train one with `headstart train photos.h5 -o NAME.onnx`"
        )
    classes = model.metadata.get("classes", [])
    if model.outputs.get("probabilities") != (len(classes),) or "embedding" not in model.outputs:
        raise ClassifierError(
            f"{path}: its graph does not give one probability for each of its classes; train it again"
        )
    return ClassifierFile(model)
