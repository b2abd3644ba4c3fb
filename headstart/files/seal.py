"""The seal: a digest at the end of an ONNX file, so that a damaged file is refused before it is used.

For protobuf the seal is one more entry of the file's ``metadata_props``. Its key is ``headstart-sha256``, its value the
SHA-256 digest, in hexadecimal, of all bytes before it. The JSON in ``headstart`` states ``"sealed": true``, so that a
file that has lost its end is noticed too.
"""

import hashlib
import os
from collections.abc import Mapping
from typing import Any, Final

from headstart.files.errors import DamagedError

METADATA_KEY: Final = "headstart"
SEAL_KEY: Final = "headstart-sha256"
_START: Final = b"\x72\x54\x0a\x10" + SEAL_KEY.encode() + b"\x12\x40"
SEAL_BYTES: Final = len(_START) + 64
_NEXT: Final = "export or train it again"


def sealed(data: bytes) -> bytes:
    """Append the seal to the bytes of an ONNX file."""
    return data + _START + hashlib.sha256(data).hexdigest().encode()


def has_seal(data: bytes, source: str | os.PathLike[str]) -> bool:
    """Tell whether a file's bytes end with a seal; `source` names the file in messages.

    Raises
    ------
    DamagedError
        If they end with the seal of other bytes.
    """
    if not data[-SEAL_BYTES:].startswith(_START):
        return False
    if sealed(data[:-SEAL_BYTES]) != data:
        raise DamagedError(f"{source}: damaged (altered): its bytes do not match their digest; {_NEXT}")
    return True


def check_seal(metadata: Mapping[str, Any], is_sealed: bool, source: str | os.PathLike[str]) -> None:
    """Refuse a file whose metadata states a seal that its bytes (see `has_seal`) lack.

    Raises
    ------
    DamagedError
        If the seal is missing.
    """
    if metadata.get("sealed") and not is_sealed:
        raise DamagedError(f"{source}: damaged (cut off or altered): the digest at its end is missing; {_NEXT}")
