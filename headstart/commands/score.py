"""`headstart score`: images or a store -> predictions."""

import os
from typing import Annotated

import typer

from headstart.console import (
    Address,
    BatchSize,
    EngineName,
    Gpus,
    Isolate,
    Json,
    MaxFailures,
    Provider,
    Workers,
    check_failures,
    command,
    print_json,
    progress,
    say,
    short_path,
    warn,
)


@command
def run(
    images: Annotated[str, typer.Argument(help="A folder, URL or manifest of images, or an embedding store.")],
    classifier: Annotated[str, typer.Option(help="The classifier, made by `headstart train`.")],
    output: Annotated[
        str, typer.Option("-o", "--output", help="NAME.csv, NAME.jsonl or NAME.parquet, here or at a URL.")
    ] = "predictions.csv",
    top: Annotated[int, typer.Option(min=1, help="How many of the likeliest classes to write.")] = 3,
    shard: Annotated[
        str | None, typer.Option(help="As 3/16: the third of sixteen runs that divide the images up, a table each.")
    ] = None,
    provider: Provider = "auto",
    workers: Workers = None,
    batch_size: BatchSize = None,
    isolate: Isolate = os.name == "posix",
    engine: EngineName = "local",
    address: Address = None,
    gpus_per_worker: Gpus = 0,
    max_failures: MaxFailures = None,
    json: Json = False,
) -> None:
    """Score every image of a folder (or store) into a table of predictions."""
    from headstart.classify import score
    from headstart.extract import EngineOptions, Share

    with progress("scoring") as listener:
        summary = score(
            images,
            classifier,
            output,
            top=top,
            share=Share.parse(shard) if shard else None,
            options=EngineOptions(provider, workers, batch_size, isolate, engine, address, gpus_per_worker),
            progress=listener,
        )
    if json:
        print_json(summary)
    else:
        for reason in summary.passed_over:
            warn(f"passed over: {reason}")
        say(
            f"{summary.output}: {summary.scored} scored, {summary.failed} failed, of {summary.inputs} images; "
            f"{summary.provider or 'from stored embeddings'}, {summary.seconds:.1f} s"
        )
        say("  " + ", ".join(f"{short_path(name)} {count}" for name, count in summary.counts.items()))
        if summary.unknown is not None:
            say(f"  {summary.unknown} of them marked unknown: probably none of these classes")
        if summary.labelled:
            share = summary.agreeing / summary.labelled
            say(f"  {summary.agreeing} of {summary.labelled} ({share:.1%}) agree with the label they had already")
    check_failures(summary.failed, max_failures)
