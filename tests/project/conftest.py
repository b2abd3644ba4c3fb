"""README's Python lines, saved under the name of one of our folders, beside files that have the others' names."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from headstart.demo.pictures import draw_pictures

README = Path(__file__).resolve().parents[2] / "README.md"
NAMES = ("export.py", "extract.py", "classify.py", "tune.py")


@pytest.fixture(scope="session")
def save_as() -> Callable[[Path, str, str], None]:
    """Return a function that saves lines as `name`, and under the other names a file that must not be imported."""

    def save(folder: Path, name: str, lines: str) -> None:
        for other in NAMES:
            (folder / other).write_text(lines if other == name else 'raise SystemExit("imported a file of the user")\n')

    return save


@pytest.fixture(scope="session")
def few_flowers(tmp_path_factory) -> Path:
    """Draw photos/ and new/ for README's lines."""
    folder = tmp_path_factory.mktemp("flowers")
    draw_pictures(folder / "photos", per_class=8, broken=False)
    draw_pictures(folder / "new", per_class=1, seed=1, broken=False)
    return folder


@pytest.fixture(scope="module", params=NAMES)
def run_readme_lines(request, save_as, few_flowers, published_cache, tmp_path_factory) -> Callable[[Path], None]:
    """Return a function that runs README's Python lines under one of the names."""
    folder = tmp_path_factory.mktemp("namesakes")
    for name in ("photos", "new"):
        (folder / name).symlink_to(few_flowers / name)
    (lines,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    save_as(folder, request.param, lines)
    environment = os.environ | {"HEADSTART_CACHE": str(published_cache)}

    def run(python: Path) -> None:
        command = [python, request.param]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        assert (folder / "predictions.csv").read_text(encoding="utf-8").count("\n") == 6

    return run
