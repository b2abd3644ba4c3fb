"""Which columns of a list or table hold the paths, labels and splits."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from headstart.extract.errors import SourceError

PATHS = frozenset(["path", "file_name", "filename", "filepath", "file_path", "file", "image", "image_path", "img_path"])
IDS = frozenset(["id", "image_id", "img", "name"])
"""Taken for paths only if no column has a clearer name."""
LABELS = frozenset(
    ["label", "labels", "class", "classes", "class_name", "category", "species", "fine_label", "target", "label_name"]
)


@dataclass(frozen=True)
class Columns:
    """Positions of the columns; None where there is none."""

    path: int | None
    label: int | None
    split: int | None


def choose_columns(
    names: Sequence[str], where: str, label_column: str | None = None, class_labels: Collection[str] = ()
) -> Columns:
    """Choose columns by name: the exact one, or the only one with a usual name in any letter case.

    Parameters
    ----------
    names
        All columns of the file.
    where
        The file, for messages.
    label_column
        The column of labels, if the caller names it; ``""`` for none.
    class_labels
        Columns that the file itself declares to hold classes.

    Raises
    ------
    SourceError
        If several columns could be meant, or the named one does not exist.
    """
    plain = [name.strip().strip("\ufeff").lower() for name in names]
    path = _only("path", [PATHS, IDS], names, plain, where, "rename the column that names the files to 'path'")
    split = _only("split", [{"split"}], names, plain, where, "keep one")
    if label_column is not None:
        if label_column and (names.count(label_column) or plain.count(label_column.strip().lower())) != 1:
            raise SourceError(f"{where}: expected one column {label_column!r}, found the columns {listed(names)}")
        exact = names if label_column in names else plain
        label = exact.index(label_column if exact is names else label_column.strip().lower()) if label_column else None
    else:
        usual = [LABELS | {name.strip().lower() for name in class_labels}]
        label = _only("label", usual, names, plain, where, "name the column of labels with --label-column")
    return Columns(path, label if label != path else None, split)


def listed(names: Sequence[str]) -> str:
    """Return the names of columns for a message."""
    return ", ".join(ascii(name)[1:-1][:80] if name else "(no name)" for name in names) or "nothing"


def _only(
    wanted: str, tiers: Sequence[Collection[str]], names: Sequence[str], plain: Sequence[str], where: str, remedy: str
) -> int | None:
    """Return the position of the exact name, or of the only column in the first tier that has any."""
    found = [at for at, name in enumerate(names) if name == wanted]
    for tier in tiers:
        found = found or [at for at, name in enumerate(plain) if name in tier]
    if len(found) > 1:
        which = listed([names[at] for at in found])
        raise SourceError(
            f"{where}: several columns may hold the {wanted}s ({which}), of the columns {listed(names)}; {remedy}"
        )
    return found[0] if found else None
