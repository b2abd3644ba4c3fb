"""The errors that `extract` raises on purpose, next to those of `headstart.files.errors`.

::

    ExtractError
    ├── SourceError      the images cannot be listed, or there are none
    ├── ModelError       the ONNX file is damaged, or not one that Headstart can run
    ├── ProviderError    the execution provider is absent or does not run
    ├── EngineError      Ray's cluster cannot be used
    ├── ImagesError      some of the images have no result, and each needs one
    ├── IsolationError   the process that decodes cannot be started
    ├── StoreError       the embedding store is damaged, unfinished, or does not fit
    │   └── BusyError        another run is writing it
    └── DecodeError      one image cannot be decoded; a failure row has the message as its reason
        ├── NoImageError     there is no image; it is not read again
        └── TryAgainError    not the image's fault; the next run reads it again
            └── OutOfMemoryError  the memory did not suffice
"""

from headstart.files.errors import HeadstartError


class ExtractError(HeadstartError):
    """Any error of this part."""


class SourceError(ExtractError):
    """The folder, archive, table or manifest of images cannot be used."""


class ModelError(ExtractError):
    """The ONNX file is damaged, or not one that Headstart can run."""


class ProviderError(ExtractError):
    """The execution provider is unknown, absent from this machine, or does not run here."""


class StoreError(ExtractError):
    """The embedding store is damaged or unfinished, or does not fit the model or the images."""


class BusyError(StoreError):
    """Another run is writing this store."""


class ImagesError(ExtractError, ValueError):
    """Some of the images have no result, and each needs one; the message names them."""


class IsolationError(ExtractError):
    """The process that decodes cannot be started here."""


class EngineError(ExtractError):
    """The engine is unknown or not installed, or its cluster cannot be reached or does not see the files."""


class DecodeError(ExtractError):
    """One image cannot be decoded; the message is stored as the reason of its failure row."""


class PageError(DecodeError):
    """A page of a Parquet table is damaged, or too large for the memory."""


class NoImageError(DecodeError):
    """There is no image here, and reading again would not find one."""


class TryAgainError(DecodeError):
    """Something other than the image failed; the next run reads the image again."""


class OutOfMemoryError(TryAgainError):
    """The memory did not suffice for one image."""
