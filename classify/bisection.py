"""The root of a function of one number."""

from collections.abc import Callable


def find_root(function: Callable[[float], float], low: float, high: float, precision: float = 1e-9) -> float:
    """Return where a function changes its sign between two numbers, by bisection; without a change, near an end.

    That is the end where the function would become 0 if it went on. SciPy has faster methods, but to import them takes
    as long as a fit.
    """
    rises = function(high) > function(low)
    while high - low > 2 * precision:
        middle = (low + high) / 2
        low, high = (middle, high) if (function(middle) < 0) == rises else (low, middle)
    return (low + high) / 2
