"""The user's cache, for copies of files at URLs, published weights, and default backbones."""

import os
from pathlib import Path

from headstart.files.errors import OutputError


def cache_folder() -> Path:
    """Return the folder of the cache, which may not exist yet: ``HEADSTART_CACHE``, or ``headstart`` in the user's.

    Raises
    ------
    OutputError
        If there is neither.
    """
    if chosen := os.environ.get("HEADSTART_CACHE"):
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headstart"
    except RuntimeError:  # no HOME, and a user without an entry in the system's list, as in containers
        raise OutputError(
            "weights, and copies of files at URLs, are kept in a cache, and this user has no home folder; set "
            "HEADSTART_CACHE to a folder"
        ) from None
