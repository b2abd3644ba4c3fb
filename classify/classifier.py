"""A classifier that is ready to use: images in, class names or probabilities out."""

import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.classify.artifact.classifier import ClassifierFile, read_classifier
from headstart.classify.scoring.predictions import Prediction
from headstart.classify.scoring.result import Predictions, likeliest, prediction_of
from headstart.extract.engines.images import AnyImage, ImageEngine, counted, require_all
from headstart.extract.metadata import Metadata
from headstart.extract.notes import NoteCounter
from headstart.extract.options import EngineOptions, SourceOptions
from headstart.extract.sources.find import find_images, is_one_image
from headstart.extract.store.rows import Outcome
from headstart.extract.store.shards import is_store
from headstart.extract.store.store import Store, open_store
from headstart.files.errors import OptionError
from headstart.files.notebook import html_facts
from headstart.files.progress import ProgressCallback

AnyImages = AnyImage | Store | Iterable[AnyImage]
"""One image; several; or a folder, list, archive, table, URL or embedding store of them."""


def load(path: str | os.PathLike[str], *, options: EngineOptions | None = None) -> "Classifier":
    """Load a classifier made by ``headstart train``, here or at a URL.

    Parameters
    ----------
    options
        How it uses this machine: the provider, and the number of threads.

    Raises
    ------
    ClassifierError, ModelError
        If the file is missing, damaged, or no classifier.
    """
    return Classifier(read_classifier(path), options)


