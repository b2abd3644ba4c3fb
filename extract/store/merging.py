"""Many stores -> one: what several runs embedded, each its share of one folder of images, side by side."""

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
from headstart.files.atomic import check_output
from headstart.files.errors import OptionError, OutputError


@dataclass(frozen=True)
class Share:
    """One of several runs over the same images: number 1 to `of`.

    Which run an image belongs to depends on its path alone, so that it stays there whatever is added.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Read ``3/16``.

        Raises
        ------
        OptionError
            If the text is not of this form.
        """
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise OptionError(f"expected a shard such as 3/16 (the third of sixteen), found {text!r}")
        return cls(int(number), int(of))

    def holds(self, path: bytes) -> bool:
        """Tell whether a path belongs to this run."""
        return zlib.crc32(path) % self.of == self.number - 1

    def of_source(self, source: Source) -> Source:
        """Give the images of this run."""
        return Source(source.root, [item for item in source.items if self.holds(item.path)])

    def of_store(self, store: Store) -> NDArray[np.int64]:
        """Give the numbers of this run's rows."""
        return np.array([row for row, path in enumerate(store.rows.path.tolist()) if self.holds(path)], np.int64)


def merge(stores: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> Store:
    """Write the rows of several stores into one file.

    They must be of one folder of images, by one model, of one dtype. Of a path that several have, the row of the last
    one named is taken.

    Parameters
    ----------
    stores
        Files, or folders of shards, here or at URLs.
    output
        A single file, ``*.h5``, here or at a URL; a store that is there is replaced, once the new one is whole.

    Raises
    ------
    StoreError
        Where a store cannot be read, or two do not fit together.
    OutputError
        Where the output cannot be written, or is no store now.
    """
    if not stores:
        raise OptionError("expected stores to merge, found none; name at least one")
    places = [local_copy(store) for store in stores]
    with working_copy(output) as place:
        return _merge(places, place)


def _merge(stores: Sequence[Path], place: Path) -> Store:
    if place.suffix not in (".h5", ".hdf5"):
        raise OutputError(f"{place}: expected a name that ends in .h5")
    check_output(place)
    with locked(lock_of(place), place):
        if place.exists():
            open_store(place)  # or it is no store, and not ours to replace
        files = [file for store in stores for file in files_of(store)]
        joined = open_files(place, files)
        for file, root in zip(files, joined.roots, strict=True):
            if root != joined.roots[0]:
                raise StoreError(
                    f"{file}: holds the images of {root}, not of {joined.roots[0]} as {files[0]}; "
                    "merge joins what several runs made of one folder"
                )
        compact(place, joined, replace(joined, location=stores[0]).model())
        del joined
    return open_store(place)
