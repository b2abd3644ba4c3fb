"""How evaluations are printed: figures, a table of classes, the confusion matrix, and the most confident mistakes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from headstart.console import out, say, short_path

if TYPE_CHECKING:
    from headstart.classify import Evaluation
    from headstart.classify.evaluation.class_figures import ClassFigures
    from headstart.classify.labels.match import LabelMatch

SHOWN_MISTAKES = 10
SHOWN_CONFUSIONS = 10
SHOWN_CLASSES = 20
"""Of more classes, those with the lowest F1 are printed."""
CLASS_COLUMNS: dict[str, "Callable[[ClassFigures], str]"] = {
    "images": lambda one: f"{one.images}",
    "precision": lambda one: _share(one.precision),
    "recall": lambda one: _share(one.recall),
    "F1": lambda one: _share(one.f1),
    "ROC AUC": lambda one: _share(one.roc_auc),
    "PR AUC": lambda one: _share(one.pr_auc),
}
"""The last ones are left out on a terminal too narrow for all of them."""
LONGEST_NAME = 24
"""Columns of the terminal that a class name takes at most beside the confusion matrix."""
SHORTEST_CLASS = 10
"""Columns of the terminal that are kept for class names beside their figures; a longer name takes several lines."""
SHORTEST_NAME = 4
"""A name is shortened to this many columns at least; if the matrix is still too wide, it is not printed."""


def show_labels(labels: "LabelMatch | None") -> None:
    """Print what was joined to the store, if anything was."""
    for line in labels.lines() if labels else []:
        say(f"  {line}")


def show_evaluation(evaluation: "Evaluation") -> None:
    """Print the figures, the classes, what is confused with what, and the most confident mistakes."""
    (low, high), reliability = evaluation.accuracy_interval, evaluation.reliability
    say(
        f"  accuracy {evaluation.accuracy:.4f} (95 % interval {low:.3f} to {high:.3f}; majority class "
        f"{evaluation.majority:.3f}), log loss {evaluation.log_loss:.4f}, calibration error "
        f"{reliability.error:.3f} (chance alone: up to {reliability.chance:.3f})"
    )
    top_5 = ""
    if evaluation.top_5_accuracy_interval:
        low, high = evaluation.top_5_accuracy_interval
        top_5 = f", top-5 accuracy {evaluation.top_5_accuracy:.4f} (95 % interval {low:.3f} to {high:.3f})"
    say(f"  macro-F1 {evaluation.macro_f1:.4f}, balanced accuracy {evaluation.balanced_accuracy:.4f}{top_5}")
    _show_classes(evaluation.classes)
    _show_confusion([short_path(one.name) for one in evaluation.classes], evaluation)
    for mistake in evaluation.mistakes[:SHOWN_MISTAKES]:
        predicted, label = short_path(mistake.predicted), short_path(mistake.label)
        say(f"  mistake: {short_path(mistake.path)}: {predicted} ({mistake.probability:.3f}), labelled {label}")


def _show_classes(classes: list["ClassFigures"]) -> None:
    """Print a row per class, or of many classes those with the lowest F1, in as many columns as fit."""
    shown = classes
    if len(classes) > SHOWN_CLASSES:
        say(f"  the {SHOWN_CLASSES} of {len(classes)} classes with the lowest F1 (--json prints all):")
        shown = sorted(classes, key=lambda one: (one.f1 != one.f1, one.f1))[:SHOWN_CLASSES]
    columns = list(CLASS_COLUMNS)
    while len(columns) > 1 and _room(columns) < SHORTEST_CLASS:
        columns.pop()
    table = _table("class", *columns)
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    table.columns[0].max_width = max(_room(columns), SHORTEST_CLASS)
    for one in shown:
        table.add_row(short_path(one.name), *(CLASS_COLUMNS[column](one) for column in columns))
    out.print(table)
    if missing := list(CLASS_COLUMNS)[len(columns) :]:
        say(f"  ({', '.join(missing)}: too wide to print here; --json prints all)")


def _room(columns: list[str]) -> int:
    """Return how much of the terminal's width is left for the names of classes beside these columns of figures."""
    return out.width - 2 - sum(2 + max(len(column), len("0.000")) for column in columns)


def _share(value: float) -> str:
    return "-" if value != value else f"{value:.3f}"


def _show_confusion(names: list[str], evaluation: "Evaluation") -> None:
    """Print the confusion matrix, or if it is too wide for the terminal, the classes most often confused."""
    columns = column_names(names, evaluation.confusion.max(axis=0).tolist(), out.width)
    if columns:
        say("  confusion matrix (rows: label, columns: prediction):")
        table = _table("", *columns)
        for name, counts in zip(names, evaluation.confusion.tolist(), strict=True):
            table.add_row(_shortened(name, LONGEST_NAME), *map(str, counts))
        out.print(table)
        return
    wrong = [
        (-count, label, predicted)
        for label, counts in enumerate(evaluation.confusion.tolist())
        for predicted, count in enumerate(counts)
        if count and label != predicted
    ]
    if wrong:
        say("  most frequent confusions (the whole matrix does not fit here; --json prints it):")
    for count, label, predicted in sorted(wrong)[:SHOWN_CONFUSIONS]:
        say(f"    {names[label]} taken for {names[predicted]}: {-count}")


def column_names(names: list[str], largest: list[int], width: int) -> list[str]:
    """Shorten class names until a confusion matrix fits.

    Parameters
    ----------
    largest
        The largest count in each column.
    width
        Columns of the terminal.

    Returns
    -------
    A heading for each class, or none at all if the matrix would be too wide, or two headings would look the same.
    """
    digits = [len(str(count)) for count in largest]
    left = width - 2 - min(max(map(cell_len, names)), LONGEST_NAME)
    for longest in range(LONGEST_NAME, SHORTEST_NAME - 1, -1):
        heads = [_shortened(name, longest) for name in names]
        if sum(2 + max(cell_len(head), number) for head, number in zip(heads, digits, strict=True)) <= left:
            return heads if len(set(heads)) == len(heads) else []
    return []


def _shortened(name: str, longest: int) -> str:
    text = Text(name)
    text.truncate(longest, overflow="ellipsis")
    return text.plain


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 0, 0, 2))
    table.add_column(first, no_wrap=True)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table
