"""Backbones made from a backbone file that exists, such as one with a tuned tail; Keras is not needed for them."""

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any

from headstart.export.conversion.features import Group
from headstart.export.errors import WeightsError
from headstart.files.errors import OptionError, one_line
from headstart.files.filesystems import read_bytes
from headstart.files.seal import METADATA_KEY, SEAL_KEY, check_seal, has_seal

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray


def derived_file(
    path: str | os.PathLike[str], calibration: "NDArray[np.uint8] | None", views: int
) -> "tuple[onnx.ModelProto, dict[str, Any], float]":
    """Read a backbone file to which views are to be added, or make its int8 twin, or both.

    Returns
    -------
    model, metadata, difference
        The ONNX model, still without additional views, with the file's other metadata entries; its metadata; the
        difference from Keras that the file states.

    Raises
    ------
    OptionError
        If nothing is to be changed.
    DamagedError
        If its bytes do not match the digest at its end.
    WeightsError
        If the file is not a backbone, or cannot be changed in this way.
    QuantizationError
        If int8 agrees too little with fp32.
    """
    if calibration is None and views == 1:
        raise OptionError(f"{path}: is a backbone already: add --views N, or --precision int8 --calibrate IMAGES")
    model, entries, metadata = _read(path)
    if views > 1 and "views" in metadata:
        raise WeightsError(f"{path}: makes {len(metadata['views'])} views already; leave --views out")
    if calibration is not None:
        model = _quantized(path, model, metadata, calibration)
    elif "cut" in metadata:
        metadata.setdefault("trunk_sha256", hashlib.sha256(read_bytes(path)).hexdigest())
    del model.metadata_props[:]
    for key, value in entries.items():
        if key != SEAL_KEY:
            entry = model.metadata_props.add()
            entry.key, entry.value = key, value
    return model, metadata, float(metadata.get("parity", {}).get("max_abs_difference", 0.0))


def _quantized(
    path: str | os.PathLike[str], model: "onnx.ModelProto", metadata: dict[str, Any], calibration: "NDArray[np.uint8]"
) -> "onnx.ModelProto":
    """Make the int8 twin of a model, and say so in its metadata."""
    from headstart.export.quantization.quantize import quantize_on

    if metadata["precision"] != "fp32" or len(model.graph.output) > 1:
        raise WeightsError(f"{path}: expected a backbone in fp32 that is not cut, found another; export or tune one")
    groups = [Group(**group) for group in metadata.get("groups", [])]
    twin, agreement = quantize_on(model, calibration, is_trained=metadata["weights"]["trained"], groups=groups)
    metadata |= {"precision": "int8", "quantization": agreement.metadata()}
    for name in ("cut", "trunk_sha256"):  # its trunk is another now
        metadata.pop(name, None)
    return twin


def _read(path: str | os.PathLike[str]) -> "tuple[onnx.ModelProto, dict[str, str], dict[str, Any]]":
    """Read a backbone: its model, the metadata entries of others, and our metadata."""
    import onnx

    try:
        data = read_bytes(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}; give a backbone file") from None
    is_sealed = has_seal(data, path)
    try:
        model = onnx.load_model_from_string(data)
        entries = {entry.key: entry.value for entry in model.metadata_props}
        metadata: dict[str, Any] = json.loads(entries.pop(METADATA_KEY))
        is_backbone = metadata["format"] == "headstart-backbone"
    except Exception as error:  # protobuf raises many types
        raise WeightsError(f"{path}: expected a backbone file (.onnx), found another ({one_line(error)})") from None
    if not is_backbone:
        raise WeightsError(f"{path}: expected a backbone, found a classifier; give the backbone that it came from")
    check_seal(metadata, is_sealed, path)
    return model, entries, metadata
