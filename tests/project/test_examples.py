"""The notebook runs from its first cell to its last, and is kept without outputs."""

import ast
import csv
import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from headstart.demo.pictures import KINDS

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "flowers.ipynb"
TEXT = NOTEBOOK.read_text(encoding="utf-8")
CODE = {cell["id"]: cell for cell in json.loads(TEXT)["cells"] if cell["cell_type"] == "code"}
NEEDED = {"tensorflow": "export", "cleanlab": "report", "jinja2": "report"}
MISFILED = ("tulip/rose_0003.jpg", "daisy/sunflower_0005.jpg")
NO_FLOWERS = {"gradient.png", "mandelbrot.png"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def outputs(real_weights, folder) -> dict[str, str]:
    """Run every cell in a new kernel, and return the output of each."""
    for package, extra in NEEDED.items():
        if find_spec(package) is None:
            pytest.skip(f"needs the extra `{extra}`")
    settings = {
        "HEADSTART_WEIGHTS": str(real_weights),
        "HEADSTART_EXAMPLE_FOLDER": str(folder / "made"),
        "HEADSTART_EXAMPLE_PICTURES": "20",
        "OMP_NUM_THREADS": "1",  # on cores that others use too, threads that wait for each other take ten times as long
        "OPENBLAS_NUM_THREADS": "1",
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        from nbclient import NotebookClient
        from nbformat import reads

        client = NotebookClient(reads(TEXT, 4), timeout=300, kernel_name="python3")
        done = client.execute(cwd=str(folder))
    return {cell.id: "".join(map(shown, cell.outputs)) for cell in done.cells if cell.cell_type == "code"}


def shown(output) -> str:
    """Return an output as text, or as HTML if it has that form."""
    return output["text"] if output.output_type == "stream" else output.data.get("text/html", "")


def test_no_cell_keeps_its_output():
    assert {
        name for name, cell in CODE.items() if cell["outputs"] or cell["execution_count"] or cell["metadata"]
    } == set()


def test_the_file_is_saved_cleanly():
    notebook = json.loads(TEXT)
    assert json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n" == TEXT
    assert notebook["metadata"] == {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }


@pytest.mark.parametrize("name", CODE)
def test_a_cell_is_plain_python(name):
    assert ast.parse("".join(CODE[name]["source"])).body


@pytest.mark.parametrize("rule", [["check", "--no-cache"], ["format", "--no-cache", "--check"]])
def test_the_notebook_is_as_clean_as_our_modules(rule):
    command = [sys.executable, "-m", "ruff", *rule, str(NOTEBOOK)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_notebook_trains_accurate_classifiers(outputs, folder):
    from headstart.classify import read_classifier

    made = folder / "made"
    first = read_classifier(made / "flowers.onnx")
    assert first.classes == read_classifier(made / "own.onnx").classes == list(KINDS)
    assert first.model.metadata["measured"]["accuracy"] >= 0.8
    accuracies = [float(found) for found in re.findall(r"\.onnx ([\d.]+)", outputs["own"])]
    assert len(accuracies) == 2
    assert min(accuracies) >= 0.8


def test_the_notebook_shows_its_results(outputs, folder):
    assert "100 embedded, 4 failed; 104 computed, 0 reused" in outputs["embed"]
    assert "X (100, 1280) float32" in outputs["arrays"]
    train, test = map(int, re.findall(r"(\d+) training images, (\d+) held-out images", outputs["train"])[0])
    assert train + test == 100
    assert 15 <= test <= 25  # a fifth, with duplicates kept on one side
    assert "calibration error" in outputs["figures"]
    assert "<polyline" in outputs["figures"]
    assert any(path in outputs["mistakes"] for path in MISFILED)
    assert [name for name in ("draw", "arrays", "mistakes", "score") if "data:image/jpeg" not in outputs[name]] == []
    assert (folder / "made" / "flowers.html").read_text(encoding="utf-8").lower().startswith("<!doctype html")


def test_the_notebook_scores_new_pictures(outputs, folder):
    with open(folder / "made" / "predictions.csv", encoding="utf-8", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    flowers = rows.keys() - NO_FLOWERS
    right = [path for path in flowers if rows[path]["label"] == path.partition("/")[0]]
    assert len(flowers) == 6 * len(KINDS)
    assert len(right) >= 0.8 * len(flowers)
    assert {path for path in NO_FLOWERS if rows[path]["unknown"] == "yes"} == NO_FLOWERS
    assert f"{len(right)} of {len(flowers)} agree with their folder" in outputs["score"]
    assert "rose" in outputs["runtime"]
