"""Limits of containers, as the kernel shows them in files."""

import os

import pytest

from headstart.files import cores as module
from headstart.files.cores import cores, machine_memory

V1 = "4:memory:/pod\n3:cpu,cpuacct:/pod/app\n1:name=systemd:/\n"


@pytest.fixture
def cgroups(tmp_path, monkeypatch):
    """Write the kernel's files; 64 cores are visible, as on a large node."""
    monkeypatch.setattr(module, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(module, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(64)), raising=False)

    def write(own: str, **files: str) -> None:
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            (path.parent / path.name.replace("_max", ".max").replace("cpu_cfs", "cpu.cfs")).write_text(text)

    return write


# predbat's report: springfall2008/batpred#4771; llmmanorg/llmman#322; a quota of 7.65 cores: tobocop2/lilbee#660;
# cgroup 1 and nested groups: ruby-concurrency/concurrent-ruby#1038, eclipse-openj9/openj9#1166.
@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"cpu_max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu_max": "765000 100000\n"}, 8),
        ("0::/\n", {"cpu_max": "50000 100000\n"}, 1),
        ("0::/\n", {"cpu_max": "max 100000\n"}, 64),
        ("0::/\n", {"cpu_max": "9900000 100000\n"}, 64),
        ("0::/a/b\n", {"cpu_max": "max 100000", "a__cpu_max": "300000 100000", "a__b__cpu_max": "max 100000"}, 3),
        ("0::/not/visible/here\n", {"cpu_max": "400000 100000\n"}, 4),
        (V1, {"cpu__pod__app__cpu_cfs_quota_us": "400000", "cpu__pod__app__cpu_cfs_period_us": "100000"}, 4),
        (V1, {"cpu__cpu_cfs_quota_us": "150000", "cpu__cpu_cfs_period_us": "100000"}, 2),
        (V1, {"cpu__cpu_cfs_quota_us": "-1", "cpu__cpu_cfs_period_us": "100000"}, 64),
        ("0::/\n", {"cpu_max": "no number"}, 64),
        ("nonsense\n", {"cpu_max": "200000 100000\n"}, 64),
        ("0::/\n", {}, 64),
    ],
)
def test_a_quota_counts_like_cores(cgroups, own, files, expected):
    cgroups(own, **files)
    assert cores() == expected


def test_without_cgroups_the_visible_cores_count(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "OWN_CGROUPS", tmp_path / "missing")
    assert cores() >= 1


@pytest.mark.parametrize("own", ["0::/\n", "0::/pod\n"])
def test_the_memory_of_a_container_counts(cgroups, own):
    before = machine_memory()
    cgroups(own, memory_max="1048576\n")
    assert machine_memory() == 1 << 20 < before
    cgroups(own, memory_max="max\n")
    assert machine_memory() == before
