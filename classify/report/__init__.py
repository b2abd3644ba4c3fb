"""The training report: one HTML file that shows, offline, how good a classifier is and which photos to look at.

Its parts: `gather` turns a result into plain data (with `summary`, `figures`, `confusion`, `photos` and `map`), and
`page` puts that into the template of the folder ``page/``.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.classify.report.errors import ReportError
from headstart.files.atomic import atomic_file, check_output, write_all
from headstart.files.urls import local_path

if TYPE_CHECKING:
    from headstart.classify.result import TrainResult
    from headstart.extract.store.store import Store

__all__ = ["ReportError", "check_report_output", "write_report"]

SUFFIXES = (".html", ".htm")


def check_report_output(output: str | os.PathLike[str]) -> Path:
    """Refuse a report that could not be written, before any work is done for it.

    Raises
    ------
    ReportError
        Where the name does not end in .html, or the package that fills in the template is missing.
    OutputError
        Where the file cannot be written.
    """
    place = local_path(output)
    if place.suffix.lower() not in SUFFIXES:
        raise ReportError(f"{place}: expected a name that ends in {SUFFIXES[0]} for the report")
    if find_spec("jinja2") is None:
        raise ReportError('the report needs the package jinja2; run: pip install "headstart[report]"')
    check_output(place)
    return place


def write_report(output: str | os.PathLike[str], table: "Store", result: "TrainResult") -> Path:
    """Write the report of a training, whole or not at all.

    Parameters
    ----------
    output
        The file, ``*.html``.
    table
        The store that the head was trained on. Photos that are still where it found them are shown.
    result
        What `headstart.classify.train` gave.

    Returns
    -------
    Where it was written. The file holds everything it shows, asks for nothing from any network, and has at most about
    15 MB, whatever the number of photos.

    Raises
    ------
    ReportError, OutputError
        As `check_report_output`; OutputError also where the system refuses a write.
    """
    place = check_report_output(output)
    from headstart.classify.report.gather import gather
    from headstart.classify.report.page import render

    page = render(gather(table, result)).encode()
    with atomic_file(place) as file:
        write_all(file, page)
    return place
