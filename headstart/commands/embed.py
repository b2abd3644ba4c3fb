"""`headstart embed`: images -> embedding store."""

import os
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from headstart.extract import RunSummary, Store

SHOWN_FAILURES = 10


@command
def run(
    images: Annotated[
        str,
        typer.Argument(help="A folder or URL (s3://...) of images, .tar or .parquet; or a manifest (.csv, .jsonl)."),
    ],
    model: Annotated[str, typer.Option(help="The backbone (.onnx), or a store that carries it.")] = "backbone.onnx",
    output: Annotated[
        str, typer.Option("-o", "--output", help="NAME.h5 for one file, NAME.emb for a folder of shards; or a URL.")
    ] = "photos.h5",
    dtype: Annotated[str, typer.Option(help="float16 or float32.")] = "float16",
    shard: Annotated[
        str | None, typer.Option(help="As 3/16: the third of sixteen runs that divide the images up; then merge.")
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
    views: Annotated[int | None, typer.Option(hidden=True)] = None,  # says where the option went
) -> None:
    """Embed images and keep the embeddings; what has not changed is not computed again."""
    from headstart.extract import EngineOptions, Share, embed

    with progress("embedding") as listener:
        store, summary = embed(
            images,
            model,
            output,
            dtype=dtype,
            views=views,
            share=Share.parse(shard) if shard else None,
            options=EngineOptions(provider, workers, batch_size, isolate, engine, address, gpus_per_worker),
            progress=listener,
        )
    if json:
        print_json({**vars(summary), "output": output, "failures": store.failures, "classes": store.classes})
    else:
        show(store, summary, output)
        _say_next(store, output)
    check_failures(summary.failed, max_failures)


def show(store: "Store", summary: "RunSummary", output: Path | str) -> None:
    """Print what a run of `embed` did."""
    for reason in summary.passed_over:
        warn(f"passed over: {reason}")
    rate = f" ({summary.computed / summary.seconds:,.0f} images/s)" if summary.computed else ""
    say(
        f"{output}: {summary.embedded} embedded, {summary.failed} failed, of {summary.inputs} images; "
        f"{summary.computed} computed{rate}, {summary.reused} reused, {summary.removed} removed; {summary.provider}"
    )
    if summary.computed:
        whole = sum(summary.stages.values())
        shares = ", ".join(f"{stage} {seconds / whole:.0%}" for stage, seconds in summary.stages.items())
        say(f"  time went to: {shares}")
    for path, reason in list(store.failures.items())[:SHOWN_FAILURES]:
        say(f"  failed: {short_path(path)}: {reason}")
    if summary.failed > SHOWN_FAILURES:
        say(f"  ... and {summary.failed - SHOWN_FAILURES} more: headstart inspect {output} --json")
    if store.classes:
        say(f"classes: {', '.join(short_path(name) for name in store.classes)}")


def _say_next(store: "Store", output: str) -> None:
    name = quote(output)
    if store.header.output != "embedding":
        say(f"next: headstart tune {name} -o tuned.onnx")
    elif store.classes:
        say(f"next: headstart train {name} -o classifier.onnx")
    else:
        say(f"no labels (images lie in no class folders); next: headstart score {name} --classifier FILE.onnx")
