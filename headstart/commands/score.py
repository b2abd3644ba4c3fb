"""`headstart score`: images or a store -> predictions."""

import os
from collections import Counter
from typing import Annotated

import typer

from headstart import options
from headstart.console import (
    check_failures,
    command,
    print_json,
    progress,
    require_some,
    say,
    short_path,
    warn_of_skipped,
)


@command
def run(
    images: Annotated[
        list[str], typer.Argument(help="A folder, URL or manifest of images, image files, or an embedding store.")
    ],
    classifier: Annotated[str, typer.Option(help="A classifier from `headstart train`.")],
    output: Annotated[
        str,
        typer.Option(
            "-o", "--output", help="The predictions to write: NAME.csv, NAME.jsonl or NAME.parquet, local or at a URL."
        ),
    ] = "predictions.csv",
    top: Annotated[int, typer.Option(min=1, help="Number of most probable classes to write per image.")] = 3,
    bom: Annotated[
        bool, typer.Option("--bom", help="Begin a .csv with a byte order mark, so that Excel shows all letters.")
    ] = False,
    grey_bits: options.GreyBits = None,
    label_column: options.LabelColumn = None,
    root: options.Root = None,
    follow_links: options.FollowLinks = False,
    metadata: options.Metadata = False,
    shard: options.Shard = None,
    provider: options.Provider = "auto",
    workers: options.Workers = None,
    batch_size: options.BatchSize = None,
    isolate: options.Isolate = os.name == "posix",
    engine: options.EngineName = "local",
    address: options.Address = None,
    gpus_per_worker: options.Gpus = 0,
    max_failures: options.MaxFailures = None,
    json: options.Json = False,
) -> None:
    """Classify images, a folder of them or a store, and write predictions."""
    from headstart.classify import score
    from headstart.classify.scoring.predictions import UNKNOWN
    from headstart.extract import EngineOptions, Share, SourceOptions

    with progress("scoring") as callback:
        summary = score(
            images[0] if len(images) == 1 else images,
            classifier,
            output,
            top=top,
            share=Share.parse(shard) if shard else None,
            options=EngineOptions(provider, workers, batch_size, isolate, engine, address, gpus_per_worker),
            source_options=SourceOptions(label_column, root, follow_links),
            progress=callback,
            bom=bom,
            grey_bits=grey_bits,
            metadata=metadata,
        )
    if json:
        print_json(summary)
    else:
        warn_of_skipped(summary.passed_over)
        say(
            f"{summary.output}: {summary.scored} scored, {summary.failed} failed, of {summary.inputs} images; "
            f"{summary.provider or 'from stored embeddings'}, {summary.seconds:.1f} s"
        )
        for note in summary.notes:
            say(f"  note: {short_path(str(note))}")
        say("  " + ", ".join(f"{short_path(name)} {count}" for name, count in summary.counts.items()))
        if summary.unknown is not None:
            say(f"  {summary.unknown} flagged {UNKNOWN}")
        if summary.labelled:
            share = summary.agreeing / summary.labelled
            say(f"  {summary.agreeing} of {summary.labelled} ({share:.1%}) agree with their label")
    check_failures(summary.failed, max_failures)
    require_some(summary.scored, "scored", Counter(summary.reasons))
