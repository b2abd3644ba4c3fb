"""Files are read alike whether HDF5 has parsed them or only the one before them."""

import errno
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from headstart.extract.errors import StoreError
from headstart.extract.inference.model import parse_model
from headstart.extract.metadata import Metadata
from headstart.extract.sources.items import Item
from headstart.extract.store import shard_reader
from headstart.extract.store.rows import Outcome, to_rows, to_vectors, write_shard
from headstart.extract.store.schema import Header
from headstart.extract.store.shard_reader import ShardReader

DIM = 16


@pytest.fixture(scope="module")
def header(backbone_bytes) -> Header:
    model = parse_model(backbone_bytes(), "tiny.onnx")
    return Header(model.metadata, model.sha256, "embedding", (DIM,), "float16", ("cat", "dog"), "/photos", ("CPU",))


@pytest.fixture
def shard(tmp_path, header):
    """Write a shard of drawn rows."""

    def write(number: int, rows: int = 20, header: Header = header, folder: str = "") -> Path:
        rng, taken = np.random.default_rng(number), Metadata("2024-05-01T12:30:00", "Cam 1", 1.5, -2.5)
        outcomes = [
            Outcome(
                Item(f"{folder}{number:03}/{row:04}.jpg".encode(), row, row, header.classes[rng.integers(2)]),
                rng.bytes(32), int(rng.integers(1 << 40)), row, rng.normal(size=DIM).astype(np.float32),
                metadata=taken if header.has_metadata and row % 2 else None,
            )
            for row in range(rows)
        ]  # fmt: skip
        columns = to_rows(outcomes, header.classes), to_vectors(outcomes, header)
        return write_shard(tmp_path, header, number, *columns)

    return write


@pytest.fixture
def parsed(monkeypatch) -> list[object]:
    """Note each time that HDF5 parses a file."""
    seen: list[object] = []
    original = shard_reader._parse
    monkeypatch.setattr(shard_reader, "_parse", lambda *args: seen.append(args) or original(*args))
    return seen


def through_hdf5(path: Path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {name: dataset[:] for name, dataset in file.items()}


def assert_is_read(reader: ShardReader, path: Path, header: Header) -> None:
    """Compare with what HDF5 itself reads from the file."""
    shard, expected = reader.read(path), through_hdf5(path)
    columns = shard.rows.columns()
    with open(path, "rb") as file:
        columns["embedding"] = shard.vectors.read(file)
    assert columns.keys() == expected.keys()
    for name, values in columns.items():
        np.testing.assert_array_equal(values, expected[name], name)
        assert values.dtype == expected[name].dtype
        assert values.flags.owndata or values.base.flags.owndata  # or it would hold the whole file
    assert shard.header == header


def test_files_that_differ_only_in_values_are_parsed_once(shard, header, parsed):
    reader = ShardReader()
    for path in [shard(number) for number in range(1, 8)]:
        assert_is_read(reader, path, header)
    assert len(parsed) == 1


def test_files_of_other_lengths_paths_and_headers_are_parsed_each(shard, header, parsed):
    reader = ShardReader()
    changes = {"classes": ("cat", "eel")}, {"root": "/others"}, {"dtype": "float32"}, {"has_metadata": True}
    others = [replace(header, **change) for change in changes]
    paths = [
        (shard(1), header),
        (shard(2, rows=21), header),
        (shard(3, folder="a/longer/"), header),
        (shard(4), header),
    ]
    paths += [(shard(10 + number, header=other), other) for number, other in enumerate(others)]
    for path, own in paths:
        assert_is_read(reader, path, own)
    assert len(parsed) == len(paths) - 1  # the fourth is as the first


def test_no_rows_are_read_as_none(shard, header):
    assert_is_read(ShardReader(), shard(1, rows=0), header)


def test_rows_anywhere_in_a_file_are_read(shard):
    path = shard(1, rows=30)
    with open(path, "rb") as file:
        vectors = ShardReader().read(path).vectors
        np.testing.assert_array_equal(vectors.read(file, 7, 5), through_hdf5(path)["embedding"][7:12])
        with pytest.raises(ValueError, match="ends before"):
            vectors.read(file, 29, 200)


def test_single_files_are_parsed_each_time(shard, header, parsed, monkeypatch, tmp_path):
    monkeypatch.setattr(shard_reader, "LAYOUTS", 3)
    reader = ShardReader()
    for number in range(1, 9):
        assert_is_read(reader, shard(number, rows=number), header)
    single = shard(9).rename(tmp_path / "photos.h5")
    for _ in range(2):
        assert_is_read(reader, single, header)
    assert len(parsed) == 10


def test_a_fault_of_the_system_is_not_taken_for_another_schema(shard, monkeypatch):
    def fail(*_args):
        raise OSError(errno.EIO, "Input/output error")

    path = shard(1)
    monkeypatch.setattr(shard_reader.Span, "read", fail)
    with pytest.raises(StoreError, match="cannot be read: Input/output error"):
        ShardReader().read(path)


def test_a_shard_that_was_removed_is_reported(shard):
    path = shard(1)
    path.unlink()
    with pytest.raises(StoreError, match="was removed because its run finished; reopen"):
        ShardReader().read(path)
