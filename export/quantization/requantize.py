"""A backbone file that is there already, such as one with a tuned tail, as int8: Keras is not needed for it."""

import json
import os
from typing import TYPE_CHECKING, Any

from headstart.export.errors import WeightsError
from headstart.export.sealing import is_sealed, without_end
from headstart.files.errors import OptionError, one_line
from headstart.files.filesystems import read_bytes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def quantized_file(
    path: str | os.PathLike[str], calibration: "NDArray[np.uint8] | None"
) -> tuple[Any, dict[str, Any], float]:
    """Make the int8 twin of a backbone file in fp32.

    Returns
    -------
    model, said, difference
        An ONNX model with the file's other entries of metadata; its metadata as an object; the difference from Keras
        that the file tells of itself.

    Raises
    ------
    OptionError
        There are no images to calibrate on: the file is what would come out.
    WeightsError
        The file is damaged, or no backbone of ours in fp32.
    QuantizationError
        int8 agrees too little with fp32.
    """
    from headstart.export.quantization.quantize import LEAST_COSINE, LEAST_COSINE_UNTRAINED, quantize

    if calibration is None:
        raise OptionError(f"{path}: is a backbone already: give --precision int8 --calibrate IMAGES to make int8 of it")
    model, kept, said = _read(path)
    least = LEAST_COSINE if said["weights"]["trained"] else LEAST_COSINE_UNTRAINED
    held_back = slice(None, None, 3)
    rest = [number for number in range(len(calibration)) if number % 3]
    twin, agreement = quantize(model, calibration[rest], calibration[held_back], least)
    said |= {"precision": "int8", "quantization": agreement.metadata()}
    for name in ("cut", "trunk_sha256"):  # its trunk is another now
        said.pop(name, None)
    del twin.metadata_props[:]
    for key, value in kept.items():
        if key != "headstart-sha256":
            entry = twin.metadata_props.add()
            entry.key, entry.value = key, value
    return twin, said, float(said.get("parity", {}).get("max_abs_difference", 0.0))


def _read(path: str | os.PathLike[str]) -> tuple[Any, dict[str, str], dict[str, Any]]:
    """Give a backbone's model, its entries of metadata but ours, and ours, once its seal has been looked at."""
    import onnx

    try:
        data = read_bytes(path)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}; give a backbone file") from None
    has_seal = is_sealed(data, path)
    try:
        model = onnx.load_model_from_string(data)
        kept = {entry.key: entry.value for entry in model.metadata_props}
        said: dict[str, Any] = json.loads(kept.pop("headstart"))
        is_ours = said["format"] == "headstart-backbone" and said["precision"] == "fp32" and "views" not in said
    except Exception as error:  # protobuf raises what it likes
        raise WeightsError(f"{path}: expected a backbone file (.onnx), found another ({one_line(error)})") from None
    if not is_ours or len(model.graph.output) > 1:
        raise WeightsError(f"{path}: expected a backbone in fp32 that is not cut, found another; export or tune one")
    if said.get("sealed") and not has_seal:
        raise without_end(path)
    return model, kept, said
