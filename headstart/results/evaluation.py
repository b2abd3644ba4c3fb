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
    from headstart.classify.evaluation.thresholds import ThresholdFigures
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
    _show_thresholds(evaluation.thresholds)
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
    _fold_names(table, _room(columns))
    for one in shown:
        table.add_row(short_path(one.name), *(CLASS_COLUMNS[column](one) for column in columns))
    out.print(table)
    if missing := list(CLASS_COLUMNS)[len(columns) :]:
        say(f"  ({', '.join(missing)}: too wide to print here; --json prints all)")


def _show_thresholds(thresholds: list["ThresholdFigures"]) -> None:
    """Print how the classes with a threshold of their own do, those first that miss their target by most."""
    if not thresholds:
        return
    ordered = sorted(thresholds, key=lambda one: one.target if one.precision is None else one.target - one.precision)
    shown = ordered[: -SHOWN_CLASSES - 1 : -1]
    part = f", {SHOWN_CLASSES} of {len(ordered)} (--json prints all)" if len(ordered) > SHOWN_CLASSES else ""
    say(f"  classes with a threshold{part}; below it, the answer is unknown:")
    table = _table("class", "threshold", "target", "reached", "95 %", "answered")
    _fold_names(table, out.width - 2 - len("  threshold  target  reached  0.000 to 1.000  answered"))
    for one in shown:
        interval = "-" if one.precision_interval is None else "{:.3f} to {:.3f}".format(*one.precision_interval)
        table.add_row(
            short_path(one.name), f"{one.probability:.3f}", f"{one.target:g}", _share(one.precision), interval,
            "-" if one.coverage is None else f"{one.coverage:.1%}",
        )  # fmt: skip
    out.print(table)
    say("  (reached: share of the answers that are right; answered: share of the class's images that get its answer)")


def _fold_names(table: Table, room: int) -> None:
    """Let names in the first column take several lines, so that the table is not too wide."""
    table.columns[0].no_wrap, table.columns[0].overflow = False, "fold"
    table.columns[0].max_width = max(room, SHORTEST_CLASS)


def _room(columns: list[str]) -> int:
    """Return how much of the terminal's width is left for the names of classes beside these columns of figures."""
    return out.width - 2 - sum(2 + max(len(column), len("0.000")) for column in columns)


def _share(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.3f}"


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
