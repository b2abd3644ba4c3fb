"""Predictions in memory: a list of records that becomes a table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from headstart.classify.scoring.predictions import UNKNOWN, Prediction
from headstart.extract.metadata import Metadata
from headstart.extract.notes import Note
from headstart.extract.store.tables import metadata_columns
from headstart.files.notebook import html_table, import_pandas

SHOWN_ROWS = 20


@dataclass(frozen=True)
class Predictions(Sequence[Prediction]):
    """One prediction per image, in the order of the images; a list in all but its methods.

    Attributes
    ----------
    records
        The predictions.
    classes
        Class names, in the order of the probabilities.
    probabilities
        float32, (n, k); NaN for an image that failed.
    notes
        What was odd about images that were classified all the same, counted per kind.
    """

    records: tuple[Prediction, ...] = field(repr=False)
    classes: tuple[str, ...]
    probabilities: NDArray[np.float32] = field(repr=False)
    notes: tuple[Note, ...] = ()

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, which: int) -> Prediction: ...
    @overload
    def __getitem__(self, which: slice) -> "Predictions": ...
    def __getitem__(self, which: int | slice) -> "Prediction | Predictions":
        if isinstance(which, slice):
            return Predictions(self.records[which], self.classes, self.probabilities[which], self.notes)
        return self.records[which]

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self.records)

    def __repr__(self) -> str:
        return f"<Predictions: {len(self)} images, {self.failed} failed, classes {', '.join(self.classes)}>"

    @property
    def failed(self) -> int:
        """How many images have a reason instead of a prediction."""
        return sum(bool(prediction.reason) for prediction in self)

    def to_pandas(self) -> Any:
        """Return a `pandas.DataFrame`: path, label, probability, label_2, ..., unknown, distance, reason.

        Where photos have `Prediction.metadata`, also taken, camera, latitude and longitude.

        Raises
        ------
        MissingExtraError
            If pandas is not installed.
        """
        pandas = import_pandas()
        ranks = max((len(prediction.top) for prediction in self), default=1)
        columns: dict[str, list[Any]] = {"path": [prediction.path for prediction in self]}
        for rank in range(ranks):
            suffix = f"_{rank + 1}" if rank else ""
            best = [prediction.top[rank] if rank < len(prediction.top) else (None, np.nan) for prediction in self]
            columns[f"label{suffix}"] = [label for label, _ in best]
            columns[f"probability{suffix}"] = [probability for _, probability in best]
        columns["unknown"] = pandas.array([prediction.unknown for prediction in self], dtype="boolean")
        columns["distance"] = [np.nan if one.distance is None else one.distance for one in self]
        columns["reason"] = [prediction.reason for prediction in self]
        columns |= metadata_columns(prediction.metadata for prediction in self)
        return pandas.DataFrame(columns)

    def _repr_html_(self) -> str:
        rows = [(one.path, *_cells(one)) for one in self.records[:SHOWN_ROWS]]
        more = f"\n(the first {SHOWN_ROWS} of {len(self)})" if len(self) > SHOWN_ROWS else ""
        title = f"{len(self)} images, {self.failed} failed{more}"
        return html_table(title, ("image", "prediction", "probability", "note"), rows)


def prediction_of(
    path: str,
    names: Sequence[str],
    values: NDArray[np.float32],
    best: NDArray[np.int64],
    *,
    metadata: Metadata | None = None,
    has_distance: bool = True,
) -> Prediction:
    """Make the record of one image.

    Parameters
    ----------
    values
        (k,): probabilities; or (k + 2,): also the distance, and 1 if the image is flagged as unknown.
    best
        Numbers of the classes to name, the likeliest first.
    has_distance
        Whether the distance is one: a classifier without distances has 0 in its place.
    """
    top = [(names[number], float(values[number])) for number in best]
    if len(values) == len(names):
        return Prediction(path, top, metadata=metadata)
    distance = float(values[-2]) if has_distance else None
    return Prediction(path, top, unknown=bool(values[-1]), distance=distance, metadata=metadata)


def likeliest(probabilities: NDArray[np.float32], top: int) -> NDArray[np.int64]:
    """Return the numbers of the likeliest classes, the likeliest first: (n, k) -> (n, top)."""
    return np.argsort(-probabilities, axis=1, kind="stable")[:, :top]


def _cells(prediction: Prediction) -> tuple[str, str, str]:
    if prediction.reason:
        return "", "", prediction.reason
    label, probability = prediction.top[0]
    return label, f"{probability:.3f}", UNKNOWN if prediction.unknown else ""
