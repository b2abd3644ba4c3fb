"""Which photos of a store a name in a list means, as lists write paths, file names, or names without a suffix."""

import os
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from os.path import splitext
from unicodedata import normalize

from headstart.extract.sources.names import is_image_name
from headstart.extract.store.store import Store

PATH, NAME, STEM = "path", "file name", "name without suffix"
"""How a name was found, the surest first."""
NOTHING: tuple[int, ...] = ()


class PhotoNames:
    """The photos of a store by name.

    A name means the photo whose path it is, relative to the store's root or to any folder above it; else the photos
    whose path ends with it, or with whose path it ends (the folder was moved, or is another machine's). Then suffixes
    may be missing or differ, and then letter case. A path that disagrees in a folder is another photo.
    """

    def __init__(self, store: Store) -> None:
        root = _parts(store.header.root)
        self._full = [(*root, *_parts(path)) for path in store.paths]
        self._depth = len(root)
        self._at = {full[self._depth :]: row for row, full in enumerate(self._full)}
        self._by_stem: dict[str, list[int]] = defaultdict(list)
        self._by_folder: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._at_top: dict[str, list[int]] = defaultdict(list)
        for row, full in enumerate(self._full):
            stem = _stem(full[-1]).casefold()
            self._by_stem[stem].append(row)
            self._by_folder[full[-2].casefold() if len(full) > 1 else "", stem].append(row)
            if len(full) == self._depth + 1:
                self._at_top[stem].append(row)

    def find(self, name: str) -> tuple[Sequence[int], tuple[int, ...]]:
        """Return the rows that a name means best, and how: a rank to compare with that of others, least is surest.

        There are none if no photo has this name, and several if it is ambiguous.
        """
        parts = _parts(name)
        if not parts:
            return (), NOTHING
        if (row := self._at.get(parts)) is not None:
            return (row,), (0, 0, 0)
        stem = _stem(parts[-1]).casefold()
        rows = self._by_stem.get(stem, [])
        if len(parts) > 1:
            rows = [*self._by_folder.get((parts[-2].casefold(), stem), []), *self._at_top.get(stem, [])]
        ranked = [(rank, row) for row in dict.fromkeys(rows) if (rank := self._rank(parts, row))]
        best = min((rank for rank, _ in ranked), default=NOTHING)
        return [row for rank, row in ranked if rank == best], best

    def _rank(self, parts: tuple[str, ...], row: int) -> tuple[int, ...]:
        """Tell how a name fits a path: whether letter case and suffix differ, and which of the two is longer."""
        full = self._full[row]
        own = len(full) - self._depth
        if len(parts) <= len(full) and (differ := _differences(parts, full[-len(parts) :])):
            return *differ, 0 if len(parts) in (own, len(full)) else 1
        if len(parts) > own and (differ := _differences(parts[-own:], full[-own:])):
            return *differ, 2
        return NOTHING

    @staticmethod
    def kind_of(rank: tuple[int, ...]) -> str:
        """Name how a photo was found, by the rank that `find` gave."""
        return STEM if rank[1] else PATH if rank[2] == 0 else NAME


def _differences(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[int, ...]:
    """Tell whether letter case and suffix differ between two paths of one length; nothing if anything else does."""
    has_suffix = one[-1].casefold() == other[-1].casefold()
    if not has_suffix:
        one, other = ((*parts[:-1], _stem(parts[-1])) for parts in (one, other))
    if [part.casefold() for part in one] != [part.casefold() for part in other]:
        return NOTHING
    return int(one != other), int(not has_suffix)


@lru_cache(maxsize=4096)
def _stem(name: str) -> str:
    stem, suffix = splitext(name)
    return stem if suffix and is_image_name(os.fsencode(name)) else name


def _parts(path: str) -> tuple[str, ...]:
    text = path if path.isascii() else normalize("NFC", path)
    return tuple(part for part in text.strip().replace("\\", "/").split("/") if part not in ("", ".", ".."))
