"""Embedding store -> head -> classifier file -> predictions.

Of the other rooms it imports `extract` alone. Its heavy libraries are loaded when a name is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from classify.classifier import Classifier, read_classifier, write_classifier
    from classify.errors import ClassifyError
    from classify.evaluation import compare_classifiers, evaluate
    from classify.heads import HEADS, HeadOptions, make_head
    from classify.judgement import Evaluation
    from classify.result import TrainResult
    from classify.scoring import ScoreSummary, score
    from classify.training import train

_HOMES = {
    "HEADS": "heads",
    "Classifier": "classifier",
    "ClassifyError": "errors",
    "Evaluation": "judgement",
    "HeadOptions": "heads",
    "ScoreSummary": "scoring",
    "TrainResult": "result",
    "compare_classifiers": "evaluation",
    "evaluate": "evaluation",
    "make_head": "heads",
    "read_classifier": "classifier",
    "score": "scoring",
    "train": "training",
    "write_classifier": "classifier",
}
__all__ = [
    "HEADS",
    "Classifier",
    "ClassifyError",
    "Evaluation",
    "HeadOptions",
    "ScoreSummary",
    "TrainResult",
    "compare_classifiers",
    "evaluate",
    "make_head",
    "read_classifier",
    "score",
    "train",
    "write_classifier",
]


def __dir__() -> list[str]:
    return list(__all__)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"classify.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'classify' has no attribute {name!r}")
