"""URLs and paths, distinguished by their text alone."""

import os
from pathlib import Path

from headstart.files.errors import LocationError


def is_url(location: str | os.PathLike[str]) -> bool:
    """Tell a URL from a path."""
    return "://" in os.fspath(location)


def without_scheme(url: str) -> str:
    """Turn ``file://`` and ``local://`` URLs into paths; leave any other URL as it is."""
    scheme, separator, path = url.partition("://")
    return path if separator and scheme in ("file", "local") else url


def local_path(location: str | os.PathLike[str]) -> Path:
    """Return the path of a file that must be local.

    Raises
    ------
    LocationError
        If the location is a URL.
    """
    text = without_scheme(os.fspath(location))
    if is_url(text):
        raise LocationError(f"{text}: expected a local path, found a URL; copy the file with another tool")
    return Path(text)
