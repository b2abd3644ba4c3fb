"""The options that name labels, groups, times and conditions next to a store."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headstart.classify.errors import LabelError
from headstart.extract.store.schema import METADATA_DTYPES
from headstart.files.errors import OptionError
from headstart.files.urls import local_path

TAKEN = "taken"
"""The column of times by default: that of `headstart embed --metadata`."""
RECORDED = ("label_column", "group", "time", "split_by_time", "where")


@dataclass(frozen=True, kw_only=True)
class LabelOptions:
    """Where labels, groups and times of a store's photos come from, besides the store.

    Nothing is written to the store, and no photo is embedded again.

    Attributes
    ----------
    labels
        A list of photos (.csv, .tsv, .jsonl or .parquet) whose labels replace those of the store. A column names each
        photo by its path, its file name with or without suffix, or by its content (``sha256``). A column ``split``
        replaces the store's splits. Without this file, the store's own labels and its columns of metadata are used.
    label_column
        Its column of labels; by default one with a usual name, or the only one that nothing else uses. ``""``: keep the
        labels of the store.
    group
        A column of the file, or of the store's metadata. Photos with the same value, such as those of one patient,
        camera or burst, are never on both sides of a split or of a fold.
    time
        A column with the time of each photo, for `split_by_time`; by default ``taken``.
    split_by_time
        Evaluate on the latest photos, the share `holdout` of them, instead of a random hold-out or the store's splits.
    where
        Use only the photos for which this condition on columns holds, such as ``site != 3`` (see
        `headstart.classify.labels.where`).
    """

    labels: str | os.PathLike[str] | None = None
    label_column: str | None = None
    group: str | None = None
    time: str | None = None
    split_by_time: bool = False
    where: str | None = None

    @property
    def joins(self) -> bool:
        """Whether anything besides the store is asked for."""
        return self.labels is not None or bool(self.group or self.split_by_time or self.where)

    @property
    def path(self) -> Path | None:
        """The labels file."""
        return None if self.labels is None else local_path(self.labels)

    @property
    def time_column(self) -> str:
        """The column of times to split by; empty for none."""
        return (self.time or TAKEN) if self.split_by_time else ""

    @property
    def columns(self) -> list[str]:
        """The columns that are needed besides names, labels and splits."""
        names = [self.group, self.time_column]
        if self.where:
            from headstart.classify.labels.where import parse_condition

            names += parse_condition(self.where).columns
        return [*dict.fromkeys(name for name in names if name)]

    @property
    def reads_metadata(self) -> bool:
        """Whether columns of the store's metadata are needed, as no file can have them."""
        return self.labels is None and bool(self.columns)

    def check_labels(self) -> None:
        """Reject options that do not fit, and a labels file that is missing or of another kind.

        Raises
        ------
        OptionError
            If an option would do nothing.
        LabelError
            If there is no such file, the condition cannot be parsed, or a column can only be in a file.
        """
        if self.time and not self.split_by_time:
            raise OptionError(f"--time {self.time!r} does nothing by itself; add --split-by-time")
        if self.label_column is not None and self.labels is None:
            raise OptionError(f"--label-column {self.label_column!r} names a column of the file given with --labels")
        path, foreign = self.path, [name for name in self.columns if name not in METADATA_DTYPES]
        if path is None and foreign:
            raise LabelError(
                f"no list of labels is given, and a store may have the columns {', '.join(METADATA_DTYPES)}, but not "
                f"{foreign[0]!r}; give a list that has it with --labels"
            )
        if path is None:
            return
        from headstart.extract.sources.lists.formats import MANIFESTS

        if path.suffix.lower() not in MANIFESTS:
            raise LabelError(f"{path}: expected a list of labels ({', '.join(MANIFESTS)})")
        if not path.is_file():
            raise LabelError(f"{path}: expected a list of labels, found no such file")

    def recorded(self) -> dict[str, Any]:
        """Return what a classifier says about its labels: the name of the file, without its folder, and the rest."""
        return {"file": self.path.name if self.path else None, **{name: getattr(self, name) for name in RECORDED}}

    def like(self, recorded: dict[str, Any]) -> "LabelOptions":
        """Complete options by those that a classifier was trained with, if they name the same file, or none as it."""
        if not recorded or self.recorded()["file"] != recorded.get("file"):
            return self
        nothing = (None, False)  # an empty column says something: it keeps the store's labels
        missing = [name for name in RECORDED if getattr(self, name) in nothing and recorded.get(name) not in nothing]
        return replace(self, **{name: recorded[name] for name in missing})
