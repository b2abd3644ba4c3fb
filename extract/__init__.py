"""Images -> embedding store: find, decode, embed, keep.

Imports nothing of the other rooms. Its heavy libraries are loaded when a name is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extract.errors import ExtractError
    from extract.merging import Share, merge
    from extract.model import Model, read_model
    from extract.options import EngineOptions
    from extract.pipeline import Progress, RunSummary, embed
    from extract.providers import PROVIDERS, open_session
    from extract.source import find_images
    from extract.store import Store, open_store

_HOMES = {
    "EngineOptions": "options",
    "ExtractError": "errors",
    "Model": "model",
    "PROVIDERS": "providers",
    "Progress": "pipeline",
    "RunSummary": "pipeline",
    "Share": "merging",
    "Store": "store",
    "embed": "pipeline",
    "find_images": "source",
    "merge": "merging",
    "open_session": "providers",
    "open_store": "store",
    "read_model": "model",
}
__all__ = [
    "PROVIDERS",
    "EngineOptions",
    "ExtractError",
    "Model",
    "Progress",
    "RunSummary",
    "Share",
    "Store",
    "embed",
    "find_images",
    "merge",
    "open_session",
    "open_store",
    "read_model",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"extract.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'extract' has no attribute {name!r}")
