"""Train an image classifier on your own photos in seconds.

>>> import headstart
>>> store, _ = headstart.embed("photos/", "backbone.onnx", "photos.h5")  # doctest: +SKIP
>>> X, y = store.embeddings(store.is_embedded), store.labels[store.is_embedded]  # doctest: +SKIP
>>> result = headstart.train(store, "flowers.onnx")  # doctest: +SKIP
>>> headstart.score("new/", "flowers.onnx", "predictions.csv")  # doctest: +SKIP

Everything here belongs to a room (`export`, `extract`, `classify`) and is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classify import (
        ClassifyError,
        HeadOptions,
        evaluate,
        read_classifier,
        score,
        train,
        write_classifier,
    )
    from export import ExportError, export_backbone
    from extract import EngineOptions, ExtractError, embed, open_store

_ROOMS = {
    "ClassifyError": "classify",
    "EngineOptions": "extract",
    "ExportError": "export",
    "ExtractError": "extract",
    "HeadOptions": "classify",
    "embed": "extract",
    "evaluate": "classify",
    "export_backbone": "export",
    "open_store": "extract",
    "read_classifier": "classify",
    "score": "classify",
    "train": "classify",
    "write_classifier": "classify",
}
__all__ = [
    "ClassifyError",
    "EngineOptions",
    "ExportError",
    "ExtractError",
    "HeadOptions",
    "embed",
    "evaluate",
    "export_backbone",
    "open_store",
    "read_classifier",
    "score",
    "train",
    "write_classifier",
]


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("headstart")
    if name in _ROOMS:
        return getattr(import_module(_ROOMS[name]), name)
    raise AttributeError(f"module 'headstart' has no attribute {name!r}")
