"""`headstart demo`: every step, on drawn pictures or on the user's own."""

import csv
import shutil
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from headstart.commands import embed as embed_command
from headstart.console import command, err, fail, out, progress, say
from headstart.files.urls import is_url, local_path
from headstart.results.training import show_training

PICTURES_PER_CLASS, NEW_PICTURES_PER_CLASS = 60, 8
MARKER = ".headstart-demo"


@command
def run(
    images: Annotated[str | None, typer.Option(help="Use these class folders instead of drawn pictures.")] = None,
    weights: Annotated[str, typer.Option(help="imagenet, random, or a Keras weights file (.h5).")] = "imagenet",
    output: Annotated[str, typer.Option("-o", "--output", help="A folder for all results.")] = "demo",
) -> None:
    """Draw pictures, train a classifier on them, and score new ones."""
    from headstart.classify import score
    from headstart.classify import train as train_on
    from headstart.jobs import embed_for

    _check(images, weights)
    folder = local_path(output)
    _claim(folder)
    photos, new = (images, images) if images else _draw(folder)
    files = {name: folder / name for name in ("classifier.h5", "classifier.onnx", "predictions.csv")}
    store_file, classifier, predictions = files.values()
    backbone, is_trained = _backbone(folder / "backbone.onnx", weights)
    _title(f"headstart train {photos} -o {classifier}")
    for leftover in (store_file, folder / "classifier.h5.parts", folder / "predictions.csv.parts"):
        _delete(leftover)
    with progress("embedding") as callback:
        store, summary = embed_for(classifier, photos, backbone, progress=callback)
    embed_command.show(store, summary, store_file)
    report = _report(folder)
    result = train_on(store, classifier, report=report)
    show_training(result)
    _title(f"headstart score {new} --classifier {classifier} -o {predictions}")
    scored = score(new, classifier, predictions)
    say(f"{predictions}: {scored.scored} scored, {scored.failed} failed")
    seen = " (the head was trained on most of them)" if images else ""
    say(f"  {scored.agreeing} of {scored.labelled} agree with the name of their folder{seen}")
    _show_first_rows(predictions)
    _title("done")
    if result.evaluation.images:
        say(f"accuracy {result.evaluation.accuracy:.3f} on {result.evaluation.images} held-out images")
    if not is_trained:
        _shout("This accuracy is from UNTRAINED weights. For trained ones: make demo WEIGHTS=FILE.h5 (see README).")
    say(f"made: {', '.join(map(str, files.values()))}")
    if report:
        say(f"open {report} in a browser")
    say(f"try:  headstart inspect {classifier}")
    if not images:
        say("      make demo IMAGES=FOLDER (with one folder of photos per class)")


def _check(images: str | None, weights: str) -> None:
    """Reject wrong arguments before any work is done."""
    from headstart.extract import find_images

    if weights not in ("imagenet", "random") and not local_path(weights).is_file():
        fail(f"{weights}: no such weights file")
    if images and (not (is_url(images) or Path(images).is_dir()) or len(find_images(images).classes) < 2):
        fail(f"{images}: expected a folder with one folder of photos per class, and at least 2 classes")


def _claim(output: Path) -> None:
    """Accept an empty folder or the folder of an earlier demo; other files are never replaced."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()) and not (output / MARKER).exists():
            fail(f"{output}: the folder holds files that no demo made; choose an empty or new one with -o")
        (output / MARKER).touch()
    except OSError as error:
        fail(f"{output}: cannot write to this folder: {error.strerror}; choose another with -o")


def _delete(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)


def _draw(output: Path) -> tuple[Path, Path]:
    from headstart.demo.pictures import draw_pictures

    photos, new = output / "photos", output / "new"
    _title(f"draw    five kinds of flowers and a few broken files -> {photos}")
    for folder in (photos, new):
        _delete(folder)
    drawn = draw_pictures(photos, per_class=PICTURES_PER_CLASS)
    draw_pictures(new, per_class=NEW_PICTURES_PER_CLASS, seed=1, broken=False)
    say(f"{drawn.images} pictures of {', '.join(drawn.kinds)}, and {drawn.broken} files broken on purpose")
    return photos, new


def _backbone(file: Path, weights: str) -> tuple[Path, bool]:
    """Return the backbone, and whether its weights are trained: where none can be fetched, continue with random ones.

    ImageNet's go through the cache, any others into a file of the demo.
    """
    from headstart.export import default_backbone, export_backbone
    from headstart.export.errors import WeightsError

    _title("backbone: MobileNetV2")
    if weights == "imagenet":
        try:
            path = default_backbone(progress=lambda state: say(state.stage))
        except WeightsError as error:
            say(str(error))
            _shout("THE WEIGHTS ARE UNTRAINED: the accuracy below is far from what ImageNet weights give.")
            weights = "random"
        else:
            say(f"{path}: ImageNet weights, {_origin(path)}")
            return path, True
    made = export_backbone(file, weights=weights)
    say(f"{file}: {made.bytes / 1e6:.1f} MB; largest difference from the reference {made.max_difference:.1e}")
    return file, weights != "random"


def _origin(backbone: Path) -> str:
    """Name the weight file of a backbone."""
    from headstart.extract import read_model

    weights = read_model(backbone).metadata["weights"]
    return f"from {weights['file']} (sha256 {weights['sha256'][:16]})"


def _report(output: Path) -> Path | None:
    if all(find_spec(name) for name in ("jinja2", "cleanlab")):
        return output / "report.html"
    say('no report: install the extra `report`: pip install "headstart[report]"')
    return None


def _show_first_rows(predictions: Path) -> None:
    with open(predictions, newline="", encoding="utf-8") as file:
        for row in islice(csv.DictReader(file), 5):
            say(f"  {row['path']}: {row['label'] or row['reason']} {row['probability']}")


def _title(text: str) -> None:
    out.print(f"\n{text}", style="bold cyan")


def _shout(text: str) -> None:
    err.print(f" {text} ", style="bold white on red")
