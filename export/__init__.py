"""Export of Keras applications to ONNX: the default one from its arrays, all others with TensorFlow.

>>> from headstart.export import export_backbone
>>> export_backbone("backbone.onnx")  # doctest: +SKIP

Importing this package loads no heavy library; an export does.
"""

from headstart.export.backbones import BACKBONES, Backbone
from headstart.export.default import DEFAULT_BACKBONE, default_backbone
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
    "DEFAULT_BACKBONE",
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
    "default_backbone",
    "export_backbone",
]
