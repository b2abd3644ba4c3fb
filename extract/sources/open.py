"""The reader of a source: the dispatcher over local files, URLs, and the archives and tables in either."""

import os

from headstart.extract.sources.readers import LocalReader, Reader
from headstart.extract.sources.remote import RemoteReader
from headstart.extract.sources.table_rows import RowReader
from headstart.files.urls import is_url


def open_reader(root: str | os.PathLike[str]) -> Reader:
    """Open the reader for images below a folder or URL.

    Raises
    ------
    LocationError
        If the URL cannot be opened.
    MissingExtraError
        If the package for this kind of URL is not installed.
    """
    return RowReader(RemoteReader(os.fspath(root)) if is_url(root) else LocalReader(root))
