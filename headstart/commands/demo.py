"""`headstart demo`: the whole way, on pictures that it draws itself, or on the user's own."""

import csv
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from headstart.commands import embed as embed_command
from headstart.commands import train as train_command
from headstart.console import command, err, fail, out, progress, say

PICTURES_A_CLASS = 60
NEW_PICTURES_A_CLASS = 8
MARKER = ".headstart-demo"


@command
def run(
    images: Annotated[str | None, typer.Option(help="Your own class folders, instead of drawn pictures.")] = None,
    weights: Annotated[str, typer.Option(help="imagenet, random, or a Keras weights file (.h5).")] = "imagenet",
    output: Annotated[str, typer.Option("-o", "--output", help="A folder for everything it makes.")] = "demo",
) -> None:
    """Go the whole way: draw pictures, export, embed, train, score."""
    from headstart.classify import score, train
    from headstart.extract import embed
    from headstart.files.urls import local_path

    _check(images, weights)
    folder = local_path(output)
    _claim(folder)
    photos, new = (images, images) if images else _draw(folder)
    backbone, store_file = folder / "backbone.onnx", folder / "photos.h5"
    is_trained = _export(backbone, weights)
    _title(f"embed   {photos} -> {store_file}")
    for leftover in (store_file, folder / "photos.h5.parts", folder / "predictions.csv.parts"):
        shutil.rmtree(leftover, ignore_errors=True)
        leftover.unlink(missing_ok=True)
    with progress("embedding") as listener:
        store, summary = embed(photos, backbone, store_file, progress=listener)
    embed_command.show(store, summary, store_file)
    _title(f"train   {store_file} -> {folder / 'classifier.onnx'}")
    report = _report(folder)
    result = train(store, folder / "classifier.onnx", report=report)
    train_command.show_training(result)
    _title(f"score   {new} -> {folder / 'predictions.csv'}")
    scored = score(new, result.path, folder / "predictions.csv")
    say(f"{scored.output}: {scored.scored} scored, {scored.failed} failed")
    known = " (most of them it was trained on)" if images else ""
    say(f"  {scored.agreeing} of {scored.labelled} agree with the name of their folder{known}")
    _show_first_rows(folder / "predictions.csv")
    _end(folder, report, result.evaluation.accuracy, result.evaluation.images, is_trained, images is None)


def _check(images: str | None, weights: str) -> None:
    """Find out before any work what would fail after it."""
    from headstart.files.urls import is_url, local_path

    if weights not in ("imagenet", "random") and not local_path(weights).is_file():
        fail(f"{weights}: no such weights file")
    if images is None:
        return
    from headstart.extract import find_images

    if not (is_url(images) or Path(images).is_dir()) or len(find_images(images).classes) < 2:
        fail(f"{images}: expected a folder with one folder of photos for each of at least 2 classes")


def _claim(output: Path) -> None:
    """Take an empty folder, or one of an earlier demo; what else a folder holds is not ours to replace."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()) and not (output / MARKER).exists():
            fail(f"{output}: expected an empty folder or none, found files that no demo made; choose another with -o")
        (output / MARKER).touch()
    except OSError as error:
        fail(f"{output}: cannot be a folder to write to: {error.strerror}; choose another with -o")


def _draw(output: Path) -> tuple[Path, Path]:
    from headstart.demo.pictures import draw_pictures

    photos, new = output / "photos", output / "new"
    _title(f"draw    five kinds of flower, and a few broken files -> {photos}")
    for folder in (photos, new):
        shutil.rmtree(folder, ignore_errors=True)
    drawn = draw_pictures(photos, per_class=PICTURES_A_CLASS)
    draw_pictures(new, per_class=NEW_PICTURES_A_CLASS, seed=1, broken=False)
    say(f"{drawn.images} pictures of {', '.join(drawn.kinds)}; {drawn.broken} broken files among them, on purpose")
    return photos, new


def _export(backbone: Path, weights: str) -> bool:
    """Export, and tell whether the weights are trained; only where Keras cannot get them, go on without, loudly."""
    from headstart.export import export_backbone
    from headstart.export.errors import WeightsError

    _title(f"export  MobileNetV2 -> {backbone}")
    try:
        made = export_backbone(backbone, weights=weights)
    except WeightsError as error:
        if weights != "imagenet":
            raise
        say(str(error))
        _shout("THE WEIGHTS ARE UNTRAINED. The accuracy below is not what Headstart gives with ImageNet weights.")
        weights = "random"
        made = export_backbone(backbone, weights=weights)
    say(f"{made.bytes / 1e6:.1f} MB; largest difference from Keras {made.max_difference:.1e}")
    return weights != "random"


def _show_first_rows(predictions: Path) -> None:
    with open(predictions, newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file)):
            if number == 5:
                break
            say(f"  {row['path']}: {row['label'] or row['reason']} {row['probability']}")


def _report(output: Path) -> Path | None:
    if all(find_spec(name) for name in ("jinja2", "cleanlab")):
        return output / "report.html"
    say('no report: it needs the extra `report`: pip install "headstart[report]"')
    return None


def _end(output: Path, report: Path | None, accuracy: float, images: int, is_trained: bool, is_drawn: bool) -> None:
    _title("done")
    say(f"accuracy {accuracy:.3f} on {images} pictures that the head had not seen")
    if not is_trained:
        _shout("This came from UNTRAINED weights. For the real thing: make demo WEIGHTS=FILE.h5 (see README).")
    say(f"made: {output}/backbone.onnx, {output}/photos.h5, {output}/classifier.onnx, {output}/predictions.csv")
    if report:
        say(f"look: open {report} in a browser")
    say(f"try:  headstart inspect {output}/classifier.onnx")
    if is_drawn:
        say("      make demo IMAGES=folder/with/one/folder/a/class")


def _title(text: str) -> None:
    out.print(f"\n{text}", style="bold cyan")


def _shout(text: str) -> None:
    err.print(f" {text} ", style="bold white on red")
