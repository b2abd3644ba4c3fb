import hashlib

import pytest

from headstart.files.errors import DamagedError
from headstart.files.seal import SEAL_BYTES, check_seal, has_seal, sealed


def test_a_seal_is_a_metadata_entry_with_the_digest_of_all_before():
    end = sealed(b"data")[len(b"data") :]
    assert len(end) == SEAL_BYTES
    assert end == b"\x72\x54\x0a\x10headstart-sha256\x12\x40" + hashlib.sha256(b"data").hexdigest().encode()


def test_a_sealed_file_has_a_seal_and_another_has_none():
    assert has_seal(sealed(b"data"), "x.onnx")
    assert not has_seal(b"data", "x.onnx")


@pytest.mark.parametrize("at", [0, 3, -1, -40])
def test_an_altered_file_is_refused(at):
    data = bytearray(sealed(b"data"))
    data[at] ^= 1
    with pytest.raises(DamagedError, match=r"^x\.onnx: damaged \(altered\)"):
        has_seal(bytes(data), "x.onnx")


def test_a_file_without_the_seal_that_it_states_is_refused():
    check_seal({"sealed": True}, True, "x.onnx")
    check_seal({}, False, "x.onnx")
    with pytest.raises(DamagedError, match=r"^x\.onnx: damaged \(cut off or altered\)"):
        check_seal({"sealed": True}, False, "x.onnx")
