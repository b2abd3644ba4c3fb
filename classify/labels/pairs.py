"""Which photo of a store each row of a labels file is about."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from headstart.classify.errors import LabelError
from headstart.classify.labels.match import shown
from headstart.classify.labels.names import PhotoNames
from headstart.classify.labels.rows import CONTENT, LabelRows, text_in_cell
from headstart.extract.store.store import Store

NO_ROW = -1
Find = Callable[[str], tuple[Sequence[int], tuple[int, ...]]]


@dataclass
class Pairs:
    """Rows of a labels file, each with a photo that it is about.

    Attributes
    ----------
    row, photo
        One per pair: the number of a row, `NO_ROW` for a photo that has none; and that of a photo.
    joined_by
        How many rows were joined in which way.
    mismatches
        Kind -> the names of rows that were not.
    """

    row: list[int] = field(default_factory=list)
    photo: list[int] = field(default_factory=list)
    joined_by: Counter[str] = field(default_factory=Counter)
    mismatches: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self.row, self.photo, strict=True)

    def add_photos_without_row(self, photos: int) -> None:
        """Add those of so many photos that no row is about, which keep what the store says about them."""
        bare = np.setdiff1d(np.arange(photos), self.photo).tolist()
        self.row += [NO_ROW] * len(bare)
        self.photo += bare

    def texts(self, rows: LabelRows, store: Store, column: str | None) -> list[str | None]:
        """Return a column as text, one per pair; None for a missing value. The file's comes before the store's."""
        if not column:
            return [None] * len(self.row)
        if column in rows.values:
            own = rows.values[column]
            return [
                None if row == NO_ROW else text_in_cell(own[row], f"{rows.where[row]}, column {column!r}")
                for row in self.row
            ]
        values = rows.of_store[column].tolist()
        return [text_in_cell(values[photo], f"{store.location}, column {column!r}") for photo in self.photo]


def pair_rows(store: Store, rows: LabelRows) -> Pairs:
    """Find the photo of each row. Of rows that name one photo, those count that name it most surely.

    Raises
    ------
    LabelError
        If no row names a photo.
    """
    if not rows.names:
        raise LabelError(f"{rows.file}: expected a row per photo, found no rows below the names of the columns")
    find = _finder_by_content(store) if rows.by_content else PhotoNames(store).find
    found = [find(name) for name in rows.names]
    surest: dict[int, tuple[int, ...]] = {}
    for photos, rank in found:
        for photo in photos:
            surest[photo] = min(rank, surest.get(photo, rank))
    pairs = Pairs()
    for number, (photos, rank) in enumerate(found):
        mine = [photo for photo in photos if surest[photo] == rank]
        if len(mine) > 1 and not rows.by_content:
            pairs.mismatches["ambiguous_names"].append(rows.names[number])
        elif not mine:
            pairs.mismatches["rows_without_photo"].append(rows.names[number])
        else:
            pairs.joined_by[CONTENT if rows.by_content else PhotoNames.kind_of(rank)] += 1
            pairs.row += [number] * len(mine)
            pairs.photo += mine
    if not pairs.photo:
        raise LabelError(
            f"{rows.file}: expected rows that name photos of {store.location}, but none of {len(rows.names):,} does: "
            f"rows name {_first(rows.names)}, photos are {_first(store.paths)}"
        )
    return pairs


def _finder_by_content(store: Store) -> Find:
    photos: dict[str, list[int]] = defaultdict(list)
    for photo in np.flatnonzero(store.is_embedded).tolist():
        photos[store.rows.sha256[photo].tobytes().hex()].append(photo)
    return lambda digest: (photos.get(digest.strip().lower(), ()), (0,))


def _first(names: Sequence[Any]) -> str:
    return ", ".join(repr(shown(name)) for name in names[:2]) + ", ..." * (len(names) > 2)
