"""`headstart inspect`: describe a file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from headstart import options
from headstart.console import command, fail, print_json, say, short_path


@command
def run(
    file: Annotated[str, typer.Argument(help="A backbone, an embedding store or a classifier.")],
    json: options.Json = False,
) -> None:
    """Describe a backbone, store or classifier and how it was made."""
    path = Path(file)
    if "://" not in file and not path.exists():
        fail(f"{file}: no such file")
    if path.is_dir() or path.suffix in (".h5", ".hdf5", ".emb"):
        facts = _store(file)
    elif path.suffix == ".onnx":
        facts = _model(file)
    else:
        fail(f"{file}: expected a backbone or classifier (.onnx) or an embedding store (.h5, .emb)")
    if json:
        print_json(facts)
        return
    for name, value in facts.items():
        say(f"{name + ':':<18}{_text(value)}")


def _model(file: str) -> dict[str, Any]:
    from headstart.extract import read_model

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
    import numpy as np

    from headstart.extract import open_store
    from headstart.extract.sources.items import SPLITS

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
        "images": header.root,
        "providers": list(header.providers),
        "model_sha256": header.model_sha256,
        "model": {key: header.model.get(key) for key in ("backbone", "weights", "image_size", "resize", "precision")},
        "failures": store.failures,
    }


def _listed(shape: tuple[int, ...]) -> str:
    return ", ".join(["n", *map(str, shape)])


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{short_path(str(key))} {_text(entry)}" for key, entry in value.items()) or "-"
    if isinstance(value, list | tuple):
        return ", ".join(_text(entry) for entry in value) or "-"
    return short_path(str(value))
