"""The wheel: `headstart` and nothing else, and in an empty environment it does everything but export."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    settings = {"capture_output": True, "text": True, "timeout": 600, "check": False, "env": environment} | options
    return subprocess.run([str(part) for part in command], **settings)


@pytest.fixture(autouse=True)
def _own_python_settings(monkeypatch):
    """Let processes import the wheel alone, and keep what they compile: without that, each import takes seconds."""
    for name in ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Give the folder of programs of an environment with the wheel and the locked run-time requirements."""
    folder = tmp_path_factory.mktemp("bare")
    built = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder)
    assert built.returncode == 0, built.stderr
    run(sys.executable, "-m", "venv", folder / "venv").check_returncode()
    programs = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    for arguments in (["--require-hashes", "-r", ROOT / "requirements" / "run.txt"], [*folder.glob("*.whl")]):
        installed = run(*pip, *arguments)  # the wheel itself brings nothing more: the lock has all that it requires
        assert installed.returncode == 0, installed.stderr
    return programs


@pytest.mark.parametrize("source", ["the checkout", "the sdist"])
def test_the_wheel_holds_headstart_alone(source, tmp_path):
    root = ROOT
    if source == "the sdist":
        assert run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path, cwd=ROOT).returncode == 0
        with tarfile.open(*tmp_path.glob("*.tar.gz")) as archive:
            archive.extractall(tmp_path, filter="data")
        (root,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path, cwd=root).returncode == 0
    with zipfile.ZipFile(*tmp_path.glob("*.whl")) as wheel:
        names = wheel.namelist()
    assert {name.rpartition("/")[2] for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}
    assert "headstart/export/mobilenet_v2/imagenet_classes.txt" in names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"headstart"}
    modules = {f"headstart/{part}/__init__.py" for part in ("classify", "export", "extract", "files", "tune")}
    assert modules | {"headstart/py.typed", "headstart/classify/report/page/report.css"} <= set(names)


def test_everything_but_export_runs_on_a_bare_install(bare, tiny_backbone, tiny_photos, tmp_path):
    headstart, store, classifier = bare / "headstart", tmp_path / "photos.h5", tmp_path / "classifier.onnx"
    for command in (
        ["embed", tiny_photos, "--model", tiny_backbone, "-o", store],
        ["train", store, "-o", classifier],
        ["score", tiny_photos, "--classifier", classifier, "-o", tmp_path / "predictions.csv"],
        ["inspect", classifier],
    ):
        done = run(headstart, *command)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "predictions.csv").stat().st_size > 0


def test_the_python_lines_of_readme_run_from_files_named_like_our_folders(bare, run_readme_lines):
    run_readme_lines(bare / "python")


def test_the_wheel_installs_headstart_alone(bare):
    (wheel,) = bare.parents[1].glob("*.whl")
    with ZipFile(wheel) as archive:
        top = {name.partition("/")[0] for name in archive.namelist()}
    assert top == {"headstart", f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"}


def test_export_says_which_extra_it_needs(bare, tmp_path):
    done = run(
        bare / "headstart", "export", "--backbone", "vgg16", "--weights", "random", "-o", tmp_path / "backbone.onnx"
    )
    assert done.returncode == 1
    assert "headstart[export]" in done.stderr
    assert "Traceback" not in done.stderr
