"""The decoder that a thread uses: in a worker process, or in this one."""

import os
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart.extract.decoding.decode import decode
from headstart.extract.decoding.exif import read_metadata
from headstart.extract.errors import IsolationError
from headstart.extract.metadata import Metadata
from headstart.files.resize import ResizeRule

if TYPE_CHECKING:
    from headstart.extract.decoding.isolated import IsolatedDecoder


@dataclass(frozen=True)
class InProcessDecoder:
    """Decodes in this process, where an image that crashes its decoder ends the run."""

    rule: ResizeRule

    def decode(self, data: bytes, notes: list[str] | None = None) -> NDArray[np.uint8]:
        """Decode one image, or raise `DecodeError`; `notes` receives what is odd about it."""
        return decode(data, self.rule, notes)

    def metadata(self, data: bytes, notes: list[str]) -> Metadata:
        """Read the metadata of one image (see `read_metadata`)."""
        return read_metadata(data, notes)

    def close(self) -> None:
        """Do nothing: there is no process to release."""


def open_decoder(
    rule: ResizeRule, isolate: bool, threads: Executor | None = None
) -> "InProcessDecoder | IsolatedDecoder":
    """Open a decoder for one thread at a time, in a worker process, which one of `threads` starts, or in this one.

    Raises
    ------
    IsolationError
        If the system has no such processes.
    """
    if not isolate:
        return InProcessDecoder(rule)
    if os.name != "posix":
        raise IsolationError("decoding in worker processes needs a POSIX system; use --no-isolate")
    from headstart.extract.decoding.isolated import IsolatedDecoder

    return IsolatedDecoder(rule, threads=threads)
