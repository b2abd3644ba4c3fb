"""A list or table as columns, and the label and split of each of its rows."""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from headstart.extract.errors import SourceError
from headstart.extract.sources.labels import class_name
from headstart.extract.sources.lists.columns import Columns, listed
from headstart.extract.sources.lists.values import label_in, split_in


@dataclass(frozen=True)
class Table:
    """Columns of any list or table.

    Attributes
    ----------
    names
        All columns.
    rows
        Takes positions of columns; gives, for each row, where it stands (for messages) and its values in them.
    class_names
        The names that a column's whole numbers stand for, as Hugging Face's `ClassLabel` has them.
    no_labels
        Text such as ``None`` that was taken for a missing label -> where it stands first, and how often, in the rows
        read so far.
    """

    names: Sequence[str]
    rows: Callable[[Sequence[int]], Iterable[tuple[str, Sequence[Any]]]]
    class_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    no_labels: dict[str, tuple[str, int]] = field(default_factory=dict)

    def labelled_rows(
        self, columns: Columns, others: Sequence[int] = ()
    ) -> Iterator[tuple[str, Any, str | None, str, Sequence[Any]]]:
        """Yield where each row stands, its path as it is (None without such a column), its label and its split.

        The values in the columns `others`, given by their positions, follow as they are.
        """
        chosen = (columns.path, columns.label, columns.split)
        positions = [at for at in chosen if at is not None]
        slots = [None if at is None else positions.index(at) for at in chosen]
        label_name = "" if columns.label is None else self.names[columns.label]
        classes = self.class_names.get(label_name, ())
        for where, values in self.rows([*positions, *others]):
            path, label, split = (None if slot is None else values[slot] for slot in slots)
            if classes and isinstance(label, int):  # a declared name, such as "None", is no missing value
                name = _class_of(label, classes, where)
                label = None if name is None else class_name(name)
            else:
                value, label = label, label_in(label, f"{where}, column {label_name!r}")
                if label is None and isinstance(value, str | bytes) and (text := os.fsdecode(value).strip()):
                    first, count = self.no_labels.get(text, (where, 0))
                    self.no_labels[text] = first, count + 1
            yield where, path, label, split_in(split, where), values[len(positions) :]

    def columns_text(self) -> str:
        """Return the names of all columns for a message."""
        return listed(self.names)


def _class_of(code: int, classes: Sequence[str], where: str) -> str | None:
    if not -1 <= code < len(classes):
        raise SourceError(f"{where}: the label {code} is none of the {len(classes)} classes")
    return classes[code] if code >= 0 else None  # -1: not labelled
