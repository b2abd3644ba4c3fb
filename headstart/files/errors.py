"""The root of all Headstart errors, and the errors that any part can raise.

::

    HeadstartError
    ├── OptionError         an argument lies outside its allowed values
    ├── MissingExtraError   a package of an optional extra is not installed
    ├── LocationError       a URL cannot be reached
    ├── FormatError         the format or version of a file is not supported
    ├── DamagedError        a file was altered or truncated
    ├── OutputError         a file cannot be written
    ├── ExportError         see `headstart.export.errors`
    ├── ExtractError        see `headstart.extract.errors`
    ├── ClassifyError       see `headstart.classify.errors`
    └── TuneError           see `headstart.tune.errors`

Every message is one line that names the file or argument, what was expected, what was found, and what to do next.
"""


class HeadstartError(Exception):
    """An expected error; its message is one line that says what is wrong and what to do."""


class OptionError(HeadstartError, ValueError):
    """An argument has a value that is not allowed; the message lists the allowed ones."""


class MissingExtraError(HeadstartError, ImportError):
    """A package of an optional extra is missing; the message contains the command that installs it."""


class LocationError(HeadstartError):
    """A URL cannot be opened or reached."""


class FormatError(HeadstartError):
    """The format or version of a file is not supported."""


class DamagedError(HeadstartError):
    """A file is damaged: bytes were altered, or its end is missing."""


class OutputError(HeadstartError):
    """A file cannot be written."""


def one_line(error: object, limit: int = 300) -> str:
    """Return the message of a foreign exception on one line of at most `limit` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 3] + "..."
