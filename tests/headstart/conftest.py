"""The command line, run in this process, and inputs that it must refuse."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner


@pytest.fixture(autouse=True)
def _own_signals(own_signals):
    """For every command that is run here."""


@pytest.fixture
def cli(places, monkeypatch, tmp_path) -> Callable[..., Any]:
    """Run a command given as one line, in which ``{name}`` stands for a place; anything but an exit is raised."""
    from headstart.cli import app

    monkeypatch.chdir(tmp_path)

    def run(line: str, stdin: bytes = b"", **more: object) -> Any:
        quoted = {name: shlex.quote(str(place)) for name, place in (places | more).items()}
        result = CliRunner().invoke(app, shlex.split(line.format(**quoted)), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture(scope="session")
def places(
    tmp_path_factory,
    draw_photos,
    make_backbone,
    make_cut_backbone,
    tiny_photos,
    tiny_backbone,
    tiny_store,
    tiny_classifier,
) -> dict[str, Path]:
    """Good files, and in a folder of their own bad ones, each named for what is wrong with it."""
    import onnx

    from headstart.classify import train
    from headstart.extract import embed
    from headstart.files.seal import sealed

    bad = tmp_path_factory.mktemp("bad")
    made = {
        "photos": tiny_photos,
        "backbone": tiny_backbone,
        "store": tiny_store,
        "classifier": tiny_classifier,
        "other_backbone": make_backbone(bad / "other_backbone.onnx", seed=1),
        "untrained_backbone": make_backbone(bad / "untrained.onnx", weights={"source": "random", "trained": False}),
        "broken": bad / "broken",
        "single": draw_photos(bad / "single", {"ash": 3}),
        "foreign": draw_photos(bad / "foreign", {"ash": 3, "fir": 3}),
        "unlabelled": draw_photos(bad / "unlabelled", {"x": 3}) / "x",
        "empty": bad / "empty",
        "notes": bad / "notes.txt",
        "newer": bad / "newer.onnx",
        "truncated_classifier": bad / "cut.onnx",
        "truncated": bad / "truncated.h5",
        "manifest": draw_photos(bad / "listed", {"ash": 2, "birch": 2}) / "manifest.csv",
    }
    made["tensors"] = bad / "tensors.h5"
    embed(tiny_photos, make_cut_backbone(bad / "trunk.onnx"), made["tensors"])
    made["empty"].mkdir()
    (made["broken"] / "ash").mkdir(parents=True)
    (made["broken"] / "birch").mkdir()
    for name in ("ash/a.jpg", "ash/b.jpg", "birch/c.jpg", "birch/d.jpg"):
        (made["broken"] / name).write_bytes(b"not an image: " + name.encode())
    made["notes"].write_text("remember the milk")
    rows = ["ash/000.png,ash", "ash/001.png,ash", "birch/000.png,birch", "birch/001.png,birch", "birch/gone.png,birch"]
    made["manifest"].write_text("\n".join(["path,label", *rows]))
    made["truncated"].write_bytes(tiny_store.read_bytes()[:-100])
    made["truncated_classifier"].write_bytes(tiny_classifier.read_bytes()[:-100])
    model = onnx.load(tiny_classifier)
    said = model.metadata_props[0].value.replace('"schema": 1', '"schema": 2')
    onnx.helper.set_model_props(model, {"headstart": said})
    data = model.SerializeToString()
    made["newer"].write_bytes(sealed(data))
    for name in ("broken", "single", "foreign", "unlabelled"):
        made[f"{name}_store"] = bad / f"{name}.h5"
        embed(made[name], tiny_backbone, made[f"{name}_store"])
    made["other_store"] = bad / "other.h5"
    embed(tiny_photos, made["other_backbone"], made["other_store"])
    made["untrained_store"] = bad / "untrained.h5"
    embed(tiny_photos, made["untrained_backbone"], made["untrained_store"])
    for name in ("foreign", "other"):
        made[f"{name}_classifier"] = train(made[f"{name}_store"], bad / f"{name}_classifier.onnx").path
    return made


@pytest.fixture(scope="session")
def strict_classifier(tiny_store, tmp_path_factory) -> Path:
    """A classifier that marks nothing by its distance, and nearly everything by the thresholds of its classes."""
    from headstart.classify import train
    from headstart.classify.artifact.write import write_classifier
    from headstart.classify.confidence.precision import ClassThreshold
    from headstart.extract import open_store

    folder = tmp_path_factory.mktemp("strict")
    head = train(tiny_store, folder / "c.onnx", false_alarms=0).fitted_head
    strict = dict.fromkeys(("ash", "birch", "cedar"), ClassThreshold(0.9, 0.99999, 1.0, 1.0, 0.05))
    write_classifier(folder / "strict.onnx", head, open_store(tiny_store), thresholds=strict, temperature=3.0)
    return folder / "strict.onnx"
