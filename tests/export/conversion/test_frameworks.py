import os
import sys

import pytest

from headstart.export import MissingExtraError
from headstart.export.conversion.frameworks import quiet, require


def shout():
    os.write(2, b"noise from C++\n")


def test_noise_is_held_back(capfd):
    with quiet():
        shout()
    print("heard", file=sys.stderr)
    assert capfd.readouterr().err == "heard\n"


@pytest.mark.parametrize(
    ("error", "heard"),
    [
        (RuntimeError("unforeseen"), "noise from C++\nafter\n"),
        (MissingExtraError("foreseen"), "after\n"),
        (KeyboardInterrupt(), "after\n"),
    ],
)
def test_noise_is_told_after_an_unforeseen_fault_and_stderr_always_comes_back(error, heard, capfd):
    def fail():
        with quiet():
            shout()
            raise error

    with pytest.raises(type(error)):
        fail()
    sys.stderr.flush()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == heard


def test_a_missing_module_names_the_extra():
    with pytest.raises(MissingExtraError) as error:
        require("no_such_module_anywhere", "headstart[export]")
    assert str(error.value) == (
        "cannot import no_such_module_anywhere (No module named 'no_such_module_anywhere'): "
        'pip install "headstart[export]"'
    )
