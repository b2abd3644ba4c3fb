"""The state of a tuning after an epoch, in one file that is replaced whole, so that a killed run can resume."""

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
    """The figures of an epoch: log losses (nats), accuracy (0..1) and seconds.

    Attributes
    ----------
    number
        From 1.
    training_loss
        Mean of the recipe's loss, with label smoothing and mixup.
    log_loss, accuracy
        On the held-out images, with logits averaged over views and divided by `temperature`.
    temperature
        The temperature of least log loss on these images.
    """

    number: int
    training_loss: float
    log_loss: float
    accuracy: float
    temperature: float
    seconds: float

    def describe(self) -> str:
        """Describe the epoch in one line."""
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
        The network's weights, the optimizer's variables, and the weights of the epoch with the least log loss.
    """

    history: list[Epoch]
    now: list[NDArray[Any]] = field(repr=False)
    optimizer: list[NDArray[Any]] = field(repr=False)
    best: list[NDArray[Any]] = field(repr=False)


def save_state(path: Path, state: State, key: str) -> None:
    """Replace the file; `key` identifies the rows, trunk and recipe."""
    columns = {
        f"{name}_{number:04d}": Column.of(np.atleast_1d(np.asarray(array)))
        for name in ("now", "optimizer", "best")
        for number, array in enumerate(getattr(state, name))
    }
    attributes = {"format": FORMAT, "of": key, "history": json.dumps([asdict(epoch) for epoch in state.history])}
    write_hdf5(path, attributes, columns)


def load_state(path: Path, key: str, shapes: dict[str, list[tuple[int, ...]]]) -> State | None:
    """Load the state that a run with the same key left; None if there is none.

    A file that is damaged or has another key counts as none: the run then starts anew and replaces it.

    Parameters
    ----------
    shapes
        Expected shapes of the arrays ``now`` and ``optimizer``.
    """
    if not path.exists():
        return None
    try:
        verify(path)
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT or file.attrs.get("of") != key:
                return None
            arrays = {
                name: [
                    own_dataset(file, f"{name}_{number:04d}")[:].reshape(shape)
                    for number, shape in enumerate(shapes["optimizer" if name == "optimizer" else "now"])
                ]
                for name in ("now", "optimizer", "best")
            }
            history = [Epoch(**epoch) for epoch in json.loads(file.attrs["history"])]
    except (StoreError, OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError):
        return None
    return State(history, **arrays)
