"""Keras application to ONNX, once: the room of TensorFlow, which no other room imports.

>>> from export import export_backbone
>>> export_backbone("backbone.onnx")  # doctest: +SKIP

Importing this package loads no heavy library; an export does.
"""

from export.backbones import BACKBONES, Backbone
from export.errors import (
    ConversionError,
    ExportError,
    MissingExtraError,
    OptionError,
    OutputError,
    ParityError,
    QuantizationError,
    UnknownBackboneError,
    WeightsError,
)
from export.pipeline import ExportSummary, blocks_of, export_backbone

__all__ = [
    "BACKBONES",
    "Backbone",
    "ConversionError",
    "ExportError",
    "ExportSummary",
    "MissingExtraError",
    "OptionError",
    "OutputError",
    "ParityError",
    "QuantizationError",
    "UnknownBackboneError",
    "WeightsError",
    "blocks_of",
    "export_backbone",
]
