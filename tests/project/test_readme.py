"""The commands and Python lines of README, and the Python lines of docs/formats.md, work one after the other."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.demo.pictures import draw_pictures

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
FORMATS = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
SHELL = [block for block in re.findall(r"```sh\n(.*?)```", README, re.S) if "headstart " in block]
PYTHON = re.findall(r"```python\n(.*?)```", README + FORMATS, re.S)


@pytest.fixture(scope="module")
def folder(published_cache, tmp_path_factory):
    """Return a folder with photos/ and new/."""
    folder = tmp_path_factory.mktemp("readme")
    draw_pictures(folder / "photos", per_class=24)
    draw_pictures(folder / "new", per_class=2, seed=1, broken=False)
    return folder


@pytest.fixture
def run(folder, published_cache):
    """Run a command in the folder, with the published weights in its cache, and return what it printed."""

    def run(*command: str) -> str:
        environment = os.environ | {
            "HEADSTART_CACHE": str(published_cache),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_commands_and_python_run_one_after_the_other(folder, run, save_as):
    assert len(SHELL) == 1
    assert len(PYTHON) == 3
    printed = run("sh", "-e", "-c", SHELL[0])
    assert "flowers.h5: 120 embedded, 4 failed, of 124 images" in printed
    assert "new/rose/rose_0001.jpg\n  rose " in printed
    assert "predictions.csv: 10 scored, 0 failed" in printed
    save_as(folder, "export.py", PYTHON[0])
    run(sys.executable, "-W", "error", "export.py")
    probabilities, _ = [run(sys.executable, "-W", "error", "-c", block) for block in PYTHON[1:]]
    assert max(read_printed(probabilities), key=read_printed(probabilities).get) == "rose", probabilities


def test_the_python_lines_run_from_files_named_like_our_folders(run_readme_lines):
    run_readme_lines(Path(sys.executable))


def read_printed(text: str) -> dict[str, float]:
    """Read the printed dictionary of class names and probabilities."""
    return {name: float(value) for name, value in re.findall(r"'(\w+)': (?:np\.float32\()?([\d.e-]+)", text)}
