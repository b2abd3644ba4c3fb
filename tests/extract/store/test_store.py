import hashlib
import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from headstart.extract.errors import StoreError
from headstart.extract.inference.model import parse_model
from headstart.extract.sources.items import Item
from headstart.extract.store.hdf5 import USER_BLOCK
from headstart.extract.store.rows import Outcome
from headstart.extract.store.schema import Header
from headstart.extract.store.shards import shards_of
from headstart.extract.store.store import Store, open_store
from headstart.extract.store.writer import StoreWriter

DIM, ROWS = 16, 200


@pytest.fixture(scope="module")
def model(backbone_bytes):
    return parse_model(backbone_bytes(), "tiny.onnx")


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(ROWS, DIM)).astype(np.float32)


def save(path: Path, model, vectors: np.ndarray, dtype: str = "float32") -> Store:
    """Write a row for each vector, the last rows first and in several shards."""
    header = Header(model.metadata, model.sha256, "embedding", (DIM,), dtype, ("cat", "dog"), "/photos", ("CPU",))
    items = [Item(f"{i:04}.jpg".encode(), i, i, ("cat", "dog")[i % 2]) for i in range(len(vectors))]
    with StoreWriter(path, header, model) as writer:
        for i in reversed(range(len(items))):
            writer.add(Outcome(items[i], i.to_bytes(32, "big"), i, i, vectors[i]))
            if i % 60 == 0:
                writer.commit()
        return writer.finish(writer.reusable.gone(items))


@pytest.fixture
def store(output, model, vectors) -> Store:
    save(output, model, vectors)
    return open_store(str(output))


def a_file_of(path: Path) -> Path:
    return path if path.is_file() else shards_of(path)[-1]


def refusal(path: Path) -> str:
    with pytest.raises(StoreError) as caught:
        open_store(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_all_vectors_are_read_in_order_of_path(store, vectors):
    assert store.paths == sorted(store.paths)
    np.testing.assert_array_equal(store.embeddings(), vectors)


@pytest.mark.parametrize(
    "which",
    [
        [5],
        [199, 0, 100],
        [3, 3, 3],
        [0, 199, 0, 199],
        [199, 1, 1, 0, 100, 199],
        range(0, 200, 7),
        range(199, -1, -1),
        [-1, -200],
    ],
    ids=str,
)
def test_chosen_vectors_come_in_the_order_asked_for(store, vectors, which):
    np.testing.assert_array_equal(store.embeddings(np.array(which)), vectors[np.array(which)])


def test_a_mask_chooses_rows(store, vectors):
    mask = store.labels == 1
    np.testing.assert_array_equal(store.embeddings(mask), vectors[mask])
    assert store.embeddings(np.zeros(ROWS, bool)).shape == (0, DIM)


@pytest.mark.parametrize("size", [1, 37, 200, 10_000])
def test_batches_give_every_row_once(store, vectors, size):
    numbers, parts = zip(*store.batches(size=size), strict=True)
    np.testing.assert_array_equal(np.concatenate(numbers), np.arange(ROWS))
    np.testing.assert_array_equal(np.concatenate(parts), vectors)
    assert max(map(len, parts)) == min(size, ROWS)


def test_a_store_that_another_run_has_replaced_gives_no_rows_of_the_other(tmp_path, model, vectors):
    store = save(tmp_path / "a.h5", model, vectors)
    save(tmp_path / "a.h5", model, vectors[1:])
    with pytest.raises(StoreError, match="another run has replaced it since it was opened"):
        store.embeddings()
    assert len(open_store(tmp_path / "a.h5").embeddings()) == ROWS - 1


def test_a_store_that_is_gone_is_told(store):
    a_file_of(store.location).unlink()
    with pytest.raises(StoreError, match="was removed since the store was opened"):
        store.embeddings()


def test_shards_stay_readable_while_others_are_added(tmp_path, model, vectors):
    store = save(tmp_path / "a.emb", model, vectors)
    save(tmp_path / "a.emb", model, -vectors[1:])
    np.testing.assert_array_equal(store.embeddings(), vectors)


def test_float16_is_within_its_stated_error(output, model, vectors):
    store = save(output, model, vectors, "float16")
    read = store.embeddings()
    assert read.dtype == np.float32
    np.testing.assert_allclose(read, vectors, rtol=5e-4, atol=1e-7)
    assert not np.array_equal(read, vectors)


def test_the_header_says_what_made_it(store, model):
    header = store.header
    assert header.model == model.metadata
    assert (header.model_sha256, header.output, header.dim, header.dtype) == (model.sha256, "embedding", DIM, "float32")
    assert (header.root, header.providers, store.classes) == ("/photos", ("CPU",), ["cat", "dog"])


def test_the_model_inside_is_the_one_that_made_it(store, model):
    assert store.model().data == model.data


def test_another_model_inside_is_refused(tmp_path, model, backbone_bytes, vectors):
    store = save(tmp_path / "a.emb", model, vectors)
    (tmp_path / "a.emb/model.onnx").write_bytes(backbone_bytes(seed=1))
    with pytest.raises(StoreError, match="not the one that made its rows"):
        store.model()


def test_a_folder_without_its_model_is_told(tmp_path, model, vectors):
    store = save(tmp_path / "a.emb", model, vectors)
    (tmp_path / "a.emb/model.onnx").unlink()
    with pytest.raises(StoreError, match=r"model\.onnx: cannot be read"):
        store.model()


def test_a_shard_on_its_own_carries_no_model(tmp_path, model, vectors):
    save(tmp_path / "a.emb", model, vectors)
    with pytest.raises(StoreError, match="contains no model"):
        open_store(shards_of(tmp_path / "a.emb")[0]).model()


def test_plain_h5py_reads_one_file(tmp_path, model, vectors):
    save(tmp_path / "photos.h5", model, vectors)
    with h5py.File(tmp_path / "photos.h5") as file:
        embedding, label = file["embedding"][:], file["label"][:]
        classes = file.attrs["classes"]
    np.testing.assert_array_equal(embedding, vectors)
    assert [classes[code] for code in label[:3]] == [b"cat", b"dog", b"cat"]


@pytest.mark.parametrize("cut", [1, 511, 513, -1, -1000])
def test_a_truncated_file_is_refused(store, cut):
    file = a_file_of(store.location)
    os.truncate(file, cut if cut > 0 else file.stat().st_size + cut)
    assert any(text in refusal(store.location) for text in ("damaged", "expected an embedding store"))


def test_an_altered_file_is_refused(store):
    file = a_file_of(store.location)
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)
    assert f"{file}: damaged" in refusal(store.location)


