"""Before int8 is made of a backbone file, the file is what it was when it was written."""

import json

import numpy as np
import onnx
import pytest

from headstart.export import export_backbone
from headstart.export.conversion.features import Group
from headstart.export.errors import QuantizationError, WeightsError
from headstart.export.quantization.requantize import derived_file
from headstart.extract import read_model
from headstart.extract.inference.providers import open_session
from headstart.files.errors import DamagedError
from headstart.files.seal import METADATA_KEY, SEAL_BYTES, SEAL_KEY, sealed

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def backbone(exported) -> bytes:
    return exported("mobilenet_v2", image_size=32, width=0.35).summary.path.read_bytes()


def flipped(at: int, data: bytes) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 4
    return bytes(changed)


DAMAGE = {
    "a weight": lambda data: flipped(len(data) // 2, data),
    "the digest": lambda data: flipped(-5, data),
    "the key of the digest": lambda data: flipped(10 - SEAL_BYTES, data),
    "the end gone": lambda data: data[:-SEAL_BYTES],
    "something behind": lambda data: data + b"\x72\x00",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_backbone_is_refused_as_everywhere(backbone, tmp_path, damage):
    place = tmp_path / "x.onnx"
    place.write_bytes(DAMAGE[damage](backbone))
    assert onnx.load_model(place).graph.node, "no parser notices"
    with pytest.raises(DamagedError) as expected:
        read_model(place)
    with pytest.raises(DamagedError, match=r"x\.onnx: damaged \(.*; export or train it again$") as found:
        export_backbone(tmp_path / "int8.onnx", weights=place, calibration=PIXELS)
    assert str(found.value) == str(expected.value)
    assert not (tmp_path / "int8.onnx").exists()


def test_a_whole_backbone_is_taken(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "headstart.export.quantization.quantize.LEAST_COSINE_UNTRAINED", {"mean": 0.5}
    )  # so small a network is hard on int8
    place = tmp_path / "x.onnx"
    place.write_bytes(backbone)
    made = export_backbone(tmp_path / "int8.onnx", weights=place, calibration=PIXELS)
    assert read_model(made.path).metadata["precision"] == "int8"


def test_a_backbone_of_several_views_becomes_int8_with_its_views(backbone, tmp_path, monkeypatch):
    monkeypatch.setattr("headstart.export.quantization.quantize.LEAST_COSINE_UNTRAINED", {"mean": 0.5})
    (tmp_path / "x.onnx").write_bytes(backbone)
    views = export_backbone(tmp_path / "views.onnx", weights=tmp_path / "x.onnx", views=4).path
    made = export_backbone(tmp_path / "int8.onnx", weights=views, calibration=PIXELS)
    assert (made.metadata["precision"], made.metadata["views"]) == ("int8", ["full", "flip", "zoom", "zoom-flip"])
    quantized = {node.op_type for node in onnx.load_model(made.path).graph.node if node.name.startswith("views_")}
    assert not quantized & {"QuantizeLinear", "DequantizeLinear"}
    whole = export_backbone(tmp_path / "both.onnx", weights=tmp_path / "x.onnx", calibration=PIXELS, views=4)
    assert whole.metadata["views"] == made.metadata["views"]
    one, other = (open_session(read_model(path), "cpu").run(PIXELS[:4]) for path in (made.path, whole.path))
    cosine = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    assert cosine.min() > 0.9


def test_every_block_of_a_file_is_compared_by_itself(backbone, tmp_path, monkeypatch):
    seen = []

    def stop(model, images, *, is_trained, groups=()):
        seen.extend(groups)
        raise QuantizationError("compared")

    monkeypatch.setattr("headstart.export.quantization.quantize.quantize_on", stop)
    model = onnx.load_model_from_string(backbone)
    groups = [Group("top", "mean", 0, 8), Group("block_1", "mean", 8, 4), Group("block_1", "deviation", 12, 4)]
    entries = {entry.key: entry.value for entry in model.metadata_props if entry.key != SEAL_KEY}
    metadata = json.loads(entries[METADATA_KEY]) | {"groups": [group.metadata() for group in groups]}
    onnx.helper.set_model_props(model, entries | {METADATA_KEY: json.dumps(metadata)})
    (tmp_path / "blocks.onnx").write_bytes(sealed(model.SerializeToString()))
    with pytest.raises(QuantizationError, match="compared"):
        derived_file(tmp_path / "blocks.onnx", PIXELS, 1)
    assert seen == groups


def test_a_backbone_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"^.*gone\.onnx: cannot be read: No such file"):
        export_backbone(tmp_path / "int8.onnx", weights=tmp_path / "gone.onnx", calibration=PIXELS)
