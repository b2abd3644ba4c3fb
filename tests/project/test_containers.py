"""The steps of the Dockerfiles, run in an empty environment: no docker is needed."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SWAP = ("uninstall --yes onnxruntime", "-r requirements/gpu.txt")


def steps(name: str) -> list[list[tuple[str, str]]]:
    """Give the instructions of each stage as pairs of a word and the rest."""
    lines = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
    stages: list[list[tuple[str, str]]] = []
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stages.append([])
        if stages and word:
            stages[-1].append((word, rest))
    return stages


def test_the_images_run_as_a_user_and_name_no_address():
    for name in ("Dockerfile", "Dockerfile.gpu"):
        words = dict(steps(name)[-1])
        assert words["USER"] == "headstart"
        assert words["ENTRYPOINT"] == '["headstart"]'
        assert "://" not in (ROOT / name).read_text()
        assert "index" not in (ROOT / name).read_text()


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_the_cache_belongs_to_the_user_of_the_image(name):
    """Copies of stores at URLs are kept there."""
    *_, build, final = steps(name)
    given = [pair.partition("=") for word, rest in (*build, *final) if word == "ENV" for pair in rest.split()]
    (cache,) = {value for key, _, value in given if key == "HEADSTART_CACHE"}
    assert ("COPY", f"--from=build --chown=headstart:headstart {cache} {cache}") in final
    assert not cache.startswith("/opt/headstart/")  # a folder that is copied before keeps its owner


def test_the_image_for_gpus_differs_in_its_runtime_alone():
    cpu, (_, *gpu) = steps("Dockerfile"), steps("Dockerfile.gpu")
    assert cpu[-1][1:] == gpu[-1][1:]
    assert cpu[0][1:] == gpu[0][1:-2]
    assert [(word, rest.endswith(end)) for (word, rest), end in zip(gpu[0][-2:], SWAP, strict=True)] == [
        ("RUN", True)
    ] * 2


@pytest.fixture(scope="module")
def image() -> Iterator[tuple[Path, dict[str, str]]]:
    """Give a folder in which the steps of the Dockerfile were run as in /, and the environment of its last stage."""
    build, final = steps("Dockerfile")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        names = ("HOME", "LANG", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE", "PIP_FIND_LINKS", "PATH")
        # Bytecode would take half of the time.
        environment = {name: os.environ[name] for name in names if name in os.environ} | {"PIP_NO_COMPILE": "1"}
        place = root
        for word, rest in build[1:]:
            rest = rest.replace("/opt/", f"{root}/opt/")
            if word == "ENV":
                environment |= dict(pair.split("=") for pair in rest.split() if "NO_CACHE" not in pair)
            elif word == "WORKDIR":
                place = root / rest.strip("/")
                place.mkdir()
            elif word == "COPY":
                copy(*rest.split(), place)
            else:
                assert word == "RUN"
                command = rest.replace("python3 -m venv", f"{sys.executable} -m venv")
                done = subprocess.run(command, shell=True, cwd=place, env=environment, capture_output=True, text=True)
                assert done.returncode == 0, (command, done.stderr)
        (entries,) = (rest for word, rest in final if word == "ENV")
        given = dict(pair.split("=") for pair in entries.replace("/opt/", f"{root}/opt/").split())
        path = given.pop("PATH").replace("$PATH", os.environ["PATH"])
        yield root, {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1", **given}


def copy(source: str, target: str, place: Path) -> None:
    """Copy as docker does, with links as they are and without what .dockerignore leaves out."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    taken = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert [line for line in lines if not line.startswith(("!", "#"))] == ["*", "**/__pycache__"]
    for path in sorted(ROOT.iterdir()):
        if path.name in taken and (source == "." or path.name == source):
            goal = place / (path.name if source == "." else target)
            if path.is_dir():
                shutil.copytree(
                    path, goal, symlinks=True, dirs_exist_ok=True, ignore=lambda _, names: set(filter(is_cache, names))
                )
            else:
                shutil.copy(path, goal)


def is_cache(name: str) -> bool:
    return fnmatch(name, "__pycache__")


def test_the_image_trains_predicts_and_serves_and_stays_as_it_is(published_cache, image, tiny_photos):
    root, environment = image
    home, before = root / "home", sorted((root / "opt").rglob("*"))
    shutil.copytree(tiny_photos, home / "photos")
    started = {"cwd": home, "env": environment | {"HOME": str(home)}, "text": True}
    program = str(root / "opt/headstart/bin/headstart")
    for line in (["train", "photos", "-o", "trees.onnx"], ["predict", "trees.onnx", "photos/ash/000.png", "--json"]):
        done = subprocess.run([program, *line], capture_output=True, **started)
        assert done.returncode == 0, done.stderr
    (predicted,) = json.loads(done.stdout)["predictions"]
    assert not (home / ".cache").exists()
    command = [program, "serve", "trees.onnx", "--host", "0.0.0.0", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **started) as server:
        try:
            port = server.stdout.readline().partition(";")[0].rpartition(":")[2]
            data = (tiny_photos / "ash" / "000.png").read_bytes()
            request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", data, {"Content-Type": "image/png"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                (served,) = json.load(answer)["predictions"]
            server.terminate()
            assert server.wait(30) == 0
        finally:
            server.kill()
    assert served["label"] == predicted["label"]
    assert served["probability"] == pytest.approx(predicted["probability"], abs=2e-5)
    assert sorted((root / "opt").rglob("*")) == before
