"""Store of what a trunk gave -> backbone with a tuned tail: the room that trains a network's last blocks.

It stands on the others: `export` lends Keras, `extract` the store, `classify` the split and the head to begin with.
Importing this package loads no heavy library; tuning does.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune.errors import TuneError
    from tune.pipeline import TuneResult, tune
    from tune.recipe import Recipe

_HOMES = {"Recipe": "recipe", "TuneError": "errors", "TuneResult": "pipeline", "tune": "pipeline"}
__all__ = ["Recipe", "TuneError", "TuneResult", "tune"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"tune.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tune' has no attribute {name!r}")
