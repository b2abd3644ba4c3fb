"""`headstart embed`: images -> embedding store."""

import os
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from headstart.extract import RunSummary, Store

SHOWN_FAILURES = 10


@command
def run(
    images: Annotated[
        list[str],
        typer.Argument(
            help="A folder, URL (s3://...), archive (.tar), table (.parquet) or manifest (.csv, .jsonl); or images."
        ),
    ],
    model: Annotated[
        str, typer.Option(help="A backbone (.onnx) from `headstart export`, or a store that carries one.")
    ] = "backbone.onnx",
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            help="The store to write: NAME.h5 (one file) or NAME.emb (a folder of shards), local or at a URL.",
        ),
    ] = "photos.h5",
    dtype: Annotated[str, typer.Option(help="Store embeddings as float16 or float32.")] = "float16",
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
    views: Annotated[int | None, typer.Option(hidden=True)] = None,  # names the option's new home
) -> None:
    """Compute an embedding per image and store it. Images that have not changed are not computed again."""
    from headstart.extract import EngineOptions, Share, SourceOptions, embed
    from headstart.extract.store.tables import metadata_counts

    with progress("embedding") as callback:
        store, summary = embed(
            images[0] if len(images) == 1 else images,
            model,
            output,
            dtype=dtype,
            grey_bits=grey_bits,
            metadata=metadata,
            views=views,
            share=Share.parse(shard) if shard else None,
            options=EngineOptions(provider, workers, batch_size, isolate, engine, address, gpus_per_worker),
            source_options=SourceOptions(label_column, root, follow_links),
            progress=callback,
        )
    if json:
        of_store = {"failures": store.failures, "classes": store.classes, "metadata": metadata_counts(store)}
        print_json({**asdict(summary), "output": output, **of_store})
    else:
        show(store, summary, output)
        if summary.embedded:
            _say_next(store, output)
        elif not summary.inputs:
            say("this shard has no images; merge it with the others")
    check_failures(summary.failed, max_failures)
    require_some(summary.embedded, "embedded", Counter(store.failures.values()))


def show(store: "Store", summary: "RunSummary", output: Path | str) -> None:
    """Print the summary of a run."""
    from headstart.extract.store.tables import metadata_counts

    warn_of_skipped(summary.passed_over)
    rate = f" ({summary.computed / summary.seconds:,.0f} images/s)" if summary.computed else ""
    say(
        f"{output}: {summary.embedded} embedded, {summary.failed} failed, of {summary.inputs} images; "
        f"{summary.computed} computed{rate}, {summary.reused} reused, {summary.removed} removed; {summary.provider}"
    )
    if summary.computed:
        total = sum(summary.stages.values())
        shares = ", ".join(f"{stage} {seconds / total:.0%}" for stage, seconds in summary.stages.items())
        say(f"  time: {shares}")
    for note in summary.notes:
        say(f"  note: {short_path(str(note))}")
    for path, reason in list(store.failures.items())[:SHOWN_FAILURES]:
        say(f"  failed: {short_path(path)}: {reason}")
    if summary.failed > SHOWN_FAILURES:
        say(f"  ... and {summary.failed - SHOWN_FAILURES} more: headstart inspect {output} --json")
    if counts := metadata_counts(store):
        say(f"metadata: {', '.join(f'{name} {count}' for name, count in counts.items())} of {len(store)} images")
    if store.classes:
        say(f"classes: {', '.join(short_path(name) for name in store.classes)}")


def _say_next(store: "Store", output: str) -> None:
    name = quote(output)
    if store.header.output != "embedding":
        say(f"next: headstart tune {name} -o tuned.onnx")
    elif store.classes:
        say(f"next: headstart train {name} -o classifier.onnx")
    else:
        say(f"no labels: the images are not in class folders. next: headstart score {name} --classifier FILE.onnx")
