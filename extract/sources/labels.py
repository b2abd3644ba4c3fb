"""Class names: names that look the same to a person are one class, wherever they come from."""

import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

MISSING = frozenset(["NaN", "nan", "NA", "N/A", "n/a", "<NA>", "#N/A", "None", "none", "NULL", "null"])
"""What other programs write into a cell that has no value (pandas' list, without its numbers)."""
INVISIBLE = dict.fromkeys(map(ord, "\u200b\u2060\ufeff"))
AT_ENDS = "\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Joiners and direction marks: between letters they have a meaning, at the ends of a name they cannot be seen."""


def class_name(text: str) -> str | None:
    """Return a class name in its one spelling, or None if nothing is left of it.

    The spelling is Unicode's form C, without white space at the ends or characters of no width, and with plain spaces.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", text.translate(INVISIBLE))
        text = "".join(" " if unicodedata.category(letter) == "Zs" else letter for letter in text)
    while text != (text := text.strip().strip(AT_ENDS)):
        pass
    return sys.intern(text) or None  # all images of a class share one string: there may be millions


def label_of_cell(value: Any) -> str | None:
    """Return the class that a cell of a table names; None for an empty one, NaN, NA and the like."""
    if value is None or value != value or str(value).strip() in MISSING:
        return None
    return class_name(str(value))


def notes_on_classes(classes: Iterable[str]) -> list[str]:
    """Warn about classes whose names differ only in capital letters."""
    spellings = defaultdict(list)
    for name in classes:
        spellings[name.casefold()].append(name)
    return [
        f"the classes {' and '.join(map(repr, names))} differ only in capital letters; if they are one class, "
        "give them one name"
        for names in spellings.values()
        if len(names) > 1
    ]
