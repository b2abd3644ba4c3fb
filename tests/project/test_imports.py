"""DESIGN's table of who may import whom, held by the syntax trees of the rooms."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("export", "extract", "classify", "tune", "headstart")
ALLOWED = {
    "export": {"export"},
    "extract": {"extract"},
    "classify": {"classify", "extract"},
    "tune": {"tune", "export", "extract", "classify"},
    "headstart": set(ROOMS),
}
KERAS = {"tensorflow", "keras", "tf2onnx"}
LOADERS = {"import_module", "__import__"}
ONLY_HERE = {
    "onnxruntime": {
        "extract/providers.py",
        "extract/sessions.py",
        "export/parity.py",
        "export/frameworks.py",
        "export/quantize.py",
    },
    "openvino": {"extract/providers.py", "extract/sessions.py"},
    "PIL": {
        "extract/decode.py",
        "extract/thumbnails.py",
        "headstart/backdrops.py",
        "headstart/flowers.py",
        "headstart/pictures.py",
    },
    "sklearn": {"classify/heads.py", "classify/report/map.py"},
    "ray": {"extract/ray_cluster.py"},
    "cleanlab": {"classify/mislabels.py"},
    "jinja2": {"classify/report/"},
    "typer": {"headstart/"},
    "rich": {"headstart/"},
}


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(source: str) -> set[str]:
    """Top-level names of what a module imports anywhere in it, by a statement or by name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that a room can be seen in them"
            found.add(node.module)
        elif isinstance(node, ast.Call) and called(node) in LOADERS:
            found |= {text.value for arg in node.args for text in ast.walk(arg) if is_text(text)}
    return {name.partition(".")[0] for name in found}


def called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_the_reader_of_imports_sees_every_kind():
    source = """
import a.b, c as d
from e.f import g
def h():
    import i
    if 1:
        from j import k
import_module("l")
importlib.import_module(f"m.{x}")
__import__("n")
"""
    assert imported(source) == set("aceijlmn")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_the_rooms_it_may(room):
    faults = {
        str(file.relative_to(ROOT)): forbidden
        for file in files(room)
        if (
            forbidden := imported(file.read_text(encoding="utf-8"))
            & {*ROOMS, "bench", "tests", "torture"} - ALLOWED[room]
        )
    }
    assert files(room)
    assert faults == {}


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "export"])
def test_tensorflow_is_for_the_export_alone(room):
    assert [file for file in files(room) if imported(file.read_text(encoding="utf-8")) & KERAS] == []


@pytest.mark.parametrize("package", ONLY_HERE)
def test_a_heavy_package_has_its_few_places(package):
    users = {
        file.relative_to(ROOT).as_posix()
        for room in ROOMS
        for file in files(room)
        if package in imported(file.read_text(encoding="utf-8"))
    }
    assert {user for user in users if not user.startswith(tuple(ONLY_HERE[package]))} == set()
