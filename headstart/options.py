"""Command-line options that several commands share."""

from typing import Annotated

import typer

PHOTOS, MACHINE, LABELS = "Photos", "Machine", "Labels next to the store"
"""The panels of `--help` for options about where photos come from, what computes, and what is known besides a store."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
MaxFailures = Annotated[
    int | None,
    typer.Option(
        min=0, help="Exit with code 3 if more images than this fail.", show_default="no limit", rich_help_panel=PHOTOS
    ),
]
GreyBits = Annotated[
    int | None,
    typer.Option(
        min=8,
        max=16,
        help="Scale 16-bit grey images that state no depth by this many bits, for example 12.",
        show_default="as the backbone or classifier states, usually 16",
    ),
]
Metadata = Annotated[
    bool,
    typer.Option(
        "--metadata",
        help="Keep the time, camera and position that each photo states; positions may show where people live.",
        rich_help_panel=PHOTOS,
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        help="Process one shard, for example 3/16. `headstart merge` joins stores.",
        show_default="all",
        rich_help_panel=MACHINE,
    ),
]
Provider = Annotated[
    str,
    typer.Option(
        help="Run the model on auto, cpu, cuda, ... A provider you name is never replaced by another.",
        rich_help_panel=MACHINE,
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Number of threads.", show_default="one per core", rich_help_panel=MACHINE)
]
Isolate = Annotated[
    bool,
    typer.Option(
        "--isolate/--no-isolate",
        help="Decode in separate processes, so that an image that crashes its decoder costs only that image.",
        rich_help_panel=MACHINE,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1, help="Images per call of the model.", show_default="chosen for the provider", rich_help_panel=MACHINE
    ),
]
EngineName = Annotated[
    str,
    typer.Option(
        help="local: threads of this process. ray: a Ray cluster (needs the extra `ray`).", rich_help_panel=MACHINE
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Use this Ray cluster: auto, or ray://HOST:10001.",
        show_default="start one on this machine",
        rich_help_panel=MACHINE,
    ),
]
Gpus = Annotated[float, typer.Option("--gpus-per-worker", min=0, help="GPUs per Ray worker.", rich_help_panel=MACHINE)]
LabelColumn = Annotated[
    str | None,
    typer.Option(
        help="Take the labels of a list or table from this column.",
        show_default="label, or a usual name",
        rich_help_panel=PHOTOS,
    ),
]
FollowLinks = Annotated[
    bool,
    typer.Option(
        "--follow-links", help="Follow symbolic links inside a folder, or next to a list.", rich_help_panel=PHOTOS
    ),
]
Root = Annotated[
    str | None,
    typer.Option(
        help="Look for the files of a list in this folder.", show_default="the list's folder", rich_help_panel=PHOTOS
    ),
]
Labels = Annotated[
    str | None,
    typer.Option(
        help="Take the labels from this list (.csv, .tsv, .jsonl, .parquet), which names photos by path, file name or "
        "sha256.",
        show_default="those of the store",
        rich_help_panel=LABELS,
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        help="Keep photos with the same value in this column, for example a patient, on one side of every split.",
        rich_help_panel=LABELS,
    ),
]
SplitByTime = Annotated[
    bool, typer.Option("--split-by-time", help="Evaluate on the latest photos.", rich_help_panel=LABELS)
]
Time = Annotated[
    str | None,
    typer.Option(
        help="Take times from this column (needs --split-by-time).", show_default="taken", rich_help_panel=LABELS
    ),
]
Where = Annotated[
    str | None,
    typer.Option(
        help="Use only photos for which this holds, for example 'site != 3'.",
        show_default="all",
        rich_help_panel=LABELS,
    ),
]
