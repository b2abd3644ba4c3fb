"""An exported ONNX file (backbone or classifier), checked before anything runs it."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

from headstart.extract.errors import ModelError
from headstart.files.errors import FormatError
from headstart.files.filesystems import read_bytes
from headstart.files.resize import ResizeRule

FORMATS = {"headstart-backbone": 1, "headstart-classifier": 1}
"""Formats that are read, each with the schema version that is understood."""

CUT = "tensor"
"""The output of a network that is cut: what its trunk gives, and its tail begins with."""
_DOMAINS = frozenset({"", "ai.onnx"})
_AGAIN = "export or train it again"
SEAL_KEY = "headstart-sha256"
_SEAL = b"\x72\x54\x0a\x10headstart-sha256\x12\x40"
"""In protobuf: one more entry of `metadata_props`, with this key, and a value of 64 bytes that follow."""


@dataclass(frozen=True)
class Model:
    """An ONNX graph with its contract, held as bytes.

    Attributes
    ----------
    data
        The file's bytes.
    sha256
        Their digest, in hexadecimal.
    metadata
        The JSON object that the exporter wrote into the file.
    rule
        How an image becomes this model's input: uint8, (n, H, W, 3), RGB, 0-255, named ``image``.
    outputs
        Output name -> the shape of one row of it: ``(d,)``, or ``(h, w, c)`` for what a network gives at a cut. Each is
        float32, (n, ...).
    source
        Where it was read from, for messages.
    """

    data: bytes = field(repr=False)
    sha256: str
    metadata: dict[str, Any] = field(repr=False)
    rule: ResizeRule
    outputs: dict[str, tuple[int, ...]]
    source: str

    @property
    def backbone_sha256(self) -> str:
        """Digest of the backbone: the file's own, or for a classifier that of the backbone inside it."""
        return str(self.metadata.get("backbone_sha256", self.sha256))

    @property
    def is_trained(self) -> bool:
        """Whether the backbone's weights were learnt, rather than drawn at random."""
        return bool(self.metadata.get("weights", {}).get("trained"))


def read_model(path: str | os.PathLike[str]) -> Model:
    """Read a backbone or classifier file, here or at a URL.

    Raises
    ------
    ModelError
        Where there is no such file, it is no ONNX, was not made by Headstart or by another version of it, or its graph
        is not what the metadata says.
    """
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        raise ModelError(
            f"{path}: no such file; make a backbone with `headstart export`, a classifier with `headstart train`"
        ) from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None
    body, end = data[: -len(seal(b""))], data[-len(seal(b"")) :]
    is_sealed = end == seal(body)
    if end.startswith(_SEAL) and not is_sealed:
        raise ModelError(f"{path}: damaged (altered): its bytes do not match their digest; {_AGAIN}")
    model = parse_model(data, os.fspath(path))
    _check_seal(model, is_sealed)
    return model


def seal(data: bytes) -> bytes:
    """Give what is put at the end of an ONNX file, so that a flipped bit in a weight is noticed: its digest.

    To protobuf it is the last entry of the file's metadata, ``headstart-sha256``, in hexadecimal, of all bytes before.
    The JSON in ``headstart`` says ``"sealed": true``, so that a file without its end is noticed too.
    """
    return _SEAL + hashlib.sha256(data).hexdigest().encode()


def _check_seal(model: Model, is_sealed: bool) -> None:
    is_of_a_store = "one_view_sha256" in model.metadata and "classes" not in model.metadata  # which knows its digest
    if model.metadata.get("sealed") and not is_sealed and not is_of_a_store:
        raise ModelError(f"{model.source}: damaged (cut off or altered): the digest at its end is gone; {_AGAIN}")


def parse_model(data: bytes, source: str) -> Model:
    """Check the bytes of a backbone or classifier; `source` names them in messages.

    Raises
    ------
    ModelError
        As `read_model`.
    """
    try:
        proto = _parse(data)
        metadata = _metadata(proto)
        _check_self_contained(proto)
        rule = ResizeRule.from_metadata(metadata)
        _check_input(proto, rule)
        outputs = _outputs(proto)
    except (ModelError, FormatError) as error:
        raise ModelError(f"{source}: {error}; export it again with this version") from None
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as error:
        raise ModelError(f"{source}: its metadata or graph is incomplete ({error}); export it again") from None
    return Model(data, hashlib.sha256(data).hexdigest(), metadata, rule, outputs, source)


def _parse(data: bytes) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        proto = onnx.load_model_from_string(data)
    except (DecodeError, RuntimeError):
        raise ModelError("expected an ONNX file, found something else or a damaged one") from None
    if not proto.graph.node:
        raise ModelError("expected an ONNX file, found one without a graph")
    return proto


def _metadata(proto: Any) -> dict[str, Any]:
    found = {entry.key: entry.value for entry in proto.metadata_props}
    if "headstart" not in found:
        raise ModelError("expected a file made by `headstart export` or `headstart train`, found another ONNX file")
    metadata: dict[str, Any] = json.loads(found["headstart"])
    expected = FORMATS.get(metadata["format"])
    if expected is None or metadata["schema"] != expected:
        raise ModelError(
            f"expected {metadata['format']} schema {expected}, found {metadata['schema']} of another version"
        )
    return metadata


def _check_self_contained(proto: Any) -> None:
    """Refuse what could read another file, never end, or run anything but the standard operators."""
    graph = proto.graph
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    if any(attribute.HasField("g") or len(attribute.graphs) for attribute in attributes):
        raise ModelError("it has loops or branches, which no backbone or head needs")
    tensors = [*graph.initializer, *(t for a in attributes for t in (a.t, *a.tensors))]
    if any(tensor.data_location for tensor in tensors):
        raise ModelError("its weights lie in another file, which is not read")
    if len(graph.sparse_initializer) or any(a.HasField("sparse_tensor") or len(a.sparse_tensors) for a in attributes):
        raise ModelError("it has sparse weights, which no backbone or head needs")
    foreign = {node.domain for node in graph.node} - _DOMAINS
    if foreign or len(proto.functions):
        raise ModelError(f"it uses operators beyond the ONNX standard ({', '.join(sorted(foreign)) or 'functions'})")


def _check_input(proto: Any, rule: ResizeRule) -> None:
    import onnx

    inputs = [(i.name, i.type.tensor_type.elem_type, _shape(i)[1:]) for i in proto.graph.input]
    if inputs != [("image", onnx.TensorProto.UINT8, [rule.height, rule.width, 3])]:
        raise ModelError(f"expected one input `image` uint8 (n, {rule.height}, {rule.width}, 3), found {inputs}")


def _outputs(proto: Any) -> dict[str, tuple[int, ...]]:
    outputs = {out.name: tuple(_shape(out)[1:]) for out in proto.graph.output}
    if len(outputs.get("embedding", ())) != 1 or min(min(shape, default=0) for shape in outputs.values()) < 1:
        raise ModelError(f"expected an output `embedding` float32 (n, d) of known length, found {outputs}")
    return outputs


def _shape(value: Any) -> list[int]:
    return [dim.dim_value for dim in value.type.tensor_type.shape.dim]
