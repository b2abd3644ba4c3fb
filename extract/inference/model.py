"""A model file (ONNX backbone or classifier), checked before anything runs it."""

import hashlib
import json
import os
from dataclasses import dataclass, field
from typing import Any

from headstart.extract.errors import ModelError
from headstart.extract.inference.ml_operators import DOMAIN, check_ml_operators
from headstart.files.errors import FormatError
from headstart.files.filesystems import read_bytes
from headstart.files.kinds import kind_of
from headstart.files.resize import ResizeRule
from headstart.files.seal import METADATA_KEY, check_seal, has_seal

FORMATS = {"headstart-backbone": 1, "headstart-classifier": 1}
"""Formats that can be read, with the schema version of each."""

CUT = "tensor"
"""The output at the cut of a backbone: what its trunk computes, and its tail takes."""
_NEXT = "make a backbone with `headstart export`, a classifier with `headstart train`"
_DOMAINS = frozenset({"", "ai.onnx", DOMAIN})


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
        Output name -> shape of one row: ``(d,)``, or for the tensor at a cut ``(h, w, c)``, or ``(v, h, w, c)`` with v
        views. Each is float32, (n, ...).
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
        """Digest of the backbone: the file's own, or in a classifier that of the backbone inside it."""
        return str(self.metadata.get("backbone_sha256", self.sha256))

    @property
    def is_trained(self) -> bool:
        """Whether the backbone's weights were trained, rather than drawn at random."""
        return bool(self.metadata.get("weights", {}).get("trained"))


def read_model(path: str | os.PathLike[str]) -> Model:
    """Read a backbone or classifier file, local or at a URL.

    Raises
    ------
    ModelError
        If there is no such file, it is not ONNX, another program or version made it, or its graph does not match its
        metadata.
    DamagedError
        If its bytes do not match the digest at its end, or that digest is missing.
    """
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; {_NEXT}") from None
    except IsADirectoryError:
        raise ModelError(f"{path}: expected an ONNX file (a backbone or classifier), found a folder; {_NEXT}") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None
    if "ONNX" not in (kind := kind_of(data)) and kind not in ("a backbone", "a classifier"):
        raise ModelError(f"{path}: expected an ONNX file (a backbone or classifier), found {kind}; {_NEXT}")
    is_sealed = has_seal(data, path)
    model = parse_model(data, os.fspath(path))
    check_seal(model.metadata, is_sealed, path)
    return model


def trunk_of(metadata: dict[str, Any], sha256: str) -> str:
    """Return the digest that identifies the trunk of a backbone with a cut.

    Files derived from another (a tuned tail, more views) name that file's trunk. Stores of several views from release
    0.1 name it as ``one_view_sha256``.
    """
    return str(metadata.get("trunk_sha256") or metadata.get("one_view_sha256") or sha256)


def parse_model(data: bytes, source: str) -> Model:
    """Check the bytes of a backbone or classifier, which messages call `source`.

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
        check_ml_operators(proto.graph, *outputs["embedding"])
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
        raise ModelError("expected an ONNX file, found another or a damaged one") from None
    if not proto.graph.node:
        raise ModelError("expected an ONNX file, found one without a graph")
    return proto


def _metadata(proto: Any) -> dict[str, Any]:
    entries = {entry.key: entry.value for entry in proto.metadata_props}
    if METADATA_KEY not in entries:
        raise ModelError("expected a file made by `headstart export` or `headstart train`, found another ONNX file")
    metadata: dict[str, Any] = json.loads(entries[METADATA_KEY])
    expected = FORMATS.get(metadata["format"])
    if expected is None or metadata["schema"] != expected:
        raise ModelError(
            f"expected {metadata['format']} schema {expected}, found {metadata['schema']} of another version"
        )
    return metadata


def _check_self_contained(proto: Any) -> None:
    """Refuse graphs that could read other files, loop forever, or run anything but standard operators."""
    graph = proto.graph
    attributes = [attribute for node in graph.node for attribute in node.attribute]
    if any(attribute.HasField("g") or len(attribute.graphs) for attribute in attributes):
        raise ModelError("it has loops or branches, which backbones and heads do not need")
    tensors = [*graph.initializer, *(t for a in attributes for t in (a.t, *a.tensors))]
    if any(tensor.data_location for tensor in tensors):
        raise ModelError("its weights are in another file, which is not read")
    if len(graph.sparse_initializer) or any(a.HasField("sparse_tensor") or len(a.sparse_tensors) for a in attributes):
        raise ModelError("it has sparse weights, which backbones and heads do not need")
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
