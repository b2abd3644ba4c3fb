"""How a labels file and a store fit together: what was joined, and every mismatch with its first examples."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

SHOWN = 3
LONGEST = 80
MISMATCHES = {
    "rows_without_photo": "{count} rows of {file} name no photo of {store}",
    "ambiguous_names": "{count} rows of {file} fit several photos, and are ignored; list paths instead of names",
    "repeated_rows": "{count} rows of {file} repeat what another row says",
    "conflicting_rows": "{count} photos are left out, as rows of {file} disagree about them; keep one row per photo",
    "photos_without_row": "{count} photos of {store} have no row in {file}",
    "photos_without_label": "{count} photos are left out, because they have no label",
    "photos_without_condition": "{count} photos are left out, because a column that --where compares has no value",
    "photos_without_time": "{count} photos are left out of the split by time, because the column {time!r} has no value",
    "photos_without_group": "{count} photos have no value in the column {group!r}; each counts as a group of its own",
}
"""Kinds of mismatches, in the order in which they are told."""


@dataclass(frozen=True)
class Mismatch:
    """Rows or photos that do not fit: how many, and the first few by name."""

    kind: str
    count: int
    examples: list[str]

    @classmethod
    def of(cls, kind: str, names: Sequence[str]) -> "Mismatch":
        """Count names, and show the first."""
        return cls(kind, len(names), [shown(name) for name in islice(names, SHOWN)])


def shown(name: str) -> str:
    """Return a name for a message."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


@dataclass(frozen=True)
class LabelMatch:
    """What was joined to a store.

    Attributes
    ----------
    store, file
        File names; `file` is empty if the store's own labels are used.
    label_column, group, time, where
        The columns and the condition; empty for none.
    rows
        Rows of the file.
    photos
        Embedded photos with a label now.
    joined_by
        How many rows were joined by ``path``, ``file name``, ``name without suffix`` and ``sha256``.
    groups
        Number of groups among these photos.
    left_out
        How many labelled photos the condition left out.
    evaluated_from
        The time of the earliest evaluated group's latest photo, in ISO 8601; empty without a split by time.
    mismatches
        What does not fit; none if everything does.
    notes
        What a user should know about the values, in words.
    recorded
        The options, as a classifier's file states them.
    """

    store: str
    file: str
    label_column: str = ""
    group: str = ""
    time: str = ""
    where: str = ""
    rows: int = 0
    photos: int = 0
    joined_by: dict[str, int] = field(default_factory=dict)
    groups: int = 0
    left_out: int = 0
    evaluated_from: str = ""
    mismatches: list[Mismatch] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    recorded: dict[str, Any] = field(default_factory=dict, repr=False)

    def lines(self) -> list[str]:
        """Say what was joined."""
        ways = " and ".join(f"{way} ({count:,})" for way, count in self.joined_by.items() if count)
        labels = f"labels {self.label_column!r} of {self.file}" if self.label_column else f"labels of {self.store}"
        lines = [f"{labels}: {self.photos:,} photos"]
        lines[0] += f"; {self.file} joined by {ways}" if self.file else ""
        lines += [f"where {self.where}: {self.left_out:,} photos left out"] * bool(self.where)
        lines += [f"groups: {self.groups:,} of {self.group!r}, each on one side of a split"] * bool(self.group)
        if self.evaluated_from:
            lines.append(f"split by time: the latest photos, from {self.evaluated_from} on ({self.time!r}), are unseen")
        return lines

    def warnings(self) -> list[str]:
        """Say what does not fit."""
        return [*map(self._sentence, self.mismatches), *self.notes]

    def _sentence(self, one: Mismatch) -> str:
        words = MISMATCHES[one.kind].format(
            count=f"{one.count:,}", file=self.file, store=self.store, time=self.time, group=self.group
        )
        what, separator, remedy = words.partition("; ")
        return f"{what} ({_listed(one.examples, one.count)}){separator}{remedy}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        plain = {name: value for name, value in vars(self).items() if name not in ("mismatches", "recorded")}
        return {
            **plain,
            "mismatches": {
                one.kind: {"count": one.count, "examples": one.examples} for one in self.mismatches
            },
        }  # fmt: skip


def _listed(names: Iterable[str], count: int) -> str:
    listed = [repr(name) for name in names]
    return ", ".join(listed) + ", ..." * (count > len(listed))
