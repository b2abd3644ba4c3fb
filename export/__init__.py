"""Export of Keras applications to ONNX, with TensorFlow.

>>> from headstart.export import export_backbone
>>> export_backbone("backbone.onnx")  # doctest: +SKIP

Importing this package loads no heavy library; an export does.
"""

from headstart.export.backbones import BACKBONES, Backbone
from headstart.export.errors import (
    ConversionError,
    ExportError,
    ParityError,
    QuantizationError,
    UnknownBackboneError,
    WeightsError,
)
from headstart.export.pipeline import ExportSummary, blocks_of, export_backbone
from headstart.files.errors import MissingExtraError, OptionError, OutputError

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
