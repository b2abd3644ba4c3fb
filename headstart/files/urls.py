"""URLs and paths, distinguished by their text alone."""

import os


def is_url(location: str | os.PathLike[str]) -> bool:
    """Tell a URL from a path."""
    return "://" in os.fspath(location)


def without_scheme(url: str) -> str:
    """Turn ``file://`` and ``local://`` URLs into paths; leave any other URL as it is."""
    scheme, _, path = url.partition("://")
    return path if scheme in ("file", "local") else url