def test_a_shard_under_the_name_of_another_is_refused(tmp_path, model, vectors):
    save(tmp_path / "a.emb", model, vectors)
    first, second, *_ = shards_of(tmp_path / "a.emb")
    shutil.copy(second, first)
    assert "name does not match its digest" in refusal(tmp_path / "a.emb")


def test_a_missing_store_is_told_with_what_makes_one(tmp_path):
    assert "no such store; make one with `headstart embed" in refusal(tmp_path / "photos.h5")


def test_an_unfinished_store_is_told_with_what_finishes_it(tmp_path):
    (tmp_path / "photos.h5.parts").mkdir()
    message = refusal(tmp_path / "photos.h5")
    assert "its run has not finished" in message
    assert str(tmp_path / "photos.h5.parts") in message


def test_a_folder_without_shards_is_refused(tmp_path):
    assert "without finished shards" in refusal(tmp_path)


def test_shards_of_two_models_are_not_mixed(tmp_path, model, backbone_bytes, vectors):
    save(tmp_path / "a.emb", model, vectors)
    save(tmp_path / "b.emb", parse_model(backbone_bytes(seed=1), "other.onnx"), vectors)
    shutil.copy(shards_of(tmp_path / "b.emb")[-1], tmp_path / "a.emb")
    assert "holds rows of another model" in refusal(tmp_path / "a.emb")


def rewritten(store: Store, change) -> Path:
    """Alter a file through h5py, as another program would, and give it the digest that its bytes then have."""
    with h5py.File(store.location, "r+") as file:
        change(file)
    data = store.location.read_bytes()[USER_BLOCK:]
    line = f"headstart-store 1 sha256 {hashlib.sha256(data).hexdigest()}\n".encode()
    store.location.write_bytes(line.ljust(USER_BLOCK, b"\0") + data)
    return store.location


def _of_schema_2(file):
    file.attrs["schema"] = 2


def _without_labels(file):
    del file["label"]


def _with_short_labels(file):
    del file["label"]
    file["label"] = np.zeros(3, "i4")


def _of_another_width(file):
    file.attrs["dim"] = DIM + 1


def _without_classes(file):
    del file.attrs["classes"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_of_schema_2, "expected headstart-store schema 1, found headstart-store 2"),
        (_without_labels, "expected a dataset 'label'"),
        (_without_classes, "not an embedding store of this version"),
        (_with_short_labels, "columns differ in length"),
        (_of_another_width, "does not fit its header"),
    ],
)
def test_a_file_of_another_schema_is_refused(tmp_path, model, vectors, change, reason):
    store = save(tmp_path / "a.h5", model, vectors)
    assert reason in refusal(rewritten(store, change))


def test_rows_are_taken(store):
    rows = store.rows.take(np.array([3, 1]))
    assert rows.path.tolist() == [b"0003.jpg", b"0001.jpg"]
    assert len(rows) == 2
