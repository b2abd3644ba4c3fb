import numpy as np
import pytest
from scipy.optimize import brentq

from headstart.classify.bisection import find_root


@pytest.mark.parametrize(
    "function", [lambda x: np.tanh(5 * (x - 0.3)) + 0.1, lambda x: 1 - np.exp(5 * x), lambda x: x**3 - 1e-3]
)
@pytest.mark.parametrize("precision", [1e-3, 1e-9])
def test_it_is_the_root_that_scipy_finds(function, precision):
    assert find_root(function, -2.0, 1.0, precision) == pytest.approx(brentq(function, -2, 1), abs=precision)


def test_without_a_root_it_is_an_end():
    found = [find_root(function, -1, 1) for function in (lambda x: x + 2, lambda x: 1.5 - x, lambda x: x - 3)]
    assert found == pytest.approx([-1, 1, 1])
