"""Class names: names that look the same to a person are one class, wherever they come from."""

import sys
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

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


def codes_among(names: Iterable[str], classes: Sequence[str]) -> list[int]:
    """Return each name's position among classes, or -1; stores of earlier releases have names in other spellings."""
    spelled = {class_name(name): code for code, name in reversed([*enumerate(classes)])}
    exact = {name: code for code, name in enumerate(classes)}
    return [exact.get(name, spelled.get(class_name(name), -1)) for name in names]


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
