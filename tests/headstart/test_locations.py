"""Commands read images, stores, backbones and classifiers at URLs as they do local ones, and reject other URLs."""

from pathlib import Path
from typing import get_args, get_type_hints

import pytest

fsspec = pytest.importorskip("fsspec")

READ = [
    ("embed", "images", "embed {it} --model {backbone} -o x.h5", "photos", "60 embedded, 1 failed"),
    ("embed", "model", "embed {photos} --model {it} -o x.h5", "backbone", "60 embedded, 1 failed"),
    ("merge", "stores", "merge {it} -o x.h5", "store", "60 embedded, 1 failed"),
    ("train", "source", "train {it} -o x.onnx", "store", "accuracy 1.0000"),
    ("train", "source", "train {it} --backbone {backbone} -o x.onnx", "photos", "60 embedded, 1 failed"),
    ("train", "backbone", "train {photos} --backbone {it} -o x.onnx", "backbone", "60 embedded, 1 failed"),
    ("train", "compare", "train {store} --compare {it} -o x.onnx", "other_store", "compared on the same images"),
    ("train", "untrained", "train {store} --untrained {it} -o x.onnx", "untrained_store", "untrained backbone"),
    ("evaluate", "store", "evaluate {it} --classifier {classifier}", "store", "on 12 images"),
    ("evaluate", "classifier", "evaluate {store} --classifier {it}", "classifier", "on 12 images"),
    ("evaluate", "against", "evaluate {store} --classifier {classifier} --against {it}", "classifier", "no difference"),
    ("score", "images", "score {it} --classifier {classifier} -o x.csv", "photos", "60 scored, 1 failed"),
    ("score", "images", "score {it} --classifier {classifier} -o x.csv", "store", "60 scored, 1 failed"),
    ("score", "classifier", "score {photos} --classifier {it} -o x.csv", "classifier", "60 scored, 1 failed"),
    ("predict", "images", "predict {classifier} {it} -o x.csv", "photos", "60 classified, 1 failed"),
    ("predict", "images", "predict {classifier} {it} -o x.csv", "store", "60 classified, 1 failed"),
    ("predict", "classifier", "predict {it} {photos} -o x.csv", "classifier", "60 classified, 1 failed"),
    ("serve", "classifier", "serve {it} --host 192.0.2.1", "classifier", "192.0.2.1:8000: cannot be served"),
    ("inspect", "file", "inspect {it}", "backbone", "tiny"),
    ("inspect", "file", "inspect {it}", "store", "kind: embedding store"),
    ("inspect", "file", "inspect {it}", "classifier", "ash, birch, cedar"),
    # These would take minutes with TensorFlow, so they fail for another reason after they have read what is at `it`.
    ("tune", "tensors", "tune {it} -o x.onnx", "store", "headstart export --cut"),
    ("export", "sample", "export --backbone alexnet --cut auto --sample {it} -o x.onnx", "photos", "alexnet"),
    (
        "export",
        "weights",
        "export --weights {it} --precision int8 --calibrate {photos} -o x.onnx",
        "backbone",
        "begin with",
    ),
    ("export", "calibrate", "export --precision int8 --calibrate {it} -o x.onnx", "few", "found 3"),
    ("demo", "images", "demo --images {it} --weights {notes} -o x", "photos", "notes.txt"),
]
"""Command, parameter, command line, what is read (a fixture's name), and what the command then prints."""

WRITTEN = [
    ("embed", "output", "embed {photos} --model {backbone} -o {it}", "x.h5", "60 embedded, 1 failed"),
    ("merge", "output", "merge {store} -o {it}", "x.h5", "60 embedded, 1 failed"),
    ("score", "output", "score {photos} --classifier {classifier} -o {it}", "x.csv", "60 scored, 1 failed"),
]

LOCAL_ONLY = [
    ("export", "weights", "export --weights {it} -o x.onnx", "x.weights.h5"),
    ("export", "output", "export --weights random -o {it}", "x.onnx"),
    ("embed", "root", "embed {manifest} --root {it} --model {backbone} -o x.h5", "photos"),
    ("score", "root", "score {manifest} --root {it} --classifier {classifier} -o x.csv", "photos"),
    ("predict", "root", "predict {classifier} {manifest} --root {it}", "photos"),
    ("predict", "output", "predict {classifier} {photos} -o {it}", "x.csv"),
    ("train", "root", "train {manifest} --root {it} --backbone {backbone} -o x.onnx", "photos"),
    ("train", "output", "train {store} -o {it}", "x.onnx"),
    ("train", "report", "train {store} -o x.onnx --report {it}", "x.html"),
    ("train", "labels", "train {store} --labels {it} -o x.onnx", "x.csv"),
    ("evaluate", "labels", "evaluate {store} --classifier {classifier} --labels {it}", "x.csv"),
    ("tune", "output", "tune {store} -o {it}", "x.onnx"),
    ("demo", "weights", "demo --weights {it} -o x", "x.h5"),
    ("demo", "output", "demo --weights random -o {it}", "x"),
]

