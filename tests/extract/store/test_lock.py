import errno
import fcntl
import os
import socket
import subprocess
import sys
import threading

import pytest

from headstart.extract import embed, merge
from headstart.extract.errors import BusyError, StoreError
from headstart.extract.store.lock import locked
from headstart.files.errors import OutputError

HOLDER = """
import sys, time
from pathlib import Path
from headstart.extract.store.lock import locked
with locked(Path(sys.argv[1]), Path("photos.h5")):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def lock(tmp_path):
    return tmp_path / ".photos.h5.lock"


def test_it_can_be_taken_again_once_it_is_released(lock):
    for _ in range(2):
        with locked(lock, "photos.h5"):
            assert lock.read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
    assert lock.exists()


def test_it_is_released_by_an_error(lock):
    with pytest.raises(ValueError), locked(lock, "photos.h5"):
        raise ValueError
    with locked(lock, "photos.h5"):
        pass


def test_a_second_holder_is_told_of_the_first_and_dies_with_it(lock):
    with subprocess.Popen([sys.executable, "-c", HOLDER, lock], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        for _ in range(2):  # the first refusal must not have wiped out the note
            with pytest.raises(BusyError, match=rf"photos\.h5: being written by process {holder.pid} on "):
                locked(lock, "photos.h5").__enter__()
        holder.kill()
        holder.wait()
        with locked(lock, "photos.h5"):
            pass


def test_a_note_of_a_dead_holder_means_nothing(lock):
    lock.write_text("process 1 on elsewhere\n")
    with locked(lock, "photos.h5"):
        assert "elsewhere" not in lock.read_text()


def test_a_holder_without_a_note_is_another_run(lock, monkeypatch):
    with locked(lock, "photos.h5"):
        lock.write_text("")
        with pytest.raises(BusyError, match="by another run; wait"):
            locked(lock, "photos.h5").__enter__()


def test_a_lock_that_cannot_be_made_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match=r"^photos\.h5: cannot be locked: "):
        locked(tmp_path, "photos.h5").__enter__()


def test_a_busy_store_is_a_store_error():
    assert issubclass(BusyError, StoreError)


def test_a_holder_that_notes_itself_late_is_waited_for(lock):
    with locked(lock, "photos.h5"):
        note = lock.read_text()
        lock.write_text("")
        threading.Timer(0.1, lock.write_text, [note]).start()
        with pytest.raises(BusyError, match=f"by process {os.getpid()} on "):
            locked(lock, "photos.h5").__enter__()


def test_a_note_that_a_killed_run_left_is_not_believed(lock):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    with locked(lock, "photos.h5"):
        lock.write_text(f"process {gone.pid} on {socket.gethostname()}\n")
        with pytest.raises(BusyError, match="by another run; wait"):
            locked(lock, "photos.h5").__enter__()


@pytest.fixture(params=["ENOLCK", "EOPNOTSUPP", "ENOSYS"])
def without_locks(request, monkeypatch):
    """Answer as a file system without locks: a network mount, or one in user space."""

    def flock(_file, _operation):
        raise OSError(getattr(errno, request.param), os.strerror(getattr(errno, request.param)))

    monkeypatch.setattr(fcntl, "flock", flock)


# anyvm-org/anyvm#35, ARPA-SIMC/arkimet#76, caracal-pipeline/caracal#1239 (ENOLCK), tox-dev/filelock#77 (ENOSYS)
def test_without_locks_a_file_keeps_others_out(lock, without_locks):
    for _ in range(2):
        with locked(lock, "photos.h5"):
            held = lock.with_name(".photos.h5.lock.held")
            assert held.exists()
            with pytest.raises(BusyError, match=rf"process {os.getpid()} on .* has no locks .* delete {held}"):
                locked(lock, "photos.h5").__enter__()
        assert not held.exists()


def test_without_locks_another_machine_is_believed_and_a_dead_process_of_this_one_is_not(lock, without_locks):
    held = lock.with_name(".photos.h5.lock.held")
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    held.write_text(f"{gone.pid}\n{socket.gethostname()}\n")
    with locked(lock, "photos.h5"):
        pass
    held.write_text("1\nanother-machine\n")
    lock.write_text("process 1 on another-machine\n")
    with pytest.raises(BusyError, match=r"process 1 on another-machine writes it"):
        locked(lock, "photos.h5").__enter__()


def test_without_locks_stores_are_made_merged_and_copied(
    without_locks, tiny_photos, tiny_backbone, tmp_path, monkeypatch
):
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    embed(tiny_photos, tiny_backbone, tmp_path / "a.h5")
    assert embed(tiny_photos, tiny_backbone, tmp_path / "a.h5")[1].computed == 0
    assert len(merge([tmp_path / "a.h5"], f"memory://{tmp_path}/merged.h5")) == 61
    assert not list(tmp_path.rglob("*.held"))
