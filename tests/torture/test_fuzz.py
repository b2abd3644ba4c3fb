import sys
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import torture.pictures.fuzz
from headstart.extract.decoding.decode import decode
from headstart.extract.decoding.formats import FORMATS
from headstart.extract.decoding.isolated import IsolatedDecoder, Limits
from headstart.extract.errors import DecodeError
from torture.pictures.fuzz import RULE, fuzz, mutant, seeds

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="isolation needs a POSIX system")


@pytest.mark.parametrize("seed", range(len(seeds())))
def test_every_seed_is_valid(seed):
    assert decode(seeds()[seed], RULE).shape == RULE.shape


def test_there_are_seeds_of_every_format():
    assert len(seeds()) > 2 * len(FORMATS)
    assert len(set(seeds())) == len(seeds())


def test_a_mutant_has_a_number():
    assert mutant(7) == mutant(7)
    assert len({mutant(number) for number in range(300)}) > 290
    assert not {mutant(number) for number in range(300)} <= set(seeds())


def test_nothing_escapes_and_nothing_hangs():
    found = fuzz(1500, start=1_000_000)
    assert (found["escaped"], found["hung"]) == ([], [])
    assert found["mutants"] == found["decoded"] + found["refused"] == 1500
    assert found["decoded"] > 100 < found["refused"]
    assert found["slowest"] < 10
    assert 10 < found["most_memory"] < 1024


def test_what_dies_and_what_hangs_is_counted(monkeypatch):
    monkeypatch.setattr(torture.pictures.fuzz, "mutant", lambda number: bytes(40 << 20))
    monkeypatch.setattr(torture.pictures.fuzz, "LIMITS", Limits(memory=12 << 20))
    assert fuzz(2)["out_of_memory"] == 2
    monkeypatch.setattr(torture.pictures.fuzz, "LIMITS", Limits(patience=1e-6, seconds=1e-6))
    monkeypatch.setattr(torture.pictures.fuzz, "mutant", lambda number: bytes(100))
    assert len(fuzz(2)["hung"]) == 2
    monkeypatch.setattr(torture.pictures.fuzz, "IsolatedDecoder", Crashing)
    assert [line.partition(":")[0] for line in fuzz(2, start=5)["escaped"]] == ["5", "6"]


class Crashing(IsolatedDecoder):
    def decode(self, data):
        raise DecodeError("the decoder crashed (SIGSEGV)")


@given(st.data())
@settings(max_examples=200, deadline=None, derandomize=True)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_any_bytes_in_any_seed_give_pixels_or_a_reason(data):
    held = bytearray(data.draw(st.sampled_from(seeds())))
    at = data.draw(st.integers(0, len(held)))
    held[at : at + data.draw(st.integers(0, 30))] = data.draw(st.binary(max_size=30))
    with suppress(DecodeError):
        assert decode(bytes(held), RULE).shape == RULE.shape
