"""Finding a backbone's weights and loading them into the network: all of them, or a clear error."""

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from headstart.export.backbones import Plan
from headstart.export.conversion.frameworks import Frameworks
from headstart.export.errors import WeightsError
from headstart.export.weights.download import imagenet_file
from headstart.export.weights.untrained import initialise
from headstart.files.errors import one_line
from headstart.files.urls import local_path

HDF5_SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Weights:
    """Weights that were found, but not loaded yet.

    Attributes
    ----------
    source : str
        ``imagenet``, ``file`` or ``random``.
    path : Path or None
        The weight file.
    sha256 : str or None
        Digest of the weight file's bytes.
    seed : int or None
        Seed of random weights.
    """

    source: str
    path: Path | None = None
    sha256: str | None = None
    seed: int | None = None

    def metadata(self) -> dict[str, Any]:
        """Return what the ONNX file states about its weights; of the path, only the name."""
        record = asdict(self) | {"file": self.path.name if self.path else None, "trained": self.source != "random"}
        del record["path"]
        return record


def check_weights(weights: str | os.PathLike[str]) -> None:
    """Check a weight file named by the caller, before TensorFlow is imported.

    Raises
    ------
    WeightsError
        If it is missing, or is not an HDF5 file with a suffix that Keras reads.
    """
    if weights not in ("imagenet", "random"):
        _check_file(local_path(weights))


def find_weights(
    weights: str | os.PathLike[str], plan: Plan, seed: int, announce: Callable[[str], None] = lambda _: None
) -> Weights:
    """Find the weights: a checked file, downloaded if necessary, or a seed.

    Raises
    ------
    WeightsError
        If the file is missing, is not a weight file, or cannot be downloaded.
    """
    if weights == "random":
        return Weights("random", seed=seed)
    imagenet = weights == "imagenet"
    path = imagenet_file(plan, announce) if imagenet else Path(weights)
    _check_file(path)
    with path.open("rb") as file:
        return Weights("imagenet" if imagenet else "file", path, hashlib.file_digest(file, "sha256").hexdigest())


def load_weights(network: Any, weights: Weights, plan: Plan, frameworks: Frameworks) -> None:
    """Load the weights into a Keras network of the plan, and check that every one arrived.

    Raises
    ------
    WeightsError
        If the file holds another network's weights, too few, too many, or a value that is not finite.
    """
    if weights.path is None:
        initialise(network, plan, weights.seed or 0, frameworks)
        return
    _poison(network)
    expected = f"the weights of {plan.describe()} without its top"
    fault = _missing_top(weights.path, network) or _load_fault(network, weights.path)
    if fault:
        raise WeightsError(
            f"{weights.path}: expected {expected}, found {fault}: give the file that fits this backbone and width"
        )
    faulty = _not_finite(network)
    if faulty:
        raise WeightsError(
            f"{weights.path}: expected {expected}, found {len(faulty)} arrays missing or not finite, "
            f"the first {faulty[0]}: the file is damaged or incomplete, fetch it again"
        )


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise WeightsError(f"{path}: no such weight file: give imagenet, random, or the path of a .h5 file")
    # Keras would run code inside a .keras archive or a pickle; weights alone are only data.
    if path.suffix != ".h5":
        raise WeightsError(f"{path}: expected a weight file ending in .h5 or .weights.h5: save it with save_weights")
    try:
        with path.open("rb") as file:
            start = file.read(len(HDF5_SIGNATURE))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}): change its permissions") from error
    if start != HDF5_SIGNATURE:
        raise WeightsError(f"{path}: expected an HDF5 file, found one starting with {start!r}: fetch the file again")
    _check_layout(path)


def _check_layout(path: Path) -> None:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            _check_self_contained(file, path)
            old = "layer_names" in file.attrs or "model_weights" in file
    except OSError as error:
        raise WeightsError(f"{path}: damaged or cut short ({one_line(error)}): fetch the file again") from error
    # Keras chooses its reader by the name, and the wrong reader fails with an unclear message.
    if old == path.name.endswith(".weights.h5"):
        layout, suffix = ("older", ".h5") if old else ("Keras 3", ".weights.h5")
        stem = path.name.removesuffix(".h5").removesuffix(".weights")
        raise WeightsError(
            f"{path}: its layout is the {layout} one, whose names end in {suffix}: rename it to {stem}{suffix}"
        )


def _check_self_contained(file: Any, path: Path) -> None:
    """Refuse links and datasets that make HDF5 read other files."""
    import h5py

    found: list[str] = []

    def collect(name: str, link: Any) -> None:
        if isinstance(link, h5py.ExternalLink):
            found.append(name)
        elif isinstance(link, h5py.HardLink) and isinstance(dataset := file[name], h5py.Dataset):
            found.extend([name] if dataset.external or dataset.is_virtual else [])

    file.visititems_links(collect)
    if found:
        raise WeightsError(
            f"{path}: {found[0]!r} in it refers to another file, which is not read: fetch the file again"
        )


def _poison(network: Any) -> None:
    """Fill the network with NaN, so that a weight that a loader skips silently is noticed afterwards."""
    import numpy as np

    network.set_weights([np.full(weight.shape, np.nan, np.float32) for weight in network.weights])


def _load_fault(network: Any, path: Path) -> str | None:
    try:
        network.load_weights(path)
    except Exception as error:  # Keras and h5py raise many types for a file of another shape.
        return f"another network's ({one_line(error, limit=300)})"
    return None


def _missing_top(path: Path, network: Any) -> str | None:
    """Describe the fault if the file has more arrays than the network: Keras 3's reader would silently ignore them."""
    import h5py

    arrays: list[str] = []

    def collect(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and not name.startswith(("optimizer", "top_level", "metadata")):
            arrays.append(name)

    with h5py.File(path, "r") as file:
        file.visititems(collect)
    surplus = len(arrays) - len(network.weights)
    return f"{surplus} arrays too many, as in a file with its top included" if surplus > 0 else None


def _not_finite(network: Any) -> list[str]:
    import numpy as np

    return [weight.path for weight in network.weights if not np.isfinite(weight.numpy()).all()]
