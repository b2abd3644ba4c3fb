"""Stores and backbones made to attack: whoever makes them can compute their digests too."""

import hashlib
import json
import resource
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from headstart.extract import embed
from headstart.extract.errors import ExtractError, ModelError, StoreError
from headstart.extract.inference.model import read_model
from headstart.extract.inference.providers import open_session
from headstart.extract.sources.manifests import read_manifest
from headstart.extract.store.hdf5 import USER_BLOCK
from headstart.extract.store.store import open_store

SECRET = b"a line that no one else should read" * 100


@pytest.fixture
def store(folder, backbone, tmp_path) -> Path:
    embed(folder, backbone, tmp_path / "good.h5")
    return tmp_path / "good.h5"


@pytest.fixture
def folder(picture, tmp_path) -> Path:
    for name in ("ash/1.png", "ash/2.png", "oak/3.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(len(name) + int(name[4])))
    return tmp_path / "photos"


@pytest.fixture
def forged(store, tmp_path) -> Callable[[Callable[[h5py.File], object]], Path]:
    """Give a copy of a store after a change, with the digest that its bytes then have."""

    def forge(change: Callable[[h5py.File], object]) -> Path:
        path = tmp_path / "bad.h5"
        with h5py.File(path, "w", userblock_size=USER_BLOCK) as new, h5py.File(store) as old:
            new.attrs.update(old.attrs)
            for name, dataset in old.items():
                new.create_dataset(name, data=dataset[:], dtype=dataset.dtype)
            change(new)
        data = path.read_bytes()[USER_BLOCK:]
        line = f"headstart-store 1 sha256 {hashlib.sha256(data).hexdigest()}\n".encode()
        path.write_bytes(line.ljust(USER_BLOCK, b"\0") + data)
        return path

    return forge


def replaced(name: str, make: Callable[[h5py.File], object]) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        make(file)

    return change


def secret(file: h5py.File) -> str:
    path = Path(file.filename).with_name("secret.bin")
    path.write_bytes(SECRET)
    return str(path)


def other_file(file: h5py.File) -> str:
    path = Path(file.filename).with_name("other.h5")
    with h5py.File(path, "w") as other:
        other["x"] = np.frombuffer(SECRET[:96], np.uint8).reshape(3, 32)
    return str(path)


def external(file):
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_external(secret(file).encode(), 0, 96)
    space = h5py.h5s.create_simple((3, 32))
    h5py.h5d.create(file.id, b"sha256", h5py.h5t.STD_U8LE, space, plan)


def virtual(file):
    layout = h5py.VirtualLayout((3, 32), np.uint8)
    layout[:] = h5py.VirtualSource(other_file(file), "x", (3, 32))
    file.create_virtual_dataset("sha256", layout)


def linked(file):
    file["sha256"] = h5py.ExternalLink(other_file(file), "x")


def bomb(file):
    """A hundred gigabytes of zeros in some kilobytes."""
    file.create_dataset("size", (100_000_000_000 // 8,), "<i8", chunks=(100_000_000,), compression="gzip")


def endless(file):
    file.create_dataset("size", (10**12,), "<i8")


def texts(file):
    file.create_dataset("path", data=["ash/1.png", "ash/2.png", "oak/3.png"], dtype=h5py.string_dtype())


def of_56_bits(file):
    kind = h5py.h5t.STD_I64LE.copy()
    kind.set_precision(56)
    h5py.h5d.create(file.id, b"size", kind, h5py.h5s.create_simple((3,))).write(*[h5py.h5s.ALL] * 2, np.ones(3, "<i8"))


def padded(file):
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(9)
    kind.set_strpad(h5py.h5t.STR_SPACEPAD)
    names = np.array([b"ash/1.png", b"ash/2.png", b"oak/3.png"])
    h5py.h5d.create(file.id, b"path", kind, h5py.h5s.create_simple((3,))).write(*[h5py.h5s.ALL] * 2, names)


def references(file):
    file.create_dataset("path", data=[file.ref] * 3, dtype=h5py.ref_dtype)


def attribute(name: str, value: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file.attrs[name] = value

    return change


def values(name: str, value: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        file[name][...] = value

    return change


def test_a_forged_store_is_read_where_nothing_is_wrong_with_it(forged, store):
    found = open_store(forged(lambda file: None))
    assert np.array_equal(found.embeddings(), open_store(store).embeddings())


ATTACKS = {
    "values in another file": (replaced("sha256", external), "another layout"),
    "values mapped from another file": (replaced("sha256", virtual), "another layout"),
    "a link to another file": (replaced("sha256", linked), "something else"),
    "a soft link": (replaced("size", lambda f: f.__setitem__("size", h5py.SoftLink("/mtime_ns"))), "something else"),
    "a group": (replaced("size", lambda f: f.create_group("size")), "something else"),
    "100 GB out of nothing": (replaced("size", bomb), "another layout"),
    "8 TB that are not there": (replaced("size", endless), "more than the file holds"),
    "text of any length": (replaced("path", texts), "another layout"),
    "references": (replaced("path", references), "another layout"),
    "numbers for text": (replaced("reason", lambda f: f.__setitem__("reason", [1, 2, 3])), "expected 'reason'"),
    "digests of another length": (
        replaced("sha256", lambda f: f.__setitem__("sha256", np.zeros((3, 16), "u1"))),
        "shape",
    ),
    "two labels an image": (replaced("label", lambda f: f.__setitem__("label", np.zeros((3, 2), "<i4"))), "shape"),
    "numbers of 56 bits": (replaced("size", of_56_bits), "another layout of numbers"),
    "text filled up with blanks": (replaced("path", padded), "another layout of numbers or text"),
    "two columns in one place": (replaced("size", lambda f: f.__setitem__("size", f["mtime_ns"])), "the same place"),
    "embeddings in another file": (
        replaced("embedding", lambda f: f.__setitem__("embedding", h5py.ExternalLink(other_file(f), "x"))),
        "something else",
    ),
    "a name for embeddings that leads elsewhere": (attribute("output", "/../path"), ""),
    "deep JSON": (attribute("model", "[" * 60_000), ""),
    "JSON of another kind": (attribute("model", "3"), ""),
    "a dimension without end": (attribute("dim", 2**62), "does not fit its header"),
    "a dimension that is infinite": (attribute("dim", float("inf")), ""),
    "a dtype of objects": (attribute("dtype", "object"), "does not fit its header"),
    "a label beyond the classes": (values("label", 7), "codes without a meaning"),
    "a label below them": (values("label", -2), "codes without a meaning"),
    "a split that is none": (values("split", 9), "codes without a meaning"),
    "a status that is none": (values("status", -1), "codes without a meaning"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_a_store_made_to_attack_is_refused_by_name(forged, name):
    change, said = ATTACKS[name]
    path = forged(change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StoreError) as caught:
        open_store(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert said in message
    assert "\n" not in message
    assert SECRET[:20].decode() not in message
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10  # KiB


@pytest.mark.parametrize("model", [b"", b"\x80\x04cos\nsystem\n(S'true'\ntR.", b"\0" * 1000])
def test_a_model_inside_a_store_is_checked_like_any_other(forged, model):
    path = forged(replaced("model", lambda file: file.create_dataset("model", data=np.frombuffer(model, np.uint8))))
    store = open_store(path)
    with pytest.raises(ExtractError) as caught:
        store.model()
    assert str(caught.value).startswith(str(path))


def _giant(proto):
    """An output of as many terabytes as fit in the shape."""
    proto.graph.initializer.append(numpy_helper.from_array(np.array([10**7, 10**6]), "huge"))
    proto.graph.node[-1].output[0] = "small"
    proto.graph.node.append(helper.make_node("Expand", ["mean", "huge"], ["embedding"]))
    proto.graph.node.insert(-1, helper.make_node("ReduceMean", ["small"], ["mean"], keepdims=0))


def _of_another_length(proto):
    proto.graph.node[-1].output[0] = "small"
    proto.graph.node.append(helper.make_node("Concat", ["small", "small"], ["embedding"], axis=1))


def _unknown_operator(proto):
    proto.graph.node[3].op_type = "Teleport"


def _wrong_type(proto):
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.zeros(3, np.int64), proto.graph.initializer[0].name))


def _more_weights_than_there_are(proto):
    tensor = TensorProto(name="kernel", data_type=TensorProto.FLOAT, dims=[10**6, 10**6], raw_data=b"1234")
    for path in proto.graph.initializer:
        if path.name == "kernel":
            path.CopyFrom(tensor)


@pytest.mark.parametrize(
    "change", [_giant, _of_another_length, _unknown_operator, _wrong_type, _more_weights_than_there_are]
)
def test_a_backbone_made_to_attack_does_not_run(backbone_bytes, tmp_path, change):
    proto = onnx.load_model_from_string(backbone_bytes())
    change(proto)
    path = tmp_path / "bad.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ExtractError) as caught:
        open_session(read_model(path), "cpu")
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_pickle_called_a_backbone_or_a_store_is_refused(tmp_path):
    marker = tmp_path / "ran"
    data = b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR."
    (tmp_path / "a.onnx").write_bytes(data)
    (tmp_path / "a.h5").write_bytes(data)
    with pytest.raises(ModelError, match="expected an ONNX file"):
        read_model(tmp_path / "a.onnx")
    with pytest.raises(StoreError, match="found a text file"):
        open_store(tmp_path / "a.h5")
    assert not marker.exists()


@pytest.mark.parametrize("line", ["[" * 100_000, '{"path": ' + "[" * 100_000, json.dumps({"path": ["a"]})])
def test_deep_json_in_a_manifest_is_refused(tmp_path, line):
    (tmp_path / "photos.jsonl").write_text(line + "\n")
    with pytest.raises(ExtractError) as caught:
        read_manifest(tmp_path / "photos.jsonl")
    assert str(caught.value).startswith(f"{tmp_path / 'photos.jsonl'}: ")
