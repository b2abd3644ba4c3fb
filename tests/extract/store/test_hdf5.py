import hashlib
import os
import string
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from headstart.extract.errors import StoreError
from headstart.extract.store.hdf5 import USER_BLOCK, Column, verify, write_hdf5
from headstart.files.errors import OutputError

DTYPES = ["i1", "u1", "<i4", ">i4", "<i8", "<u8", "<f2", "<f4", ">f8", "S1", "S37", "?"]
NAMES = st.text(string.ascii_letters, min_size=1, max_size=20)
COLUMN = st.tuples(
    st.sampled_from(DTYPES), arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=6)
).flatmap(lambda kind: arrays.arrays(np.dtype(kind[0]), kind[1]))


def read(path: Path) -> tuple[dict, dict]:
    with h5py.File(path, "r") as file:
        return dict(file.attrs), {name: dataset[:] for name, dataset in file.items()}


@pytest.fixture
def written(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    columns = {
        "embedding": Column.of(rng.normal(size=(40, 16)).astype(np.float16)),
        "path": Column.of(np.array([f"cat/{i}.jpg" for i in range(40)], np.bytes_)),
    }
    write_hdf5(tmp_path / "a.h5", {"format": "test", "classes": np.array([b"cat", b"dog"])}, columns)
    return tmp_path / "a.h5"


@given(
    attributes=st.dictionaries(NAMES, st.text(st.characters(exclude_characters="\0", codec="utf-8")), max_size=12),
    columns=st.dictionaries(NAMES, COLUMN, max_size=12),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_what_is_written_is_read_and_verified(tmp_path_factory, attributes, columns):
    path = tmp_path_factory.mktemp("hdf5") / "a.h5"
    digest = write_hdf5(path, attributes, {name: Column.of(values) for name, values in columns.items()})
    assert verify(path) == digest
    found_attributes, found = read(path)
    assert found_attributes == attributes
    assert found.keys() == columns.keys()
    for name, values in columns.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize(("names", "length"), [(0, 1), (300, 250), (30_000, 20)])
def test_any_number_of_class_names_is_held(tmp_path, names, length):
    classes = np.array([f"{i:0{length}}".encode() for i in range(names)], dtype=bytes)
    write_hdf5(tmp_path / "a.h5", {"classes": classes}, {"x": Column.of(np.arange(5))})
    verify(tmp_path / "a.h5")
    attributes, columns = read(tmp_path / "a.h5")
    assert attributes["classes"].tolist() == classes.tolist()
    assert columns["x"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("count", [1, 8, 9, 40, 300])
def test_any_number_of_columns_is_held(tmp_path, count):
    columns = {f"c{i}": Column.of(np.arange(i)) for i in range(count)}
    write_hdf5(tmp_path / "a.h5", {}, columns)
    assert {name: len(values) for name, values in read(tmp_path / "a.h5")[1].items()} == {
        f"c{i}": i for i in range(count)
    }


def test_a_column_may_come_in_pieces(tmp_path):
    values = np.arange(60, dtype=np.float32).reshape(20, 3)
    pieces = iter([values[:7], values[7:7], values[7:8], values[8:]])
    write_hdf5(tmp_path / "a.h5", {}, {"x": Column(values.dtype, values.shape, pieces), "y": Column.of(values)})
    _, columns = read(tmp_path / "a.h5")
    np.testing.assert_array_equal(columns["x"], values)
    np.testing.assert_array_equal(columns["y"], values)


def test_values_that_lie_scattered_in_memory_are_written_in_order(tmp_path):
    values = np.arange(60).reshape(5, 12).T[::2]
    write_hdf5(tmp_path / "a.h5", {}, {"x": Column.of(values)})
    np.testing.assert_array_equal(read(tmp_path / "a.h5")[1]["x"], values)


def test_a_meaning_may_be_given_to_the_same_bytes(tmp_path):
    colour = h5py.enum_dtype({"red": 0, "blue": 1}, basetype="i1")
    write_hdf5(tmp_path / "a.h5", {}, {"x": Column.of(np.array([0, 1, 1], np.int8), colour)})
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert h5py.check_enum_dtype(file["x"].dtype) == {"red": 0, "blue": 1}
        assert file["x"][:].tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    "pieces",
    [[np.zeros((4, 3), "f4")], [np.zeros((6, 3), "f4")], [np.zeros((5, 3), "f8")], [np.zeros((5, 2), "f4")], []],
    ids=["too few", "too many", "another dtype", "another length", "none"],
)
def test_pieces_that_do_not_fit_their_column_leave_no_file(tmp_path, pieces):
    with pytest.raises(ValueError):
        write_hdf5(tmp_path / "a.h5", {}, {"x": Column(np.dtype("f4"), (5, 3), pieces)})
    assert list(tmp_path.iterdir()) == []


def test_the_user_block_is_one_line_with_the_digest_of_the_rest(written):
    data = written.read_bytes()
    line, rest = data[:USER_BLOCK].rstrip(b"\0"), data[USER_BLOCK:]
    assert line == b"headstart-store 1 sha256 " + hashlib.sha256(rest).hexdigest().encode() + b"\n"
    assert rest.startswith(b"\x89HDF\r\n\x1a\n")


def test_datasets_are_contiguous_so_that_any_reader_can_map_them(written):
    with h5py.File(written, "r") as file:
        assert file["embedding"].chunks is None
        offset = file["embedding"].id.get_offset()
        mapped = np.memmap(written, np.float16, "r", offset, file["embedding"].shape)
        np.testing.assert_array_equal(mapped, file["embedding"][:])


def test_the_same_content_gives_the_same_bytes(tmp_path):
    for name in ("a.h5", "b.h5"):
        write_hdf5(tmp_path / name, {"k": "v"}, {"x": Column.of(np.arange(9)), "y": Column.of(np.ones((2, 2)))})
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def refusal(path: Path) -> str:
    with pytest.raises(StoreError) as caught:
        verify(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("block", range(4))
def test_every_flipped_bit_is_noticed(written, block):
    data = written.read_bytes()
    rng = np.random.default_rng(block)
    in_user_block, anywhere = rng.integers(0, USER_BLOCK, 15), rng.integers(0, len(data), 35)
    for at in [*in_user_block, *anywhere]:
        altered = bytearray(data)
        altered[at] ^= 1 << rng.integers(8)
        written.write_bytes(altered)
        refusal(written)
    written.write_bytes(data)
    verify(written)


@pytest.mark.parametrize("kept", [0, 1, 25, 511, 512, 513, -1, -4096])
def test_a_file_that_was_cut_off_is_refused(written, kept):
    os.truncate(written, kept if kept >= 0 else written.stat().st_size + kept)
    refusal(written)


@pytest.mark.parametrize("more", [b"\0", b"x", bytes(5000)])
def test_a_file_that_was_added_to_is_refused(written, more):
    with open(written, "ab") as file:
        file.write(more)
    assert "damaged" in refusal(written)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "an empty file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(600), "an HDF5 file"),
        (b"some text", "a text file"),
        (b"\xff\xd8\xff\xe0" + bytes(900), "an image"),
        (b"\x01\x02\x03", "another kind of file"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path, data, kind):
    (tmp_path / "a.h5").write_bytes(data)
    assert f"expected an embedding store, found {kind}; make one" in refusal(tmp_path / "a.h5")


def test_a_missing_file_is_told_with_what_makes_one(tmp_path):
    assert "headstart embed" in refusal(tmp_path / "none.h5")


def test_a_folder_is_refused(tmp_path):
    assert "cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize("room", [100, USER_BLOCK, 2000, 100_000])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(written, room, file_size_limit):
    before = written.read_bytes()
    with pytest.raises(OutputError, match=r"a\.h5: cannot be written"), file_size_limit(room):
        write_hdf5(written, {"k": "v"}, {"x": Column.of(np.zeros(100_000))})
    assert written.read_bytes() == before
    assert [path.name for path in written.parent.iterdir()] == ["a.h5"]


def test_the_same_content_gives_the_same_bytes_at_any_hour(tmp_path):
    for name, wait in (("a.h5", 0.0), ("b.h5", 1.1)):
        time.sleep(wait)  # HDF5 notes times in whole seconds, if it does
        write_hdf5(tmp_path / name, {"k": "v"}, {"x": Column.of(np.arange(9))})
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
