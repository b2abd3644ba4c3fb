"""The seal at the end of a file of ours, its digest: put there, and looked at again before the file is used.

The same as `headstart.extract.inference.model` puts and looks at; this room imports nothing of that one.
"""

import hashlib
import os

from headstart.export.errors import WeightsError

_SEAL = b"\x72\x54\x0a\x10headstart-sha256\x12\x40"
_LENGTH = len(_SEAL) + 64
_AGAIN = "export or train it again"


def sealed(data: bytes) -> bytes:
    """Add the digest of a file at its end, which to protobuf is a last entry of its metadata."""
    return data + _SEAL + hashlib.sha256(data).hexdigest().encode()


def is_sealed(data: bytes, path: str | os.PathLike[str]) -> bool:
    """Tell whether a file's bytes end in a seal.

    Raises
    ------
    WeightsError
        They do, and it is that of other bytes.
    """
    if not data[-_LENGTH:].startswith(_SEAL):
        return False
    if sealed(data[:-_LENGTH]) != data:
        raise WeightsError(f"{path}: damaged (altered): its bytes do not match their digest; {_AGAIN}")
    return True


def without_end(path: str | os.PathLike[str]) -> WeightsError:
    """Give the error for a file that says it is sealed, and is not."""
    return WeightsError(f"{path}: damaged (cut off or altered): the digest at its end is gone; {_AGAIN}")
