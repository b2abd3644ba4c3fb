"""The rows of a labels file with the columns that a task needs, or the photos of a store as such rows."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from headstart.classify.errors import LabelError
from headstart.classify.labels.options import LabelOptions
from headstart.extract.errors import SourceError
from headstart.extract.sources.lists.columns import IDS, PATHS, Columns, choose_columns, listed
from headstart.extract.sources.lists.formats import MANIFESTS, name_in, notes_on_no_labels
from headstart.extract.sources.lists.table import Table
from headstart.extract.sources.lists.values import text_in
from headstart.extract.store.store import Store
from headstart.files.errors import MissingExtraError, one_line

CONTENT = "sha256"


@dataclass(frozen=True)
class LabelRows:
    """Rows, each about one photo.

    Attributes
    ----------
    where
        Where each stands, for messages.
    names
        The name of each row's photo as it is in the file, or its digest.
    file
        The file's name; empty if there is none.
    labels, splits
        One per row; None if the file has no such column.
    values
        Other columns of the file: one value per row.
    of_store
        Columns of the store's metadata that the file does not have.
    label_column
        The column of labels; empty for none.
    by_content
        Whether names are digests.
    notes
        What a user should know about the values.
    """

    where: Sequence[str]
    names: Sequence[str]
    file: str = ""
    labels: list[str | None] | None = None
    splits: list[str] | None = None
    values: dict[str, list[Any]] = field(default_factory=dict)
    of_store: dict[str, Any] = field(default_factory=dict)
    label_column: str = ""
    by_content: bool = False
    notes: list[str] = field(default_factory=list)


def read_rows(store: Store, options: LabelOptions, needed: Sequence[str]) -> LabelRows:
    """Read a labels file.

    Parameters
    ----------
    needed
        Columns besides those of names, labels and splits; those that the store has may be absent.

    Returns
    -------
    No rows if there is no file.

    Raises
    ------
    LabelError, SourceError
        If it cannot be read, or lacks a column.
    """
    path = options.path
    if path is None:
        return _rows_of_store(store, needed)
    try:
        table = MANIFESTS[path.suffix.lower()](path)
        positions = _positions(table.names, needed, store, str(path))
        used: set[int | None] = {positions.get(name) for name in (options.group, options.time_column) if name}
        columns = _columns(table, str(path), options, used, {at for at in positions.values() if at not in used})
        rows = _rows(table, columns, positions)
        return replace(rows, file=path.name, of_store=store.metadata)
    except (LabelError, SourceError, MissingExtraError):
        raise
    except Exception as error:  # pyarrow raises many types for a damaged table
        message = one_line(error)
        raise SourceError(f"{path}: expected a {path.suffix} table, but it cannot be read: {message}") from None


def _rows(table: Table, columns: Columns, positions: dict[str, int]) -> LabelRows:
    name_column = table.names[columns.path or 0]
    by_content = name_column.strip().lower() == CONTENT
    where, names, labels, splits, values = [], [], [], [], []
    for place, name, label, split, others in table.labelled_rows(columns, list(positions.values())):
        where.append(place)
        names.append(name_in(name, f"{place}, column {name_column!r}"))
        labels.append(label)
        splits.append(split)
        values.append(others)
    return LabelRows(
        where,
        names,
        labels=None if columns.label is None else labels,
        splits=None if columns.split is None else splits,
        values={column: [row[number] for row in values] for number, column in enumerate(positions)},
        label_column="" if columns.label is None else table.names[columns.label],
        by_content=by_content,
        notes=notes_on_no_labels(table.no_labels),
    )


def _positions(names: Sequence[str], needed: Sequence[str], store: Store, file: str) -> dict[str, int]:
    """Find the needed columns in the file, by the exact name or the only one in another letter case."""
    plain, found = [name.strip().lower() for name in names], {}
    for column in needed:
        exact = names if column in names else plain
        wanted = column if column in names else column.strip().lower()
        if exact.count(wanted) == 1:
            found[column] = exact.index(wanted)
        elif column not in store.metadata:
            raise LabelError(f"{file}: expected one column {column!r}, found {listed(names)}{_of_store(store)}")
    return found


def _columns(table: Table, file: str, options: LabelOptions, used: set[int | None], tested: set[int]) -> Columns:
    """Choose the columns of names and labels; `used` ones are no labels, and `tested` ones only if the user says so."""
    plain = [name.strip().lower() for name in table.names]
    columns = choose_columns(table.names, file, options.label_column, table.class_names)
    has_path = columns.path is not None and plain[columns.path] in PATHS
    if CONTENT in plain and not has_path:
        columns = replace(columns, path=plain.index(CONTENT))
    if columns.path is None:
        names = ", ".join(sorted(PATHS | IDS))
        raise LabelError(
            f"{file}: expected a column that names photos ({names}), or {CONTENT!r}, found {table.columns_text()}"
        )
    if columns.label is not None or options.label_column == "":
        return columns
    other = [at for at in range(len(plain)) if at not in (columns.path, columns.split, *used) and plain[at] != CONTENT]
    if not other and (used or columns.split is not None):
        return columns
    if len(other) == 1 and other[0] not in tested:
        return replace(columns, label=other[0])
    raise LabelError(
        f"{file}: several columns may hold the labels, or none, of {table.columns_text()}; name it with "
        "--label-column, or keep the labels of the store with --label-column ''"
    )


def _of_store(store: Store) -> str:
    names = list(store.metadata)
    has = listed(names) if names else "no columns of metadata (see `headstart embed --metadata`)"
    return f"; {store.location} has {has}"


def _rows_of_store(store: Store, needed: Sequence[str]) -> LabelRows:
    for column in needed:
        if column not in store.metadata:
            raise LabelError(
                f"{store.location}: expected a column {column!r}{_of_store(store)}; give a file that has it (--labels)"
            )
    return LabelRows([], [], of_store=store.metadata)


def text_in_cell(value: Any, where: str) -> str | None:
    """Return a value of any column as text; None if it is missing. Raises `SourceError` for lists and the like."""
    if isinstance(value, date):  # a time is one too
        return value.isoformat()
    if isinstance(value, float) and value == value and not value.is_integer():
        return repr(value)
    return text_in(value, where) or None
