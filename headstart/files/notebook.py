"""Objects in a notebook: as a small HTML table, in the colours of the page, and as tables of pandas."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from headstart.files.errors import MissingExtraError


def html_table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return an HTML table with a caption; every text is escaped."""
    head = "".join(f"<th>{_text(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    caption = f'<caption style="text-align:left;white-space:pre-line">{_text(title)}</caption>'
    return f"<table>{caption}{f'<thead><tr>{head}</tr></thead>' if heads else ''}<tbody>{body}</tbody></table>"


def html_facts(title: str, facts: Mapping[str, object]) -> str:
    """Return a table of names and values, without the values that are empty."""
    return html_table(title, (), [(name, value) for name, value in facts.items() if value not in ("", None)])


def _text(value: object) -> str:
    """Escape a text, and show bytes of a file name that are no UTF-8 as numbers."""
    return escape(str(value).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def import_pandas() -> Any:
    """Import pandas.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise MissingExtraError("to_pandas needs pandas, which is not installed: pip install pandas") from None
    return pandas
