"""README's Python lines, saved under the name of one of our folders, beside files that have the others' names."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[2] / "README.md"
NAMES = ("export.py", "extract.py", "classify.py", "tune.py")


@pytest.fixture(scope="session")
def save_as() -> Callable[[Path, str, str], None]:
    """Return a function that saves lines as `name`, and under the other names a file that must not be imported."""

    def save(folder: Path, name: str, lines: str) -> None:
        for other in NAMES:
            (folder / other).write_text(lines if other == name else 'raise SystemExit("imported a file of the user")\n')

    return save


@pytest.fixture(scope="module", params=NAMES)
def run_readme_lines(request, save_as, tiny_backbone, tiny_photos, tmp_path_factory) -> Callable[[Path], None]:
    """Return a function that runs README's Python lines, but for the export, under one of the names."""
    folder = tmp_path_factory.mktemp("namesakes")
    for name in ("photos", "new"):
        (folder / name).symlink_to(tiny_photos)
    shutil.copy(tiny_backbone, folder / "backbone.onnx")
    (lines,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)
    without_export = lines.replace('headstart.export_backbone("backbone.onnx")\n', "")
    assert without_export != lines
    save_as(folder, request.param, without_export)

    def run(python: Path) -> None:
        command = [python, request.param]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert (folder / "predictions.csv").read_text(encoding="utf-8").count("\n") == 62

    return run
