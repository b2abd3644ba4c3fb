"""What a file of ours contains, and how it was made."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from headstart.extract.inference.model import read_model
from headstart.extract.sources.items import SPLITS
from headstart.extract.store.store import open_store
from headstart.extract.store.tables import metadata_counts
from headstart.files.errors import FormatError
from headstart.files.kinds import kind_of
from headstart.files.urls import is_url


def inspect(file: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe a backbone, classifier or embedding store, here or at a URL.

    Returns
    -------
    Names and values that can be written as JSON.

    Raises
    ------
    FormatError
        If there is no such file, or it is of another kind.
    ExtractError
        If it is damaged.
    """
    path, name = Path(file), os.fspath(file)
    if not is_url(name) and not path.exists():
        raise FormatError(f"{name}: no such file")
    if path.is_dir() or path.suffix in (".h5", ".hdf5", ".emb"):
        return _store(name)
    if path.suffix == ".onnx":
        return _model(name)
    found = "another kind of file" if is_url(name) else kind_of(path)
    raise FormatError(
        f"{name}: expected a backbone or classifier (.onnx) or an embedding store (.h5, .emb), found {found}"
    )


def _model(file: str) -> dict[str, Any]:
    model = read_model(file)
    kind = {"headstart-backbone": "backbone", "headstart-classifier": "classifier"}[model.metadata["format"]]
    return {
        "file": file,
        "kind": kind,
        "sha256": model.sha256,
        "input": f"image: uint8 (n, {model.rule.height}, {model.rule.width}, 3), RGB, 0-255",
        "outputs": {name: f"float32 ({_listed(shape)})" for name, shape in model.outputs.items()},
        **{key: value for key, value in model.metadata.items() if key != "format"},
    }


def _store(file: str) -> dict[str, Any]:
    store = open_store(file)
    header = store.header
    unlabelled, *counts = np.bincount(store.labels + 1, minlength=len(store.classes) + 1).tolist()
    splits = np.bincount(store.rows.split, minlength=len(SPLITS)).tolist()
    return {
        "file": file,
        "kind": "embedding store",
        "rows": len(store),
        "embedded": int(store.is_embedded.sum()),
        "failed": len(store.failures),
        "vectors": f"{header.output}: {header.dtype} ({_listed(header.shape)})",
        "classes": dict(zip(store.classes, counts, strict=True)),
        "unlabelled": unlabelled,
        "splits": {name: count for name, count in sorted(zip(SPLITS, splits, strict=True)) if name and count},
        "metadata": metadata_counts(store),
        "images": header.root,
        "providers": list(header.providers),
        "model_sha256": header.model_sha256,
        "model": {key: header.model.get(key) for key in ("backbone", "weights", "image_size", "resize", "precision")},
        "failures": store.failures,
    }


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(["n", *map(str, shape)])
