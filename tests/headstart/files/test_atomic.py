import errno
import io
import os
import stat
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from headstart.files.atomic import (
    TEMPORARY,
    atomic_file,
    check_model_output,
    check_output,
    remove_unfinished,
    remove_unfinished_of,
    sync_folder,
    write_all,
    write_file,
)
from headstart.files.errors import OutputError


@pytest.fixture
def target(tmp_path) -> Path:
    path = tmp_path / "photos.h5"
    path.write_bytes(b"as it was")
    return path


class Slow(io.RawIOBase):
    """A raw file that takes at most 7 bytes a call."""

    def __init__(self) -> None:
        self.held = b""

    def write(self, data) -> int:
        taken = bytes(data[:7])
        self.held += taken
        return len(taken)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_when_the_block_ends(target):
    with atomic_file(target) as file:
        file.write(b"new")
        assert target.read_bytes() == b"as it was"
        assert len(names(target.parent)) == 2
    assert target.read_bytes() == b"new"
    assert names(target.parent) == ["photos.h5"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_in_the_block_leaves_everything_as_it_was(target, error):
    def fail(file):
        file.write(b"new")
        raise error

    with pytest.raises(error), atomic_file(target) as file:
        fail(file)
    assert target.read_bytes() == b"as it was"
    assert names(target.parent) == ["photos.h5"]


def test_a_write_that_the_system_refuses_leaves_everything_as_it_was(target, file_size_limit):
    refused = pytest.raises(OutputError, match=r"photos\.h5: cannot be written: ")
    with refused as caught, file_size_limit(10_000), atomic_file(target) as file:
        write_all(file, bytes(10_001))
    assert "\n" not in str(caught.value)
    assert target.read_bytes() == b"as it was"
    assert names(target.parent) == ["photos.h5"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_that_shows_late_leaves_everything_as_it_was(target, monkeypatch, call):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(f"headstart.files.atomic.os.{call}", refuse)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"), atomic_file(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"as it was"
    assert names(target.parent) == ["photos.h5"]


def test_the_file_is_synced_before_it_is_renamed_and_its_folder_after(target, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr("headstart.files.atomic.os.fsync", lambda number: calls.append("sync") or fsync(number))
    monkeypatch.setattr("headstart.files.atomic.os.replace", lambda a, b: calls.append("rename") or replace(a, b))
    with atomic_file(target) as file:
        file.write(b"new")
    assert calls == ["sync", "rename", "sync"]


def test_a_missing_folder_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="No such file"), atomic_file(tmp_path / "none" / "a.h5"):
        pass


def test_a_long_name_has_room_for_the_temporary_one(tmp_path):
    target = tmp_path / ("x" * 252 + ".h5")
    with atomic_file(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("size", [0, 1, 7, 8, 1000])
def test_short_writes_are_continued(size):
    file, data = Slow(), os.urandom(size)
    write_all(file, data)
    assert file.held == data


def test_any_buffer_is_written_by_its_bytes():
    file = io.BytesIO()
    write_all(file, memoryview(b"12345678").cast("I"))
    assert file.getvalue() == b"12345678"


def test_unfinished_files_are_removed_and_nothing_else(tmp_path):
    for name in (f"{TEMPORARY}1-a.h5", f"{TEMPORARY}x", "part-1.h5", "model.onnx", ".lock"):
        (tmp_path / name).touch()
    remove_unfinished(tmp_path)
    assert names(tmp_path) == [".lock", "model.onnx", "part-1.h5"]


def test_a_folder_can_be_synced(tmp_path):
    sync_folder(tmp_path)
    with pytest.raises(FileNotFoundError):
        sync_folder(tmp_path / "none")


def test_an_output_that_can_be_written_is_let_pass(target):
    check_output(target)
    check_output(target.with_name("new.h5"))
    check_output(target.parent, is_folder=True)


@pytest.mark.parametrize(
    ("name", "reason"),
    [(".", "found a folder"), ("none/photos.h5", "does not exist; make it first")],
)
def test_an_output_that_cannot_be_written_is_refused(tmp_path, name, reason):
    with pytest.raises(OutputError, match=reason) as caught:
        check_output(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")


def test_an_output_that_may_not_be_written_is_refused(target, monkeypatch):
    monkeypatch.setattr("headstart.files.atomic.os.access", lambda path, mode: path != target)
    with pytest.raises(OutputError, match=r"photos\.h5: cannot be written \(permission denied\)"):
        check_output(target)


def test_a_folder_that_takes_no_files_is_refused(tmp_path, monkeypatch):
    def denied(**_options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", denied)
    with pytest.raises(OutputError, match=r"b\.h5: cannot be written \(Read-only file system\)"):
        check_output(tmp_path / "b.h5")


@pytest.mark.parametrize("name", ["backbone", "backbone.h5", "backbone.onnx.bak", "photo.jpg"])
def test_a_model_file_of_another_suffix_is_refused(name, tmp_path):
    with pytest.raises(OutputError, match=r"expected a name that ends in \.onnx") as error:
        check_model_output(tmp_path / name, "backbone")
    assert str(error.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize("content", [b"", b"another network", b"a headstart-classifier"])
def test_a_file_of_another_kind_is_not_replaced_by_a_model(content, tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"mine\.onnx: exists and is not a backbone; choose another output"):
        check_model_output(path, "backbone")
    path.write_bytes(b"a headstart-backbone")
    check_model_output(path, "backbone")


def test_a_write_replaces_the_file_whole_and_leaves_nothing_else(target):
    target.with_name(f"{TEMPORARY}99999-{target.name}").write_bytes(b"of a killed run")
    for content in (b"new", b"newer"):
        write_file(target, content)
        assert target.read_bytes() == content
    assert names(target.parent) == [target.name]


@pytest.mark.parametrize("name", ["photos.h5", "photos[1].h5", "a*b?.h5", "x" * 150 + ".h5"])
def test_only_the_leftovers_of_this_very_output_are_removed(tmp_path, name):
    mine, others = tmp_path / f".tmp-17-{name[-100:]}", [f".tmp-17-my-{name[-90:]}", f".tmp-17-{name[:9]}.onnx", "a.h5"]
    for path in [mine, *(tmp_path / other for other in others)]:
        path.touch()
    remove_unfinished_of(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_a_disk_that_refuses_to_delete_too_is_one_clear_error(tmp_path, monkeypatch):
    def refuse(*_arguments, **_options):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "unlink", refuse)
    monkeypatch.setattr(os, "fsync", refuse)
    with (
        pytest.raises(OutputError, match=r"a\.h5: cannot be written: Read-only"),
        atomic_file(tmp_path / "a.h5") as file,
    ):
        write_all(file, b"x")


def test_a_whole_write_deletes_what_killed_runs_left_and_spares_what_others_are_writing(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        living, dead = (tmp_path / f".tmp-{process}-a.onnx" for process in (other.pid, 2**22 + 7))
        for file in (living, dead):
            file.write_bytes(b"unfinished")
        write_file(tmp_path / "a.onnx", b"whole")
        other.communicate(b"\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == [living.name, "a.onnx"]
    assert (tmp_path / "a.onnx").read_bytes() == b"whole"
    write_file(tmp_path / "a.onnx", b"again")
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, mode):
    path = tmp_path / "file"
    write_file(path, b"old")
    path.chmod(mode)
    write_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize(
    ("code", "is_fault"), [("EINVAL", False), ("EOPNOTSUPP", False), ("ENOSYS", False), ("EIO", True)]
)
def test_file_systems_that_sync_no_folders_are_written_to(tmp_path, monkeypatch, code, is_fault):
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(getattr(errno, code), os.strerror(getattr(errno, code)))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError) if is_fault else nullcontext():
        write_file(tmp_path / "file", b"data")
    assert (tmp_path / "file").read_bytes() == b"data"