class Classifier:
    """An image classifier with the methods of scikit-learn's; any number of threads may call them.

    The first call opens the model; from then on its threads and the processes that decode files are kept, until
    `close`. Use it in a ``with`` block, or let Python end them when nobody holds the classifier any longer.

    Every method takes as ``images`` one image or several, each a path or URL, the bytes of a file, an image of Pillow,
    or an array uint8 (H, W, 3) RGB or (H, W) grey, 0-255; arrays (n, H, W, 3); or a folder, list, archive, table or URL
    of images; or an embedding store of the same backbone, as `Store` or its path, whose images are not read again.

    Attributes
    ----------
    file
        The classifier file that was read.
    classes_
        Text, (k,): class names, in the order of the probabilities.
    """

    def __init__(self, file: ClassifierFile, options: EngineOptions | None = None) -> None:
        self.file, self.classes_ = file, np.array(file.classes, np.str_)
        self._options, self._opening = options, threading.Lock()
        self._engine: ImageEngine | None = None

    @property
    def provider(self) -> str | None:
        """The execution provider that runs, as its runtime calls it; None while the model is not open."""
        return self._engine.provider if self._engine else None

    @property
    def passed_over(self) -> Sequence[str]:
        """What ``auto`` could not use, with reasons; empty while the model is not open."""
        return self._engine.passed_over if self._engine else ()

    def predict(self, images: AnyImages) -> NDArray[np.str_]:
        """Return the likeliest class of each image: text, (n,); of unknown images too, which `predictions` marks.

        Raises
        ------
        ImagesError
            Naming the images that cannot be classified, and why; `predictions` gives rows for them as well.
        ExtractError, ClassifierError
            If images cannot be listed, or a store comes from another backbone.
        """
        names: NDArray[np.str_] = self.classes_[self.predict_proba(images).argmax(axis=1)]
        return names

    def predict_proba(self, images: AnyImages) -> NDArray[np.float32]:
        """Return calibrated probabilities, float32 (n, k), in the order of `classes_`; raises as `predict`."""
        found = self.predictions(images, top=1)
        require_all(
            [(one.path, one.reason) for one in found], advice=", or call predictions(), which has a row for each"
        )
        return found.probabilities

    def predictions(
        self,
        images: AnyImages,
        top: int = 3,
        *,
        source_options: SourceOptions | None = None,
        progress: ProgressCallback | None = None,
        metadata: bool = False,
    ) -> Predictions:
        """Return one record per image: classes with their probabilities, or the reason why there are none.

        Parameters
        ----------
        top
            How many of the likeliest classes to name.
        source_options
            Columns and root of a list, and whether links in a folder are followed.
        progress
            Called after every image.
        metadata
            Whether to read time, camera and position of photos in files into `Prediction.metadata`. Those that a store
            holds are always there.

        Raises
        ------
        ExtractError, ClassifierError, OptionError
            If images cannot be listed, or a store comes from another backbone; nothing is raised for a single image.
        """
        if top < 1:
            raise OptionError(f"the number of classes to name must be at least 1, found {top}")
        if isinstance(images, Store) or (isinstance(images, str | os.PathLike) and is_store(images)):
            return self._of_store(images if isinstance(images, Store) else open_store(images), top, metadata)
        return self._of_outcomes(self._outcomes(images, source_options, progress, metadata), top)

    def close(self) -> None:
        """End the threads and processes; the next call would open them again."""
        with self._opening:
            if self._engine is not None:
                self._engine.close()
                self._engine = None

    def __enter__(self) -> "Classifier":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Classifier {self.file.model.source}: {', '.join(self.classes_)}>"

    def _repr_html_(self) -> str:
        metadata = self.file.model.metadata
        facts = {
            "classes": ", ".join(self.classes_),
            "backbone": metadata.get("backbone"),
            "head": metadata.get("head", {}).get("name"),
            "accuracy": metadata.get("measured", {}).get("accuracy"),
        }
        return html_facts(Path(self.file.model.source).name, facts)

    def _outcomes(
        self, images: Any, source_options: SourceOptions | None, progress: ProgressCallback | None, metadata: bool
    ) -> Sequence[Outcome]:
        with self._opening:
            if self._engine is None:
                self._engine = ImageEngine(self.file.model, self.file.prediction, self._options)
            engine = self._engine
        if isinstance(images, str | os.PathLike) and not is_one_image(images):
            source = find_images(images, source_options)
            return engine.source_outcomes(source, progress=progress, reads_metadata=metadata)
        listed = _listed(images)
        return list(counted(engine.outcomes(listed, reads_metadata=metadata), len(listed), progress))

    def _of_outcomes(self, outcomes: Sequence[Outcome], top: int) -> Predictions:
        width, notes = self.file.model.outputs[self.file.prediction][0], NoteCounter()
        values = np.full((len(outcomes), width), np.nan, np.float32)
        for row, outcome in zip(values, outcomes, strict=True):
            notes.add(outcome.notes, outcome.item.path)
            if outcome.vector is not None:
                row[:] = outcome.vector
        images = [(os.fsdecode(outcome.item.path), outcome.reason, outcome.metadata) for outcome in outcomes]
        return self._predictions(images, values, top, notes)

    def _of_store(self, store: Store, top: int, metadata: bool) -> Predictions:
        self.file.require_store_of_same_backbone(store)
        if metadata:
            store.require_metadata()
        width = self.file.model.outputs[self.file.prediction][0]
        values = np.full((len(store), width), np.nan, np.float32)
        for rows, embeddings in store.batches(np.flatnonzero(store.is_embedded)):
            values[rows] = self.file.predictions(embeddings)
        failures = store.failures
        images = [(path, failures.get(path, ""), store.rows.metadata_of(row)) for row, path in enumerate(store.paths)]
        return self._predictions(images, values, top, NoteCounter())

    def _predictions(
        self,
        images: Sequence[tuple[str, str, Metadata | None]],
        values: NDArray[np.float32],
        top: int,
        notes: NoteCounter,
    ) -> Predictions:
        """Make the records of images, each with its path, why it failed, and its metadata."""
        names, probabilities = self.file.classes, values[:, : len(self.classes_)]
        best = likeliest(probabilities, top)
        records = (
            Prediction(path, [], reason)
            if reason
            else prediction_of(path, names, row, order, metadata=metadata, has_distance=self.file.has_distance)
            for (path, reason, metadata), row, order in zip(images, values, best, strict=True)
        )
        return Predictions(tuple(records), tuple(names), probabilities, tuple(notes.notes()))


def _listed(images: Any) -> Sequence[Any]:
    """Return several images as a list, and one as a list of one."""
    if isinstance(images, np.ndarray):
        return images.ravel().tolist() if images.dtype.kind in "OU" else list(images) if images.ndim > 3 else [images]
    is_one = isinstance(images, str | os.PathLike | bytes | bytearray | memoryview) or not isinstance(images, Iterable)
    return [images] if is_one else list(images)
