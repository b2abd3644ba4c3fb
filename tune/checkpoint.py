"""The state of a tuning after an epoch, in one file that is replaced whole: a killed run goes on from there."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.extract.errors import StoreError
from headstart.extract.store.hdf5 import Column, own_dataset, verify, write_hdf5

FORMAT = "headstart-tuning"


@dataclass(frozen=True)
class Epoch:
    """How an epoch went: log losses (nats), accuracy (0..1) and seconds.

    Attributes
    ----------
    number
        From 1.
    training_loss
        Mean of the recipe's loss, with its smoothing and mixing.
    log_loss, accuracy
        On the held-out images, their views averaged, after division of the logits by `temperature`.
    temperature
        That gives the least log loss there.
    """

    number: int
    training_loss: float
    log_loss: float
    accuracy: float
    temperature: float
    seconds: float

    def describe(self) -> str:
        """Give the epoch's figures in words."""
        return (
            f"training loss {self.training_loss:.4f}, held out: log loss {self.log_loss:.4f}, "
            f"accuracy {self.accuracy:.4f}; {self.seconds:.0f} s"
        )


@dataclass(frozen=True)
class State:
    """Everything that the next epoch depends on.

    Attributes
    ----------
    history
        The epochs so far.
    now, optimizer, best
        Weights of the model, variables of the optimizer, and the weights of the epoch with the least log loss.
    """

    history: list[Epoch]
    now: list[NDArray[Any]] = field(repr=False)
    optimizer: list[NDArray[Any]] = field(repr=False)
    best: list[NDArray[Any]] = field(repr=False)


def save_state(place: Path, state: State, of: str) -> None:
    """Replace the file; `of` names what the state is of."""
    groups = {"now": state.now, "optimizer": state.optimizer, "best": state.best}
    columns = {
        f"{name}_{number:04d}": Column.of(np.atleast_1d(np.asarray(array)))
        for name, arrays in groups.items()
        for number, array in enumerate(arrays)
    }
    attributes = {"format": FORMAT, "of": of, "history": json.dumps([asdict(epoch) for epoch in state.history])}
    write_hdf5(place, attributes, columns)


def load_state(place: Path, of: str, shapes: dict[str, list[tuple[int, ...]]]) -> State | None:
    """Give the state that a run of the same rows, trunk and recipe has left; None where there is none.

    A file that is damaged, or of another run, counts as none: the run then begins anew and replaces it.

    Parameters
    ----------
    shapes
        Of the arrays ``now`` and ``optimizer`` that are expected.
    """
    if not place.exists():
        return None
    try:
        verify(place)
        with h5py.File(place, "r") as file:
            if file.attrs.get("format") != FORMAT or file.attrs.get("of") != of:
                return None
            arrays = {
                name: [
                    own_dataset(file, f"{name}_{number:04d}")[:].reshape(shape)
                    for number, shape in enumerate(shapes["optimizer" if name == "optimizer" else "now"])
                ]
                for name in ("now", "optimizer", "best")
            }
            history = [Epoch(**said) for said in json.loads(file.attrs["history"])]
    except (StoreError, OSError, ValueError, TypeError, KeyError):
        return None
    return State(history, **arrays)
