import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import headstart
from headstart import classify, export, extract, tune

ROOMS = (headstart, export, extract, classify, tune)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_every_public_name_leads_somewhere(room):
    assert [name for name in room.__all__ if getattr(room, name) is None] == []
    assert len(set(room.__all__)) == len(room.__all__)


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_another_name_is_an_attribute_error(room):
    with pytest.raises(AttributeError, match="paint"):
        _ = room.paint


@pytest.mark.parametrize("room", [headstart, classify], ids=lambda room: room.__name__)
def test_a_notebook_can_complete_the_names(room):
    assert set(room.__all__) <= set(dir(room))


def test_the_front_door_gives_what_belongs_to_the_rooms():
    assert headstart.embed is headstart.extract.embed
    assert headstart.score is headstart.classify.score
    assert headstart.export_backbone is headstart.export.export_backbone


def test_to_import_it_loads_nothing_heavy():
    program = "import sys, headstart; print(*{'numpy', 'typer', 'h5py', 'onnx', 'sklearn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def the_lines() -> str:
    """The lines that the package's docstring shows, as a program."""
    lines = [line.strip() for line in headstart.__doc__.splitlines() if line.strip().startswith(">>> ")]
    assert len(lines) == 4
    return "\n".join(line.removeprefix(">>> ").partition("  # doctest")[0] for line in lines)


def test_the_lines_of_the_docstring_work(tiny_photos, published_cache, tmp_path, monkeypatch):
    (tmp_path / "photos").symlink_to(tiny_photos)
    (tmp_path / "new").symlink_to(tiny_photos)
    (tmp_path / "photo.jpg").write_bytes((tiny_photos / "ash" / "000.png").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HEADSTART_CACHE", str(published_cache))
    Path("lines.py").write_text(the_lines())
    runpy.run_path("lines.py")
    assert headstart.read_classifier("flowers.onnx").classes == ["ash", "birch", "cedar"]
    assert headstart.open_store("flowers.h5").header.dim == 1280
    assert Path("predictions.csv").read_text().count("\n") == 62


def test_arrays_go_into_scikit_learn_and_its_estimators_come_back(tiny_store, tmp_path):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    store = headstart.open_store(tiny_store)
    usable = store.is_embedded & (store.labels >= 0)
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    head.fit(store.embeddings(usable), store.labels[usable])
    headstart.write_classifier(tmp_path / "mine.onnx", head, store)
    assert headstart.read_classifier(tmp_path / "mine.onnx").classes == store.classes
    assert headstart.evaluate(store, tmp_path / "mine.onnx").accuracy == 1


FUNCTIONS = {"export": "export_backbone", "tune": "tune_backbone", "predict": "load"}
"""The public function behind a command, where it has another name."""
NONE = {"demo", "serve"}
"""Commands that only combine others."""


def test_every_command_has_a_function():
    from headstart.cli import app

    names = {command.name for command in app.registered_commands} - NONE
    assert {name for name in names if not callable(getattr(headstart, FUNCTIONS.get(name, name)))} == set()


def test_every_error_of_ours_is_a_headstart_error():
    from headstart.classify import errors as classify_errors
    from headstart.export import errors as export_errors
    from headstart.extract import errors as extract_errors
    from headstart.files import errors as file_errors
    from headstart.tune import errors as tune_errors

    modules = (classify_errors, export_errors, extract_errors, file_errors, tune_errors)
    kinds = [kind for module in modules for kind in vars(module).values() if isinstance(kind, type)]
    assert len(kinds) > 20
    assert [kind for kind in kinds if not issubclass(kind, headstart.HeadstartError)] == []


def test_inspect_describes_a_file_by_path_or_text(tiny_store, tiny_classifier, tiny_backbone):
    kinds = {tiny_store: "embedding store", tiny_classifier: "classifier", tiny_backbone: "backbone"}
    for path, kind in kinds.items():
        assert headstart.inspect(path)["kind"] == headstart.inspect(str(path))["kind"] == kind
    with pytest.raises(headstart.HeadstartError, match="no such file"):
        headstart.inspect("gone.h5")
