"""Shares of one folder of images, embedded by several runs, and the merge of their stores."""

import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.extract.errors import StoreError
from headstart.extract.sources.items import Source
from headstart.extract.store.lock import locked
from headstart.extract.store.remote_copy import local_copy, working_copy
from headstart.extract.store.shards import files_of
from headstart.extract.store.store import Store, open_files, open_store
from headstart.extract.store.writer import compact, lock_of
from headstart.files.atomic import check_output, remove_unfinished_of
from headstart.files.errors import OptionError, OutputError


@dataclass(frozen=True)
class Share:
    """One of several runs over the same images: number 1 to `of`.

    An image belongs to a run by its path alone, so that adding images moves none to another run.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Read ``3/16``; raises `OptionError` if the text is not of this form."""
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise OptionError(f"expected a shard such as 3/16 (the third of sixteen), found {text!r}")
        return cls(int(number), int(of))

    def holds(self, path: bytes) -> bool:
        """Tell whether a path belongs to this run."""
        return zlib.crc32(path) % self.of == self.number - 1

    def of_source(self, source: Source) -> Source:
        """Return the images of this run."""
        return Source(source.root, [item for item in source.items if self.holds(item.path)])

    def of_store(self, store: Store) -> NDArray[np.int64]:
        """Return the row numbers of this run."""
        return np.array([row for row, path in enumerate(store.rows.path.tolist()) if self.holds(path)], np.int64)


def merge(stores: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> Store:
    """Write the rows of several stores, made from one folder of images by one model, into one file.

    If several stores have a row for a path, the last store's is taken; what a store has removed is missing from that
    store alone.

    Parameters
    ----------
    stores
        Files, or folders of shards, here or at URLs.
    output
        A single file, ``*.h5``, here or at a URL; it replaces a store of that name once it is complete.

    Raises
    ------
    OptionError
        If there are no stores.
    StoreError
        If a store cannot be read, or two do not fit together.
    OutputError
        If the output cannot be written, or is a file other than a store.
    """
    if not stores:
        raise OptionError("expected stores to merge, found none; name at least one")
    paths = [local_copy(store, check=True) for store in stores]
    with working_copy(output) as path:
        return _merge(paths, path)


def _merge(stores: Sequence[Path], output: Path) -> Store:
    if output.suffix not in (".h5", ".hdf5"):
        raise OutputError(f"{output}: expected a name that ends in .h5")
    check_output(output)
    with locked(lock_of(output), output):
        remove_unfinished_of(output)
        if output.exists():
            open_store(output)  # only a store may be replaced
        numbered = [(number, file) for number, store in enumerate(stores) for file in files_of(store)]
        files = [file for _, file in numbered]
        joined = open_files(output, files, [number for number, _ in numbered])
        for file, root in zip(files, joined.roots, strict=True):
            if root != joined.roots[0]:
                raise StoreError(
                    f"{file}: holds the images of {root}, not of {joined.roots[0]} as {files[0]} does; "
                    "merge only stores of one folder"
                )
        compact(output, joined, replace(joined, location=stores[0]).model())
        del joined
    return open_store(output)
