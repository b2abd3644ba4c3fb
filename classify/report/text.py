"""Names of files and classes as text that can be shown: valid Unicode, on one line, without control characters."""

import math
import re

LONGEST = 200
"""Characters of a name that are shown; the middle of a longer one is left out."""
# Controls, line and paragraph separators, what reorders text, lone surrogates, the byte order mark.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufff9-\ufffb]")


def printable(text: str, longest: int = LONGEST) -> str:
    r"""Escape control characters (``\n``, ``\u202e``) and bytes that are not valid text (``\xff``)."""
    shown = _UNSAFE.sub(_escape, text)
    if len(shown) <= longest:
        return shown
    tail = longest * 2 // 3  # the end of a path says most
    return f"{shown[: longest - tail - 1]}…{shown[-tail:]}"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte of a file name that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return match[0].encode("unicode_escape", "backslashreplace").decode()


def percent(share: float, places: int = 1) -> str:
    """Return a share of 0..1 in percent, NaN as a dash; only a share of exactly 0 or 1 is written as 0% or 100%."""
    if math.isnan(share):
        return "–"
    text, least = f"{100 * share:.{places}f}", 10.0**-places
    if share in (0, 1):
        return f"{100 * share:.0f}%"
    if float(text) in (0, 100):
        return f"under {least:g}%" if share < 0.5 else f"over {100 - least:g}%"
    return f"{text}%"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: ``1 photo``, ``1,200 photos``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
