"""The training report: one HTML file that shows, offline, how good a classifier is and which photos to look at.

`gather` turns a result into plain data (with `summary`, `figures`, `confusion`, `photos` and `map`), and `page` fills
the template in the folder ``page/`` with it.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.files.atomic import atomic_file, check_output, write_all
from headstart.files.errors import MissingExtraError, OptionError
from headstart.files.urls import local_path

if TYPE_CHECKING:
    from headstart.classify.result import TrainResult
    from headstart.extract.store.store import Store

__all__ = ["check_report_output", "write_report"]

SUFFIXES = (".html", ".htm")


def check_report_output(output: str | os.PathLike[str]) -> Path:
    """Reject a report that could not be written, before any work is done for it.

    Raises
    ------
    OptionError
        If the name does not end in .html.
    MissingExtraError
        If jinja2, which fills in the template, is not installed.
    OutputError
        If the file cannot be written.
    """
    path = local_path(output)
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"{path}: expected a name that ends in {SUFFIXES[0]} for the report")
    if find_spec("jinja2") is None:
        raise MissingExtraError('the report needs jinja2, which is not installed; run: pip install "headstart[report]"')
    check_output(path)
    return path


def write_report(output: str | os.PathLike[str], store: "Store", result: "TrainResult") -> Path:
    """Write the report of a training run, completely or not at all.

    Parameters
    ----------
    output
        The file, ``*.html``.
    store
        The store that the head was trained on. Photos that still exist where they were embedded get thumbnails.
    result
        What `headstart.classify.train` returned.

    Returns
    -------
    The path of the file. It needs no other file and no network, and takes at most about 15 MB for any number of photos.

    Raises
    ------
    OptionError, MissingExtraError, OutputError
        As `check_report_output`; OutputError also if writing fails.
    """
    path = check_report_output(output)
    from headstart.classify.report.gather import gather
    from headstart.classify.report.page import render

    page = render(*gather(store, result)).encode()
    with atomic_file(path) as file:
        write_all(file, page)
    return path
