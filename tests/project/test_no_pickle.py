"""Nothing of ours runs code out of a file: no pickles, no eval, no exec."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PICKLES = {"pickle", "_pickle", "cPickle", "joblib", "dill", "cloudpickle", "shelve", "marshal", "jsonpickle"}
CALLS = {"eval", "exec"}


def tracked() -> list[Path]:
    """Every Python file that git knows or would take in; all of them where there is no git."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        listed = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if ".venv" not in path.parts]
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def faults(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.partition(".")[0] in PICKLES]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in PICKLES:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id in CALLS:
                found.append(node.func.id)
            found += [str(key.arg) for key in node.keywords if key.arg == "allow_pickle" and not is_false(key.value)]
    return found


def is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    import joblib",
        "from dill import loads",
        "import cloudpickle as harmless",
        "eval('1')",
        "x = [exec(y) for y in z]",
        "numpy.load(f, allow_pickle=True)",
        "numpy.load(f, allow_pickle=flag)",
    ],
)
def test_each_fault_is_seen(source):
    assert len(faults(source)) == 1


@pytest.mark.parametrize("source", ["numpy.load(f, allow_pickle=False)", "model.eval()", "pickled = 1"])
def test_what_is_harmless_is_not(source):
    assert faults(source) == []


def test_no_file_of_ours_unpickles_or_evaluates():
    found = {str(path.relative_to(ROOT)): faults(path.read_text(encoding="utf-8")) for path in tracked()}
    assert len(found) > 40
    assert {path: names for path, names in found.items() if names} == {}
