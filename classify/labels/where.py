"""Conditions over columns, such as ``site != 3 and camera in ("A", "B")``: Python's syntax, and nothing else of Python.

The text is parsed, never executed. A comparison with a missing value is neither true nor false, as in SQL: `not`, `and`
and `or` pass that on (Kleene's logic), and a photo for which the whole condition is not true is left out.
"""

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from headstart.classify.errors import LabelError

LONGEST = 10_000
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")
QUOTED = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|`([^`]+)`""")
"""A text, or a column's name in backticks."""
COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}  # fmt: skip

Values = Mapping[str, str | None]
"""The values of one photo by column, as text; None where one is missing."""
Test = Callable[[Values], bool | None]


@dataclass(frozen=True)
class Condition:
    """A parsed condition.

    Attributes
    ----------
    text
        As the user wrote it.
    columns
        The names of the columns that it compares.
    """

    text: str
    columns: tuple[str, ...]
    _test: Test = field(repr=False)

    def holds(self, values: Values, where: str) -> bool | None:
        """Tell whether it is true for the values of a row; None if that depends on a missing value.

        Raises
        ------
        LabelError
            Naming `where`, if a text that is no number is ordered against a number.
        """
        try:
            return self._test(values)
        except _NotANumberError as error:
            raise LabelError(
                f"{where}, column {error.column!r}: expected a number to compare with {error.number}, as --where asks, "
                f"found {error.found[:80]!r}"
            ) from None


class _NotANumberError(Exception):
    def __init__(self, column: str, found: str, number: object) -> None:
        self.column, self.found, self.number = column, found, number


@dataclass(frozen=True)
class _Column:
    name: str


def parse_condition(text: str) -> Condition:
    """Parse a condition.

    It may have comparisons (== != < <= > >=, also chained), ``in`` and ``not in`` with a list, ``is None``, ``and``,
    ``or``, ``not`` and parentheses. Names are columns, in backticks if they are no names of Python's. A number compares
    as a number (3 equals ``3``, ``3.0`` and ``03``), a text in quotes letter by letter, and two columns as numbers if
    both values are.

    Raises
    ------
    LabelError
        If it has anything else.
    """
    names: dict[str, str] = {}

    def stand_in(match: re.Match[str]) -> str:
        if match[2] is None:
            return match[0]
        names[f"_column_{len(names)}_"] = match[2]
        return f"_column_{len(names) - 1}_"

    try:
        tree = ast.parse(QUOTED.sub(stand_in, text[:LONGEST].strip()), mode="eval").body
        if len(text) > LONGEST:
            raise ValueError
        columns = [names.get(node.id, node.id) for node in ast.walk(tree) if isinstance(node, ast.Name)]
        return Condition(text, tuple(dict.fromkeys(columns)), _condition(tree, names))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise LabelError(
            f"--where {text[:200]!r}: expected a condition such as 'site != 3', 'camera in (\"A\", \"B\")' or "
            "'taken < \"2024-05\" and not site == 3'; write names with spaces and Python's words in backticks"
        ) from None


def _condition(node: ast.AST, names: Mapping[str, str]) -> Test:
    if isinstance(node, ast.BoolOp):
        parts = [_condition(value, names) for value in node.values]
        return _all(parts) if isinstance(node.op, ast.And) else _not(_all([_not(part) for part in parts]))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return _not(_condition(node.operand, names))
    if isinstance(node, ast.Compare):
        sides = pairwise([node.left, *node.comparators])
        return _all([_comparison(*side, op, names) for side, op in zip(sides, node.ops, strict=True)])
    raise ValueError(node)


def _comparison(left: ast.AST, right: ast.AST, op: ast.cmpop, names: Mapping[str, str]) -> Test:
    if isinstance(op, ast.In | ast.NotIn) and isinstance(right, ast.Tuple | ast.List | ast.Set):
        equal = [_not(_comparison(left, each, ast.Eq(), names)) for each in right.elts]
        is_none = _all(equal)
        return is_none if isinstance(op, ast.NotIn) else _not(is_none)
    one, other = _operand(left, names), _operand(right, names)
    if not isinstance(one, _Column) and not isinstance(other, _Column):
        raise ValueError
    if one is None or other is None:
        column = one if isinstance(one, _Column) else other
        if not isinstance(column, _Column) or not isinstance(op, ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
            raise ValueError
        wanted = isinstance(op, ast.Is | ast.Eq)
        return lambda values: (values[column.name] is None) == wanted
    compare = COMPARISONS.get(type(op))
    if compare is None:
        raise ValueError
    return lambda values: _compared(one, other, compare, values)


def _operand(node: ast.AST, names: Mapping[str, str]) -> object:
    if isinstance(node, ast.Name):
        return _Column(names.get(node.id, node.id))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        number = _operand(node.operand, names)
        if isinstance(number, int | float) and not isinstance(number, bool):
            return -number if isinstance(node.op, ast.USub) else number
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, str | int | float)):
        return node.value
    raise ValueError(node)


def _compared(one: object, other: object, compare: Callable[[Any, Any], bool], values: Values) -> bool | None:
    a, b = (values[side.name] if isinstance(side, _Column) else side for side in (one, other))
    if a is None or b is None:
        return None
    literal = next((side for side in (one, other) if not isinstance(side, _Column)), None)
    if isinstance(literal, bool):  # true, True and TRUE, as programs differ
        a, b = str(a).lower(), str(b).lower()
    elif not isinstance(literal, str):
        numbers = [_number(side) for side in (a, b)]
        if None not in numbers:
            a, b = numbers
        elif literal is not None and compare not in (operator.eq, operator.ne):
            column, found = next((side, each) for side, each in ((one, a), (other, b)) if isinstance(side, _Column))
            raise _NotANumberError(column.name, str(found), literal)
    return compare(a, b)


def _number(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = value.strip()
    if len(text) > 40 or not NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("+-").isdigit() else float(text)


def _all(tests: Sequence[Test]) -> Test:
    def test(values: Values) -> bool | None:
        found: Iterator[bool | None] = (each(values) for each in tests)
        is_known = True
        for one in found:
            if one is False:
                return False
            is_known &= one is not None
        return True if is_known else None

    return test


def _not(test: Test) -> Test:
    def negated(values: Values) -> bool | None:
        found = test(values)
        return None if found is None else not found

    return negated
