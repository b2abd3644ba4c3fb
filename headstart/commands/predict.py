"""`headstart predict`: a classifier and a few photos -> answers on the terminal."""

import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import set_cell_size
from rich.table import Table
from rich.text import Text

from headstart import options
from headstart.console import (
    check_failures,
    command,
    fail,
    out,
    print_json,
    progress,
    require_some,
    say,
    short_path,
    warn,
    warn_of_skipped,
)

if TYPE_CHECKING:
    from headstart.classify import Classifier
    from headstart.classify.scoring.predictions import Prediction
    from headstart.extract import SourceOptions

SHORTEST_BAR, WIDEST_BAR = 10, 40
SHORTEST_NAME, LONGEST_NAME = 8, 30
BARS = 5
"""How many classes of a single photo have a bar."""


@command
def run(
    classifier: Annotated[str, typer.Argument(help="A classifier from `headstart train`.")],
    images: Annotated[
        list[str], typer.Argument(help="Photos, folders, lists, archives or URLs; - reads paths from standard input.")
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", help="Write NAME.csv, NAME.jsonl or NAME.parquet too.", show_default="print only"
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(min=1, help="Number of most probable classes per photo.", show_default="5 as bars, 3 in a file"),
    ] = None,
    all_probabilities: Annotated[
        bool, typer.Option("--all-probabilities", help="Write one column per class, p(daisy), too; needs -o or --json.")
    ] = False,
    root: options.Root = None,
    follow_links: options.FollowLinks = False,
    provider: options.Provider = "auto",
    workers: options.Workers = None,
    max_failures: options.MaxFailures = None,
    json: options.Json = False,
) -> None:
    """Classify a few photos and show the answers: bars for one photo, a table for many."""
    from headstart.classify import load
    from headstart.classify.scoring.predictions import write_predictions
    from headstart.extract import EngineOptions, SourceOptions
    from headstart.extract.sources.find import is_one_image
    from headstart.jobs import is_embedded, require_no_options

    if all_probabilities and output is None and not json:
        fail("--all-probabilities needs a file (-o NAME.csv) or --json", 2)
    given = _given(images)
    if all(map(is_embedded, given)):
        for_photos = {"--root": root, "--follow-links": follow_links, "--workers": workers}
        for_photos["--provider"] = provider != "auto"
        require_no_options(given[0], [name for name, value in for_photos.items() if value])
    if (root is not None or follow_links) and all(is_embedded(name) or is_one_image(name) for name in given):
        fail("--root and --follow-links are for lists and folders: leave them out, or give one", 2)
    file = None if output is None else _output(output, classifier, given)
    with load(classifier, options=EngineOptions(provider, workers)) as model:
        found = _predictions(model, given, SourceOptions("", root, follow_links))
        warn_of_skipped(model.passed_over)
        names, knows_unknown = model.classes_.tolist(), model.file.prediction != "probabilities"
    columns, with_metadata = names if all_probabilities else [], any(one.metadata for one in found)
    if file is not None:
        ranks = min(top or 3, len(names))
        write_predictions(file, found, ranks, with_unknown=knows_unknown, classes=columns, with_metadata=with_metadata)
    if json:
        ranks = min(top or BARS, len(names))
        rows = [one.to_row(ranks, knows_unknown, columns, with_metadata=with_metadata) for one in found]
        print_json({"classifier": classifier, "classes": names, "predictions": rows})
    elif len(found) == 1 and not found[0].reason:
        _show_bars(found[0], top or BARS)
    elif found:
        _show_table(found, top or 1)
    failed = sum(bool(one.reason) for one in found)
    if file is not None and not json:
        say(f"{file}: {len(found) - failed} classified, {failed} failed, of {len(found)} images")
    check_failures(failed, max_failures)
    require_some(len(found) - failed, "classified", Counter(one.reason for one in found if one.reason))


def _given(images: Sequence[str]) -> list[str]:
    """Put the paths on standard input in the place of ``-``."""
    names = [name for image in images for name in (_standard_input() if image == "-" else [image])]
    if not names:
        fail("expected paths of images on standard input, found none")
    return names


def _standard_input() -> list[str]:
    """Read a path per line, whose bytes are those of its name: no other character than the newline ends it."""
    lines = (line.removesuffix(b"\r") for line in sys.stdin.buffer.read().split(b"\n"))
    return [os.fsdecode(line) for line in lines if line.strip()]


def _output(output: str, classifier: str, images: Sequence[str]) -> Path:
    """Return the file to write, unless it is read too, or lies among the images."""
    from headstart.classify.scoring.predictions import check_file, check_format
    from headstart.files.atomic import check_outside
    from headstart.files.urls import local_path

    file = local_path(output)
    check_format(file)
    check_file(file, [*images, classifier])
    for image in images:
        check_outside(file, image)
    return file


def _predictions(model: "Classifier", names: list[str], source_options: "SourceOptions") -> list["Prediction"]:
    """Classify everything named: image files together, anything else by itself, in the order given."""
    from headstart.extract.sources.find import is_one_image
    from headstart.jobs import is_embedded

    found: list[Prediction] = []
    ranks = len(model.classes_)
    with progress("classifying", transient=True) as callback:
        while names:
            several = 0
            while several < len(names) and not is_embedded(names[several]) and is_one_image(names[several]):
                several += 1
            chosen: Any = names[:several] if several else names[0]
            part = model.predictions(
                chosen, ranks, source_options=None if several else source_options, progress=callback
            )
            for note in part.notes:
                warn(short_path(str(note)))
            found += part
            del names[: max(1, several)]
    return found


def _show_bars(found: "Prediction", top: int) -> None:
    """Print the likeliest classes of one photo, each with a bar of its probability."""
    from headstart.classify.scoring.predictions import UNKNOWN

    say(short_path(found.path))
    shown = found.top[:top]
    names = [Text(short_path(name)) for name, _ in shown]
    room_for_name = max(SHORTEST_NAME, out.width - SHORTEST_BAR - 12)
    width = min(LONGEST_NAME, room_for_name, max(name.cell_len for name in names))
    room = max(SHORTEST_BAR, min(WIDEST_BAR, out.width - width - 12))
    for name, (_, probability) in zip(names, shown, strict=True):
        full, least = ("#", "|") if out.options.ascii_only else ("█", "▏")
        bar = full * round(room * probability) or least
        out.print(
            Text.assemble(
                "  ", set_cell_size(_cut(name.plain, width), width), "  ", (bar, "green"), f" {probability:.1%}"
            )
        )
    if found.unknown:
        distance = "" if found.distance is None else f" (distance {found.distance:.2f})"
        say(f"  {UNKNOWN}{distance}")


def _cut(name: str, width: int) -> str:
    if Text(name).cell_len <= width:
        return name
    return set_cell_size(name, width - 1) + ("~" if out.options.ascii_only else "…")


def _show_table(found: Sequence["Prediction"], top: int) -> None:
    """Print one line per photo."""
    from headstart.classify.scoring.predictions import UNKNOWN

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("photo", overflow="fold")
    for rank in range(top):
        table.add_column(f"class {rank + 1}" if top > 1 else "class", overflow="fold")
        table.add_column("", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for one in found:
        note = f"failed: {one.reason}" if one.reason else UNKNOWN * bool(one.unknown)
        cells: list[str] = []
        for rank in range(top):
            name, probability = one.top[rank] if rank < len(one.top) else ("", None)
            cells += [short_path(name), "" if probability is None else f"{probability:.1%}"]
        table.add_row(short_path(one.path), *cells, note)
    out.print(table)
