"""Derives a backbone that scales 16-bit grey by fewer bits; its resize rule says so, to whatever is made with it."""

import hashlib
import json

from headstart.extract.inference.model import Model, parse_model, trunk_of
from headstart.files.errors import OptionError
from headstart.files.resize import GREY_BITS
from headstart.files.seal import METADATA_KEY, SEAL_KEY, sealed


def with_grey_bits(model: Model, bits: int) -> Model:
    """Return a backbone whose resize rule states how many bits of 16-bit grey carry the picture.

    Parameters
    ----------
    bits
        8-16; see `headstart.files.resize.ResizeRule`.

    Raises
    ------
    OptionError
        If it is another number.
    """
    import onnx

    if bits not in GREY_BITS:
        raise OptionError(f"expected 8 to 16 grey bits, found {bits}")
    if bits == model.rule.grey_bits:
        return model
    metadata = model.metadata | {"resize": model.metadata["resize"] | {"grey_bits": bits}, "sealed": True}
    if "cut" in metadata:  # its tensors are others, and files derived from it name its trunk
        trunk = f"{trunk_of(metadata, model.sha256)} with {bits} grey bits"
        metadata["trunk_sha256"] = hashlib.sha256(trunk.encode()).hexdigest()
    proto = onnx.load_model_from_string(model.data)
    entries = {entry.key: entry.value for entry in proto.metadata_props if entry.key != SEAL_KEY}
    onnx.helper.set_model_props(proto, entries | {METADATA_KEY: json.dumps(metadata, sort_keys=True)})
    return parse_model(sealed(proto.SerializeToString(deterministic=True)), model.source)
