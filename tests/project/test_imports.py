"""The rules of docs/architecture.md about imports, held by the syntax trees of our files."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("export", "extract", "classify", "tune")
FOLDERS = (*PARTS, "headstart")

# Which folders a folder's files may import. A folder may always import itself and the ground floor, `files`.
EXTRACT = {
    "extract.decoding": set(),
    "extract.sources": {"extract.decoding"},
    "extract.inference": set(),
    "extract.store": {"extract.sources", "extract.inference"},
    "extract.engines": {"extract.decoding", "extract.sources", "extract.inference", "extract.store"},
}
CLASSIFY = {
    "classify.split": set(),
    "classify.labels": set(),
    "classify.heads": {"classify.split"},
    "classify.confidence": {"classify.split", "classify.heads"},
    "classify.artifact": {"classify.split", "classify.heads", "classify.confidence"},
    "classify.scoring": {"classify.artifact"},
    "classify.evaluation": {
        "classify.labels",
        "classify.split",
        "classify.heads",
        "classify.confidence",
        "classify.artifact",
    },
    "classify.report": {"classify.heads", "classify.confidence", "classify.evaluation"},
}
ALLOWED = {
    "files": set(),
    "export": {"export"},
    "extract": set(EXTRACT),
    **{folder: {"extract", *others} for folder, others in EXTRACT.items()},
    "classify": {"extract", *CLASSIFY},
    **{folder: {"classify", "extract", *others} for folder, others in CLASSIFY.items()},
    "tune": {"tune", "export", "extract", "classify"},
    "demo": {"demo"},
    "serve": {"classify", "extract"},
    "headstart": {"export", "extract", "classify", "tune", "demo", "serve", "headstart"},
}
KERAS = {"tensorflow", "keras", "tf2onnx"}
LOADERS = {"import_module", "__import__"}
ONLY_HERE = {
    "onnxruntime": {"extract/inference/", "export/conversion/", "export/quantization/"},
    "openvino": {"extract/inference/"},
    "PIL": {"extract/decoding/", "extract/thumbnails.py", "headstart/demo/"},
    "sklearn": {"classify/heads/", "classify/report/map.py", "headstart/embedder.py"},
    "skl2onnx": {"classify/heads/converted.py"},
    "ray": {"extract/engines/ray_cluster.py"},
    "cleanlab": {"classify/evaluation/label_issues.py"},
    "jinja2": {"classify/report/"},
    "starlette": {"headstart/serve/"},
    "uvicorn": {"headstart/serve/"},
    "prometheus_client": {"headstart/serve/"},
    "typer": {"headstart/"},
    "rich": {"headstart/"},
}


@cache
def modules() -> dict[str, Path]:
    """Give every file of ours by its module name; links are other names of the same files."""
    found = {}
    for folder in FOLDERS:
        for file in (ROOT / folder).rglob("*.py"):
            if not any(parent.is_symlink() for parent in file.parents):
                name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
                found[name if folder == "headstart" else f"headstart.{name}"] = file
    return found


def imports_of(source: str, *, with_types: bool = True) -> Iterator[str]:
    """Give the dotted names that a file imports anywhere in it, by a statement or by name."""
    tree = ast.parse(source)
    for_types = set() if with_types else {n for block in ast.walk(tree) if is_for_types(block) for n in ast.walk(block)}
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that each shows which folder it crosses into"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in LOADERS:
            yield from (text.value for arg in node.args for text in ast.walk(arg) if is_text(text))


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def module_of(name: str) -> str | None:
    """Give our module that a dotted name is, or lies in."""
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name or None


def imported_modules(file: Path) -> set[str]:
    names = imports_of(file.read_text(encoding="utf-8"), with_types=False)
    return {module for name in names if name.startswith("headstart") and (module := module_of(name))}


def folder_of(module: str) -> str:
    """Name the folder whose rule a module is under, for example ``extract.store`` or ``files``."""
    parts = module.split(".")[1:]
    return next((name for name in (".".join(parts[:2]), ".".join(parts[:1])) if name in ALLOWED), "headstart")


def children_of(folders: set[str]) -> set[str]:
    """Give the folders that lie in others."""
    return {name for name in ALLOWED if name.partition(".")[0] in folders and "." in name}


def test_the_reader_of_imports_sees_every_kind():
    source = """
import a.b, c as d
from e.f import g
if TYPE_CHECKING:
    from t import u
def h():
    import i
    if 1:
        from j import k
import_module("l")
importlib.import_module(f"m.{x}")
__import__("n")
"""
    assert set(imports_of(source)) == {"a.b", "c", "e.f.g", "t.u", "i", "j.k", "l", "m.", "n"}
    assert "t.u" not in set(imports_of(source, with_types=False))


def test_no_files_import_each_other_in_a_ring():
    graph = {module: imported_modules(file) - {module} for module, file in modules().items()}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_folder_imports_only_the_folders_it_may(folder):
    files = {module: file for module, file in modules().items() if folder_of(module) == folder}
    assert files
    allowed = ALLOWED[folder] | {folder, "files"}
    faults = {
        (module, other)
        for module, file in files.items()
        for other in imported_modules(file)
        if other != "headstart" and folder_of(other) not in allowed | children_of(allowed - {folder.partition(".")[0]})
    }
    assert faults == set()


def test_nothing_is_imported_by_an_old_top_level_name():
    for file in (file for name in (*FOLDERS, "tests", "bench", "torture") for file in (ROOT / name).rglob("*.py")):
        if not any(parent.is_symlink() for parent in file.parents):
            names = {name.partition(".")[0] for name in imports_of(file.read_text(encoding="utf-8"))}
            assert names & set(PARTS) == set(), file


@pytest.mark.parametrize("part", PARTS)
def test_the_parts_are_not_importable_by_their_own_names(part, tmp_path):
    """The editable install shows `headstart` alone, as the wheel does."""
    command = [sys.executable, "-E", "-c", f"import headstart, {part}"]  # PYTHONPATH may hold the checkout
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert f"No module named '{part}'" in done.stderr


def test_tensorflow_is_for_the_export_alone():
    users = {
        module
        for module, file in modules().items()
        if {name.partition(".")[0] for name in imports_of(file.read_text(encoding="utf-8"))} & KERAS
    }
    assert {module for module in users if not module.startswith("headstart.export.")} == set()


@pytest.mark.parametrize("package", ONLY_HERE)
def test_a_heavy_package_has_its_few_places(package):
    users = {
        file.relative_to(ROOT).as_posix()
        for file in modules().values()
        if package in {name.partition(".")[0] for name in imports_of(file.read_text(encoding="utf-8"))}
    }
    assert users
    assert {user for user in users if not user.startswith(tuple(ONLY_HERE[package]))} == set()


def test_no_folder_is_crowded():
    ours = [*modules().values(), *(ROOT / "bench").rglob("*.py"), *(ROOT / "torture").rglob("*.py")]
    files = [file for file in ours if file.name != "__init__.py"]
    counts = {folder: sum(file.parent == folder for file in files) for folder in {file.parent for file in files}}
    assert {str(folder): count for folder, count in counts.items() if count > 15} == {}
