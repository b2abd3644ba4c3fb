"""Everything that `extract` raises on purpose.

ExtractError
├── SourceError      the folder or manifest of images cannot be used
├── ModelError       the ONNX file is not one that Headstart can run
├── ProviderError    the execution provider is unknown, absent or does not run
├── StoreError       the embedding store is damaged, unfinished or made otherwise
│   └── BusyError    another run is writing it
├── OutputError      the place to write to cannot be written
├── IsolationError   the process that decodes cannot be started
├── EngineError      the Ray cluster cannot be used
└── DecodeError      one image cannot be read; kept as that row's reason, never raised to a caller
    ├── NoImageError     there is nothing to read, now or later
    └── TryAgainError    the machine is to blame, not the image; it is tried again at the next run
        └── OutOfMemoryError  there was no memory for it
"""

from headstart.files.errors import HeadstartError


class ExtractError(HeadstartError):
    """A foreseeable fault; its message is one line that says what was found and what to do."""


class SourceError(ExtractError):
    """The folder or manifest of images cannot be used."""


class ModelError(ExtractError):
    """The ONNX file is damaged, or not one that Headstart can run."""


class ProviderError(ExtractError):
    """The execution provider is unknown, absent from this machine, or does not run here."""


class StoreError(ExtractError):
    """The embedding store is damaged, unfinished, or was made in another way."""


class BusyError(StoreError):
    """Another run is writing this store."""


class IsolationError(ExtractError):
    """The process that decodes cannot be started here."""


class EngineError(ExtractError):
    """The Ray cluster cannot be reached, or does not see the files."""


class DecodeError(ExtractError):
    """One image cannot be decoded; it becomes a failure row with this message as its reason."""


class NoImageError(DecodeError):
    """There is no image where one was to be, and reading again would not find one."""


class TryAgainError(DecodeError):
    """What happened says nothing of the image: it is tried again at the next run."""


class OutOfMemoryError(TryAgainError):
    """There was not enough memory for one image."""
