"""Opens the reader of a folder or URL."""

import os

from headstart.extract.sources.readers import LocalReader, Reader
from headstart.extract.sources.remote import RemoteReader
from headstart.extract.sources.table_rows import RowReader
from headstart.files.urls import is_url


def open_reader(root: str | os.PathLike[str]) -> Reader:
    """Open a reader for images below a folder or URL, also in archives and tables; raises as `open_filesystem`."""
    return RowReader(RemoteReader(os.fspath(root)) if is_url(root) else LocalReader(root))
