"""The columns and attributes of an embedding store, schema version 1."""

import json
import math
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from headstart.extract.errors import StoreError
from headstart.extract.metadata import Metadata
from headstart.extract.sources.items import SPLITS

FORMAT, SCHEMA = "headstart-store", 1
DECODER = 2
"""Increases when the decoder reads some kind of file otherwise; `reuse` says which. Files of release 0.1 state none."""
EMBEDDED, FAILED, REMOVED = 0, 1, 2
STATUS = h5py.enum_dtype({"embedded": EMBEDDED, "failed": FAILED, "removed": REMOVED}, basetype="i1")
SPLIT = h5py.enum_dtype({name or "none": code for code, name in enumerate(SPLITS)}, basetype="i1")
DTYPES: dict[str, np.dtype[Any]] = {"float16": np.dtype("<f2"), "float32": np.dtype("<f4")}


@dataclass(frozen=True)
class Rows:
    """All columns of n rows except the vectors.

    Attributes
    ----------
    path
        Bytes, relative to the root of the images.
    sha256
        uint8, (n, 32): digest of the file's content; zeros if it could not be read.
    size, mtime_ns
        int64: bytes, and nanoseconds since the epoch, as read.
    label
        int32: index into the header's classes; -1 without a label.
    split
        int8: index into ``("", "train", "val", "test")``.
    status
        int8: `EMBEDDED`, `FAILED` or `REMOVED`.
    reason
        UTF-8 bytes: why it failed; empty otherwise.
    metadata
        The columns of `METADATA_DTYPES`, or none of them: those of `headstart.extract.metadata.Metadata`, text as UTF-8
        bytes.
    """

    path: NDArray[np.bytes_]
    sha256: NDArray[np.uint8]
    size: NDArray[np.int64]
    mtime_ns: NDArray[np.int64]
    label: NDArray[np.int32]
    split: NDArray[np.int8]
    status: NDArray[np.int8]
    reason: NDArray[np.bytes_]
    metadata: dict[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.path)

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[Any]]) -> "Rows":
        """Make rows of columns by name."""
        own = {name: column for name, column in columns.items() if name in ROW_DTYPES}
        return cls(**own, metadata={name: columns[name] for name in METADATA_DTYPES if name in columns})

    def columns(self, *, with_metadata: bool = False) -> dict[str, NDArray[Any]]:
        """Return the columns by name; `with_metadata` also where these rows have none: empty, or NaN."""
        own = {name: getattr(self, name) for name in ROW_DTYPES} | self.metadata
        if with_metadata and not self.metadata:
            own |= {name: np.full(len(self), value) for name, value in NOT_STATED.items()}
        return own

    def metadata_of(self, row: int) -> Metadata | None:
        """Return the metadata of one row; None if these rows have none."""
        if not self.metadata:
            return None
        taken, camera = (self.metadata[name][row].decode("utf-8", "replace") for name in ("taken", "camera"))
        return Metadata(taken, camera, float(self.metadata["latitude"][row]), float(self.metadata["longitude"][row]))

    def take(self, which: NDArray[Any]) -> "Rows":
        """Return the chosen rows, in the order asked for."""
        return Rows.of({name: column[which] for name, column in self.columns().items()})


ROW_DTYPES: dict[str, Any] = {
    "path": "S", "sha256": "u1", "size": "<i8", "mtime_ns": "<i8",
    "label": "<i4", "split": "i1", "status": "i1", "reason": "S",
}  # fmt: skip
METADATA_DTYPES: dict[str, Any] = {"taken": "S19", "camera": "S", "latitude": "<f8", "longitude": "<f8"}
COLUMN_DTYPES = ROW_DTYPES | METADATA_DTYPES
NOT_STATED: dict[str, Any] = {"taken": b"", "camera": b"", "latitude": math.nan, "longitude": math.nan}


