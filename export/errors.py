"""The errors of an export.

::

    ExportError
    ├── OptionError               an argument outside its allowed values
    │   └── UnknownBackboneError  no record of that name
    ├── MissingExtraError         a package of an optional extra cannot be imported
    ├── WeightsError              the weights cannot be downloaded, read, or used
    ├── ConversionError           the network has a structure that the conversion does not support
    ├── ParityError               the ONNX model and Keras differ
    ├── QuantizationError         the int8 model agrees too little with the fp32 one, or cannot be made
    └── OutputError               the file cannot be written where it was asked for

Every message is one line: the file or argument, what was expected, what was found, and what to do next.
"""

from headstart.files.errors import HeadstartError, OptionError


class ExportError(HeadstartError):
    """Any expected error of an export."""


class UnknownBackboneError(OptionError):
    """No backbone record has this name."""


class WeightsError(ExportError):
    """The weights cannot be downloaded, read, or fitted into the backbone."""


class ConversionError(ExportError):
    """The converted graph does not have the structure of an image backbone."""


class ParityError(ExportError):
    """The ONNX model's embeddings differ from those of Keras, or are the same for every image."""


class QuantizationError(ExportError):
    """The int8 model agrees too little with the fp32 one, or cannot be made."""