OTHER_TEXT = {
    "export": {"backbone", "fit", "features", "cut", "precision"},
    "embed": {"dtype", "shard", "provider", "engine", "address", "label_column"},
    "tune": {"class_weight"},
    "train": {
        "head",
        "hidden",
        "class_weight",
        "scaling",
        "provider",
        "label_column",
        "group",
        "time",
        "where",
        "precision",
    },
    "predict": {"provider"},
    "evaluate": {"split", "label_column", "group", "time", "where"},
    "score": {"shard", "provider", "engine", "address", "label_column"},
    "serve": {"host", "provider"},
}
"""Parameters that hold a text, but no location."""


@pytest.fixture
def memory(monkeypatch, tmp_path_factory):
    """Give a function that puts a file or folder in the memory of this process, and returns its URL."""
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path_factory.mktemp("cache")))
    files = fsspec.filesystem("memory")

    def put(path: Path) -> str:
        files.put(str(path), f"/bucket/{path.name}", recursive=True)
        return f"memory://bucket/{path.name}"

    yield put
    files.rm("/bucket", recursive=True)


@pytest.fixture(scope="session")
def few(draw_photos, tmp_path_factory) -> Path:
    return draw_photos(tmp_path_factory.mktemp("few") / "few", {"ash": 3})


def printed(result) -> str:
    return " ".join((result.stdout + result.stderr).split())


def text_parameters() -> set[tuple[str, str]]:
    """Name every parameter of every command that takes a text or a path."""
    from headstart.cli import app

    return {
        (command.name, name)
        for command in app.registered_commands
        for name, kind in get_type_hints(command.callback).items()
        if {str, Path} & plain_types(kind)
    }


def plain_types(kind: object) -> set[object]:
    """Take apart ``list[str] | None``."""
    return set().union(*map(plain_types, get_args(kind))) if get_args(kind) else {kind}


def test_every_parameter_that_takes_a_location_is_tested_here():
    tested = {row[:2] for table in (READ, WRITTEN, LOCAL_ONLY) for row in table}
    other = {(command, name) for command, names in OTHER_TEXT.items() for name in names}
    assert text_parameters() == tested | other
    assert not tested & other


@pytest.mark.parametrize(("command", "parameter", "line", "what", "said"), READ)
def test_what_is_read_may_be_at_a_url(cli, places, few, memory, command, parameter, line, what, said):
    path = places.get(what, few)
    local, remote = cli(line, it=path), cli(line, it=memory(path))
    assert said in printed(local)
    assert said in printed(remote)
    assert remote.exit_code == local.exit_code


@pytest.mark.parametrize(("command", "parameter", "line", "what", "said"), READ)
def test_a_url_with_nothing_there_is_named_in_one_line(cli, memory, places, few, command, parameter, line, what, said):
    memory(few)
    url = f"memory://bucket/gone{places.get(what, few).suffix}"
    result = cli(line, it=url)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert url in result.stderr
    assert said not in result.stderr


@pytest.mark.parametrize(("command", "parameter", "line", "name", "said"), WRITTEN)
def test_what_is_written_may_be_at_a_url(cli, memory, few, tmp_path, command, parameter, line, name, said):
    url = f"{memory(few)}/{name}"
    local, remote = cli(line, it=name), cli(line, it=url)
    assert said in local.stdout
    assert remote.stdout.startswith(f"{url}: ")
    assert said in remote.stdout
    assert (local.exit_code, remote.exit_code) == (0, 0)
    assert fsspec.filesystem("memory").exists(url)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == [name]


@pytest.mark.parametrize(("command", "parameter", "line", "name"), LOCAL_ONLY)
def test_a_url_for_a_local_file_is_rejected(cli, memory, few, tmp_path, command, parameter, line, name):
    url = f"{memory(few)}/{name}"
    result = cli(line, it=url)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {url}: ")
    assert "local" in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