@dataclass(frozen=True)
class Header:
    """The properties that all rows of a file share.

    Attributes
    ----------
    model
        Metadata of the ONNX file that made the vectors.
    model_sha256
        Its digest, in hexadecimal.
    output
        The model's output that is stored: ``"embedding"``, ``"tensor"`` at a cut, or ``"probabilities"`` while a
        folder is scored.
    shape, dtype
        Of one row: ``(d,)``, or at a cut ``(h, w, c)``, with v views ``(v, h, w, c)``; ``"float16"`` or ``"float32"``.
    classes
        Class names, in the order of the label codes.
    root
        The folder that paths are relative to.
    providers
        onnxruntime's names of the execution providers that ran.
    decoder
        `DECODER` of the release that read the images; of several releases, the earliest.
    has_metadata
        Whether the metadata of every embedded image were read. Rows may have the columns without that, where stores
        with and without them were merged.
    """

    model: dict[str, Any]
    model_sha256: str
    output: str
    shape: tuple[int, ...]
    dtype: str
    classes: tuple[str, ...]
    root: str
    providers: tuple[str, ...]
    decoder: int = DECODER
    has_metadata: bool = False

    @property
    def dim(self) -> int:
        """Numbers per row: the length of a vector."""
        return math.prod(self.shape)

    def to_attributes(self) -> dict[str, Any]:
        """Return the HDF5 attributes of a file."""
        return {
            "format": FORMAT,
            "schema": SCHEMA,
            "model": json.dumps(self.model, sort_keys=True),
            "model_sha256": self.model_sha256,
            "output": self.output,
            "dim": self.dim,
            **({"shape": np.array(self.shape)} if len(self.shape) > 1 else {}),
            "dtype": self.dtype,
            "classes": np.array([os.fsencode(name) for name in self.classes] or [], dtype=bytes),
            "root": np.bytes_(os.fsencode(self.root)),
            "providers": " ".join(self.providers),
            "decoder": self.decoder,
            **({"has_metadata": 1} if self.has_metadata else {}),
            "versions": json.dumps(_versions(), sort_keys=True),
        }

    @classmethod
    def from_attributes(cls, attributes: Any) -> "Header":
        """Read the attributes of a file; raises `StoreError` if they have another schema."""
        if attributes.get("format") != FORMAT or attributes.get("schema") != SCHEMA:
            raise StoreError(
                f"expected {FORMAT} schema {SCHEMA}, found {attributes.get('format')} {attributes.get('schema')}"
            )
        model = json.loads(attributes["model"])
        if not isinstance(model, dict):
            raise StoreError(f"expected a JSON object in the attribute 'model', found {str(model)[:40]!r}")
        return cls(
            model=model,
            model_sha256=str(attributes["model_sha256"]),
            output=str(attributes["output"]),
            shape=tuple(int(size) for size in attributes.get("shape", [attributes["dim"]])),
            dtype=str(attributes["dtype"]),
            classes=tuple(os.fsdecode(name) for name in attributes["classes"]),
            root=os.fsdecode(bytes(attributes["root"])),
            providers=tuple(str(attributes["providers"]).split()),
            decoder=int(attributes.get("decoder", 1)),
            has_metadata=bool(attributes.get("has_metadata", 0)),
        )

    def require_same_origin(self, other: "Header", location: object) -> None:
        """Refuse to mix rows of another model, output or dtype with these.

        Raises
        ------
        StoreError
            Naming the first difference.
        """
        for name, what in (("model_sha256", "model"), ("output", "output"), ("dtype", "dtype")):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                has_own = what == "model" and self.output != "probabilities"
                own = f"continue with its own (--model {location}; for train, --backbone), " if has_own else ""
                raise StoreError(
                    f"{location}: holds rows of another {what} ({theirs[:16]}, not {mine[:16]}); "
                    f"{own}choose another output with -o, or delete the store"
                )

    def merged(self, other: "Header") -> "Header":
        """Return one header for the rows of both files; `other` is the later."""
        return replace(
            self,
            root=other.root,
            classes=tuple(sorted({*self.classes, *other.classes})),
            providers=tuple(sorted({*self.providers, *other.providers})),
            decoder=min(self.decoder, other.decoder),
            has_metadata=self.has_metadata and other.has_metadata,
        )


@cache
def _versions() -> dict[str, str]:
    names = ("headstart", "onnxruntime", "onnxruntime-gpu", "pillow", "numpy", "h5py")
    versions = {"python": platform.python_version()}
    for name in names:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
