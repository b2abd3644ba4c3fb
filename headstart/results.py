"""How evaluations are printed: figures, a table of classes, the confusion matrix, and the most confident mistakes."""

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from headstart.console import out, say, short_path

if TYPE_CHECKING:
    from headstart.classify import Evaluation
    from headstart.classify.labels.match import LabelMatch

SHOWN_MISTAKES = 10
SHOWN_CONFUSIONS = 10
LONGEST_NAME = 24
"""Columns of the terminal that a class name takes at most beside the confusion matrix."""
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
    table = _table("class", "images", "precision", "recall")
    for one in evaluation.classes:
        table.add_row(short_path(one.name), f"{one.images}", f"{one.precision:.3f}", f"{one.recall:.3f}")
    out.print(table)
    _show_confusion([short_path(one.name) for one in evaluation.classes], evaluation)
    for mistake in evaluation.mistakes[:SHOWN_MISTAKES]:
        predicted, label = short_path(mistake.predicted), short_path(mistake.label)
        say(f"  mistake: {short_path(mistake.path)}: {predicted} ({mistake.probability:.3f}), labelled {label}")


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
