"""What can go wrong in an export, as a tree of exceptions.

::

    ExportError
    ├── OptionError               an argument outside its allowed values
    │   └── UnknownBackboneError  no record of that name
    ├── MissingExtraError         a package of an optional extra cannot be imported
    ├── WeightsError              the weights cannot be had, read, or used
    ├── ConversionError           the network has a shape that the conversion does not know
    ├── ParityError               the ONNX model does not do what Keras does
    ├── QuantizationError         the int8 model agrees too little with the fp32 one, or cannot be made
    └── OutputError               the file cannot be written where it was asked for

Every message is one line: the file or argument, what was expected, what was found, and what to do next.
"""

from headstart.files.errors import HeadstartError, OptionError


class ExportError(HeadstartError):
    """Any foreseeable fault of an export."""


class UnknownBackboneError(OptionError):
    """No backbone record has this name."""


class WeightsError(ExportError):
    """The weights could not be downloaded, read, or fitted into the backbone."""


class ConversionError(ExportError):
    """The converted graph is not of the form that an image backbone has."""


class ParityError(ExportError):
    """The ONNX model's embeddings differ from those of Keras, or say nothing."""


class QuantizationError(ExportError):
    """The int8 model agrees too little with the fp32 one, or cannot be made."""
