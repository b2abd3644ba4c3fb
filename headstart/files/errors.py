"""The root of every error that Headstart raises on purpose, and the faults that any part can meet.

::

    HeadstartError
    ├── OptionError         an argument lies outside its allowed values
    ├── MissingExtraError   a package of an optional extra is not installed
    ├── LocationError       a URL cannot be reached
    ├── FormatError         a file's format or version is not one that is understood
    ├── DamagedError        a file is not as it was written
    ├── OutputError         a file cannot be written where it was asked for
    ├── ExportError         see `headstart.export.errors`
    ├── ExtractError        see `headstart.extract.errors`
    ├── ClassifyError       see `headstart.classify.errors`
    └── TuneError           see `headstart.tune.errors`

Every message is one line that names the file or argument, what was expected, what was found, and what to do next.
"""


class HeadstartError(Exception):
    """A foreseeable fault; its message is one line that says what was found and what to do."""


class OptionError(HeadstartError, ValueError):
    """An argument has a value outside those that its message lists."""


class MissingExtraError(HeadstartError, ImportError):
    """A package of an optional extra is not installed; the message has the command that installs it."""


class LocationError(HeadstartError):
    """A URL cannot be opened or reached."""


class FormatError(HeadstartError):
    """A file's format or version is not one that this version understands."""


class DamagedError(HeadstartError):
    """A file is not as it was written: bytes were altered, or its end is missing."""


class OutputError(HeadstartError):
    """A file cannot be written where it was asked for."""


def one_line(error: object, limit: int = 300) -> str:
    """Give the message of a foreign exception on one line of at most `limit` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."
