"""What names say: labels and splits from folders, files to skip, archives and tables."""

import os
import sys
from collections.abc import Callable, Sequence

from headstart.extract.errors import SourceError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


LEFT_BY_DESKTOPS = frozenset({b"Thumbs.db", b"desktop.ini", b"__MACOSX"})


def has_splits_at(where: str, paths: Sequence[bytes]) -> bool:
    """Tell of a list of files whether the folders at its top are splits that hold classes."""
    parts = [path.split(b"/", 2) for path in paths]
    holding = {part[0] for part in parts if len(part) > 2}
    return are_splits(where, sorted({part[0] for part in parts if len(part) > 1}), holding.__contains__)


def are_splits(where: str, folders: list[bytes], holds_folder: Callable[[bytes], bool]) -> bool:
    """Tell whether top folders are splits that hold classes; splits next to other folders are an error."""
    splits = [name for name in folders if os.fsdecode(name).lower() in SPLIT_NAMES]
    if not any(holds_folder(name) for name in splits):
        return False
    others = [os.fsdecode(name) for name in folders if name not in splits]
    if others and len(splits) > 1:
        names = ", ".join(os.fsdecode(name) for name in splits)
        raise SourceError(
            f"{where}: holds the splits {names}, but also the folder {others[0]!r}, which is none; "
            "move it elsewhere, or rename the splits if they are classes"
        )
    return not others


def label_and_split_of(path: bytes, has_splits: bool) -> tuple[str | None, str]:
    """Give the label and the split that a path says."""
    parts = path.split(b"/")
    split = ""
    if has_splits and len(parts) > 1:
        split = SPLIT_NAMES[os.fsdecode(parts.pop(0)).lower()]
    # One text for all images of a class: there may be millions.
    return (sys.intern(os.fsdecode(parts[0])) if len(parts) > 1 else None), split


def is_hidden(name: bytes) -> bool:
    """Tell whether files and folders of this name are passed over."""
    return name.startswith(b".") or name in LEFT_BY_DESKTOPS


TAR, TABLE = b".tar", b".parquet"


COMPRESSED = (b".tgz", b".tar.gz", b".tar.bz2", b".tar.xz", b".tar.zst")


def is_packed(path: bytes) -> bool:
    """Tell by its name whether a file holds many images."""
    return path.lower().endswith((TAR, TABLE, *COMPRESSED))
